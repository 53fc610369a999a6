"""What a BERT reads of two texts: input vectors of tokens, each with the type of the text that it belongs to.

llama.cpp adds the type of a first text to every token. So those of a second text are given to it as vectors in which
the difference of the two types is added, from the model's own tables. The joint between files, decoding and engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmasos.engine.pooled import Text, VectorsOf
from llmasos.formats.floats import Array, as_float32
from llmasos.formats.gguf_tensors import open_gguf_model
from llmasos.quantization.decode import decode


def vectors_of_segments(paths: Sequence[Path]) -> VectorsOf | None:
    """A function from texts to vectors, for a model with BERT's tokenizer and two types; None for any other.

    RoBERTa and what follows it have one type, or were trained with the first alone.
    """
    model = open_gguf_model(paths, whole=())
    types = model.tensors.get("token_types.weight")
    if types is None or types.shape[0] < 2 or model.header.metadata.get("tokenizer.ggml.model") != "bert":
        return None
    first, second = as_float32(decode(types.rows()[:2], types.type))
    difference = second - first
    tokens = model.tensors["token_embd.weight"]
    rows = tokens.rows()

    def vectors_of(text: Text) -> Array:
        vectors = as_float32(decode(rows[list(text.tokens)], tokens.type))
        if text.second_from is not None:
            vectors[text.second_from :] += difference
        return vectors

    return vectors_of
