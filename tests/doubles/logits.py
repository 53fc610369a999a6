"""What a model computes, by llama.cpp from a GGUF and by transformers from the checkpoint, and how far they are apart.

Both in float32 and without flash attention, at every position. transformers is imported only where it is asked.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from llmasos.engine.bindings import lib
from llmasos.engine.context import KV_TYPE_IDS
from llmasos.engine.model import Model, ModelOptions, load_model

Values = npt.NDArray[np.float32]
POSITIONS = 64
NO_POOLING = 0  # llama_pooling_type
SNIPPETS = (
    "The quick brown fox didn't jump over 3 lazy dogs.",
    "def add(a, b):\n    return a + b\n",
    " 12345 3.14 2024",
    "模型在",
    " café 🦙",
)


def sample_tokens(folder: Path, count: int = POSITIONS) -> list[int]:
    """Token ids of text, code, digits, Chinese and an emoji in the folder's own vocabulary, special tokens between."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    added = [token["id"] for token in json.loads((folder / "tokenizer.json").read_text("utf-8"))["added_tokens"]]
    share = (count - 2 * len(SNIPPETS)) // len(SNIPPETS) + 1
    tokens: list[int] = []
    for index, snippet in enumerate(SNIPPETS):
        tokens += tokenizer.encode(snippet, add_special_tokens=index == 0).ids[:share]
        tokens.append(added[index * 7 % len(added)])
    filler = tokenizer.encode(" and so it goes on" * count, add_special_tokens=False).ids
    return (tokens + filler)[:count]


def logits_of_gguf(path: Path, tokens: Sequence[int], *, context_length: int = 0) -> Values:
    """llama.cpp's logits (positions, vocabulary) of a decoder."""
    with _context(path, len(tokens), context_length) as (model, context):
        decode(context, tokens)
        rows = [lib.llama_get_logits_ith(context, index) for index in range(len(tokens))]
        return np.stack([np.ctypeslib.as_array(row, (model.vocabulary_size,)) for row in rows]).copy()


def embeddings_of_gguf(path: Path, tokens: Sequence[int], *, pooled: bool = False) -> Values:
    """llama.cpp's embeddings of an encoder: (positions, width), or (width,) if pooled as the file says."""
    pooling = None if pooled else NO_POOLING
    with _context(path, len(tokens), 0, embeddings=True, pooling=pooling) as (model, context):
        decode(context, tokens)
        width = lib.llama_model_n_embd(model.handle)
        if pooled:
            return np.ctypeslib.as_array(lib.llama_get_embeddings_seq(context, 0), (width,)).copy()
        rows = [lib.llama_get_embeddings_ith(context, index) for index in range(len(tokens))]
        return np.stack([np.ctypeslib.as_array(row, (width,)) for row in rows]).copy()


def logits_of_checkpoint(folder: Path, tokens: Sequence[int]) -> Values:
    """transformers' logits (positions, vocabulary) of a decoder, from the folder's files."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        found: Values = model.eval()(torch.tensor([tokens])).logits[0].float().numpy()
    return found


def embeddings_of_checkpoint(folder: Path, tokens: Sequence[int]) -> Values:
    """transformers' last hidden state (positions, width) of an encoder."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        found: Values = model.eval()(torch.tensor([tokens])).last_hidden_state[0].float().numpy()
    return found


def largest_relative_difference(found: Values, expected: Values) -> float:
    """max|found - expected| / max|expected|; infinite where either holds anything but numbers, or another shape."""
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def same_choices(found: Values, expected: Values) -> bool:
    """Whether the best token is the same at every position where the two best lie further apart than the results do."""
    apart = np.abs(found - expected).max()
    two_best = np.sort(expected, axis=-1)[:, -2:]
    is_clear = two_best[:, 1] - two_best[:, 0] > apart
    return bool((found.argmax(-1) == expected.argmax(-1))[is_clear].all())


@contextmanager
def _context(
    path: Path, count: int, length: int, *, embeddings: bool = False, pooling: int | None = None
) -> Iterator[tuple[Model, Any]]:
    model = load_model([path], ModelOptions())
    params = lib.llama_context_default_params()
    params.n_ctx = length or max(count, 128)
    params.n_batch = params.n_ubatch = max(count, 128)
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = KV_TYPE_IDS["f32"]
    params.flash_attn_type = 0
    params.embeddings = embeddings
    if pooling is not None:
        params.pooling_type = pooling
    context = lib.llama_init_from_model(model.handle, params)
    try:
        assert context, f"no context of {path}"
        yield model, context
    finally:
        lib.llama_free(context)
        model.close()


def decode(context: Any, tokens: Sequence[int]) -> None:
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index], batch.pos[index], batch.logits[index] = token, index, True
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
    result = lib.llama_decode(context, batch)
    lib.llama_batch_free(batch)
    assert ctypes.c_int(result).value == 0, f"llama_decode gave {result}"
