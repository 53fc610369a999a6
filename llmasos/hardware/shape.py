"""The shape of a model, as far as its memory depends on it. From the header by arithmetic; nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.formats.gguf import GgufHeader

DEFAULT_TRAINED_CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes in bytes, lengths in values. The per-layer tuples have one entry a layer."""

    architecture: str
    layer_bytes: tuple[int, ...]
    other_bytes: int  # embeddings, output, final norm
    key_lengths: tuple[int, ...]  # values a token keeps in each layer's KV cache
    value_lengths: tuple[int, ...]
    vocabulary_size: int
    embedding_length: int
    trained_context_length: int

    @property
    def layer_count(self) -> int:
        return len(self.layer_bytes)

    @property
    def weights_bytes(self) -> int:
        return sum(self.layer_bytes) + self.other_bytes


def read_shape(headers: Sequence[GgufHeader]) -> ModelShape:
    """The shape of a model from the headers of its shards, the first of which holds the metadata."""
    header = headers[0]
    layer_bytes, other_bytes = _weigh_tensors(headers, _size(header, "block_count"))
    embedding_length = _size(header, "embedding_length")
    keys, values = _cache_lengths(header, len(layer_bytes), embedding_length)
    return ModelShape(
        architecture=header.architecture,
        layer_bytes=layer_bytes,
        other_bytes=other_bytes,
        key_lengths=keys,
        value_lengths=values,
        vocabulary_size=_vocabulary_size(headers),
        embedding_length=embedding_length,
        trained_context_length=_size(header, "context_length") or DEFAULT_TRAINED_CONTEXT,
    )


def _size(header: GgufHeader, key: str, default: int = 0) -> int:
    """A number of the header that can't sensibly be negative, whatever a stranger's file says."""
    return max(0, header.number(key, default) or 0)


def _weigh_tensors(headers: Sequence[GgufHeader], count: int) -> tuple[tuple[int, ...], int]:
    layers, other = [0] * min(count, 10_000), 0
    for header in headers:
        for tensor in header.tensors:
            match = re.match(r"blk\.(\d+)\.", tensor.name)
            if match and int(match[1]) < len(layers):
                layers[int(match[1])] += tensor.size
            else:
                other += tensor.size
    return tuple(layers), other


def _cache_lengths(header: GgufHeader, count: int, embedding_length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Values per token in each layer: key/value heads times a head's length (n_embd_k_gqa, n_embd_v_gqa)."""
    heads = _size(header, "attention.head_count")
    head_length = embedding_length // heads if heads else 0
    kv_heads = [max(0, each) for each in header.numbers("attention.head_count_kv", count, heads)]
    key_length = _size(header, "attention.key_length", head_length)
    value_length = _size(header, "attention.value_length", head_length)
    return tuple(each * key_length for each in kv_heads), tuple(each * value_length for each in kv_heads)


def _vocabulary_size(headers: Sequence[GgufHeader]) -> int:
    """Rows of the embedding matrix, which is what the logits' buffer depends on."""
    for header in headers:
        for tensor in header.tensors:
            if tensor.name == "token_embd.weight" and len(tensor.shape) == 2:
                return tensor.shape[1]
    return _size(headers[0], "vocab_size")
