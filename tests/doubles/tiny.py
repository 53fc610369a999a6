"""Tiny seeded models: whole GGUF files of some hundred kilobytes that llama.cpp really runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FILLING = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")  # by these names llama.cpp knows them
REPOSITORY = ("<|repo_name|>", "<|file_sep|>")
SPECIALS = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


@dataclass(frozen=True)
class TinyModel:
    """The size of a model of the llama architecture; weights are random from `seed`."""

    layer_count: int = 2
    embedding_length: int = 64
    head_count: int = 4
    kv_head_count: int = 2
    feed_forward_length: int = 128
    context_length: int = 256
    seed: int = 1
    template: str | None = CHAT_TEMPLATE
    tool_template: str | None = None
    controls: tuple[str, ...] = ()  # tokens beside the special ones of every such model
    license: str | None = "apache-2.0"
    beginning: str | None = None  # the token that texts begin with
    noise: float = 0.0  # another seed's, added to the weights: a model that is near the one without


def write_tiny(path: Path, model: TinyModel | None = None, *, tensors_a_shard: int = 0) -> Path:
    """Writes the model and returns its path; split over several files if `tensors_a_shard` says so."""
    model = model or TinyModel()
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=tensors_a_shard)
    _write_metadata(writer, model)
    tokens = _write_vocabulary(writer, model)
    for name, shape in _shapes(model, tokens).items():
        weights = _weights(name, shape, model.seed)
        if model.noise:
            weights += np.float32(model.noise) * _weights(name, shape, model.seed + 1)
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_metadata(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    writer.add_type("model")
    writer.add_name("tiny")
    if model.license:
        writer.add_license(model.license)
    writer.add_context_length(model.context_length)
    writer.add_embedding_length(model.embedding_length)
    writer.add_block_count(model.layer_count)
    writer.add_feed_forward_length(model.feed_forward_length)
    writer.add_head_count(model.head_count)
    writer.add_head_count_kv(model.kv_head_count)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(model.embedding_length // model.head_count)
    writer.add_file_type(0)


def _write_vocabulary(writer: gguf.GGUFWriter, model: TinyModel) -> int:
    """Every byte is a token, in the letters that byte-level BPE writes bytes with; two merges, four special tokens."""
    letters = _byte_letters()
    normal, controls = [*letters, letters[32] + "a", "th"], [*SPECIALS, *model.controls]
    tokens = [*normal, *controls]
    types = [gguf.TokenType.NORMAL] * len(normal) + [gguf.TokenType.CONTROL] * len(controls)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{letters[32]} a", "t h"])
    writer.add_eos_token_id(tokens.index("<|end|>"))
    if model.beginning:
        writer.add_bos_token_id(tokens.index(model.beginning))
    writer.add_add_bos_token(model.beginning is not None)
    if model.template:
        writer.add_chat_template(model.template)
    if model.tool_template:
        writer.add_string("tokenizer.chat_template.tool_use", model.tool_template)
    return len(tokens)


def _byte_letters() -> list[str]:
    """GPT-2's table: printable bytes stand for themselves, the others for letters from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def _shapes(model: TinyModel, tokens: int) -> dict[str, tuple[int, ...]]:
    width, feed = model.embedding_length, model.feed_forward_length
    kv_width = width // model.head_count * model.kv_head_count
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (tokens, width),
        "output_norm.weight": (width,),
        "output.weight": (tokens, width),
    }
    for layer in range(model.layer_count):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (width,),
            f"blk.{layer}.attn_q.weight": (width, width),
            f"blk.{layer}.attn_k.weight": (kv_width, width),
            f"blk.{layer}.attn_v.weight": (kv_width, width),
            f"blk.{layer}.attn_output.weight": (width, width),
            f"blk.{layer}.ffn_norm.weight": (width,),
            f"blk.{layer}.ffn_gate.weight": (feed, width),
            f"blk.{layer}.ffn_up.weight": (feed, width),
            f"blk.{layer}.ffn_down.weight": (width, feed),
        }
    return shapes


def _weights(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, *name.encode()])
    if name.endswith("norm.weight"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return generator.normal(0, 0.2, shape).astype(np.float32)
