"""The shape of a model, as far as its memory depends on it. From the header by arithmetic; nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.formats.gguf import GgufHeader

DEFAULT_TRAINED_CONTEXT = 2048
TOKEN_EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
INPUT_NAMES = ("token_embd.", "position_embd.", "token_types.", "per_layer_token_embd.")  # llm_tensor_info: layer input


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes in bytes, lengths in values. The per-layer tuples have one entry a layer."""

    architecture: str
    layer_bytes: tuple[int, ...]
    input_bytes: int  # the embeddings of tokens: they stay in main memory
    output_bytes: int  # what comes after the layers
    tied_bytes: int  # the token embeddings again, if the output on a graphics card needs a copy of them
    key_lengths: tuple[int, ...]  # values a token keeps in each layer's KV cache
    value_lengths: tuple[int, ...]
    state_bytes: int  # what a layer of a recurrent model keeps, however long the text
    head_count: int
    vocabulary_size: int
    embedding_length: int
    trained_context_length: int

    @property
    def layer_count(self) -> int:
        return len(self.layer_bytes)

    @property
    def weights_bytes(self) -> int:
        return sum(self.layer_bytes) + self.input_bytes + self.output_bytes


def read_shape(headers: Sequence[GgufHeader]) -> ModelShape:
    """The shape of a model from the headers of its shards, the first of which holds the metadata."""
    header = headers[0]
    layer_bytes, input_bytes, output_bytes = _weigh_tensors(headers, _size(header, "block_count"))
    keys, values = _cache_lengths(header, len(layer_bytes))
    return ModelShape(
        architecture=header.architecture,
        layer_bytes=layer_bytes,
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        tied_bytes=_tied_bytes(headers),
        key_lengths=keys,
        value_lengths=values,
        state_bytes=_state_bytes(header),
        head_count=_size(header, "attention.head_count"),
        vocabulary_size=_vocabulary_size(headers),
        embedding_length=_size(header, "embedding_length"),
        trained_context_length=_size(header, "context_length") or DEFAULT_TRAINED_CONTEXT,
    )


def _size(header: GgufHeader, key: str, default: int = 0) -> int:
    """A number of the header that can't sensibly be negative, whatever a stranger's file says."""
    return max(0, header.number(key, default) or 0)


def _weigh_tensors(headers: Sequence[GgufHeader], count: int) -> tuple[tuple[int, ...], int, int]:
    """Bytes of each layer, of the input and of the output."""
    layers, inputs, outputs = [0] * min(count, 10_000), 0, 0
    for tensor in (tensor for header in headers for tensor in header.tensors):
        match = re.match(r"blk\.(\d+)\.", tensor.name)
        if match and int(match[1]) < len(layers):
            layers[int(match[1])] += tensor.size
        elif tensor.name.startswith(INPUT_NAMES):
            inputs += tensor.size
        else:
            outputs += tensor.size
    return tuple(layers), inputs, outputs


def _tied_bytes(headers: Sequence[GgufHeader]) -> int:
    sizes = {tensor.name: tensor.size for header in headers for tensor in header.tensors}
    return 0 if OUTPUT in sizes else sizes.get(TOKEN_EMBEDDING, 0)


def _cache_lengths(header: GgufHeader, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Values per token in each layer: key/value heads times a head's length (n_embd_k_gqa, n_embd_v_gqa).

    Where layers differ in a way that only llama.cpp's code of an architecture knows (the sliding window's heads, hybrid
    models without a list of heads) every layer counts as one of the larger kind.
    """
    heads = _size(header, "attention.head_count")
    head_length = _size(header, "embedding_length") // heads if heads else 0
    kv_heads = [max(0, each) for each in header.numbers("attention.head_count_kv", count, heads)]
    cached = max(0, count - _size(header, "attention.shared_kv_layers"))  # the last ones use the cache of others
    kv_heads = [heads if layer < cached else 0 for layer, heads in enumerate(kv_heads)]
    keys, values = (_head_length(header, name, head_length) for name in ("key", "value"))
    # MLA keeps one compressed key, out of which the values come too; sparse attention adds the keys of an index.
    compressed = _size(header, "attention.key_length_mla") and _size(header, "attention.value_length_mla")
    index = _size(header, "attention.indexer.key_length")
    return (
        tuple(each and each * keys + index for each in kv_heads),
        tuple(0 if compressed else each and each * values + index for each in kv_heads),
    )


def _head_length(header: GgufHeader, name: str, default: int) -> int:
    length = _size(header, f"attention.{name}_length", default)
    return max(length, _size(header, f"attention.{name}_length_swa"))


def _state_bytes(header: GgufHeader) -> int:
    """Mamba's state and convolution, always f32 (n_embd_s, n_embd_r).

    It counts for every layer, also of hybrid models. RWKV's and linear attention's, 1 to 4 MiB a layer, are left out.
    """
    state, inner, groups, kernel = (
        _size(header, f"ssm.{key}") for key in ("state_size", "inner_size", "group_count", "conv_kernel")
    )
    return 4 * (state * inner + max(0, kernel - 1) * (inner + 2 * groups * state))


def _vocabulary_size(headers: Sequence[GgufHeader]) -> int:
    """Rows of the embedding matrix, which is what the logits' buffer depends on."""
    for header in headers:
        for tensor in header.tensors:
            if tensor.name == TOKEN_EMBEDDING and len(tensor.shape) == 2:
                return tensor.shape[1]
    return _size(headers[0], "vocab_size")
