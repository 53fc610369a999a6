"""The shape of a model: weights by layer and values a token keeps, from headers alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.tiny import TinyModel
from llmasos.formats.gguf import GgufHeader, SkippedArray, TensorInfo, read_header
from llmasos.hardware.shape import DEFAULT_TRAINED_CONTEXT, read_shape

F32, Q8_0 = 0, 8


def header(metadata: dict[str, Any], *tensors: TensorInfo) -> GgufHeader:
    own = {f"x.{key}": value for key, value in metadata.items()}
    return GgufHeader(3, {"general.architecture": "x", **own}, tensors, 0, 0)


def tensor(name: str, *shape: int, kind: int = F32) -> TensorInfo:
    return TensorInfo(name, shape, kind, 0)


def test_a_tiny_models_weights_are_all_counted_once(make_tiny: Callable[[TinyModel], Path]):
    path = make_tiny(TinyModel(layer_count=3, head_count=4, kv_head_count=2, embedding_length=64))
    shape = read_shape([read_header(path)])
    assert shape.layer_count == 3
    assert shape.weights_bytes == sum(each.size for each in read_header(path).tensors)
    assert shape.key_lengths == shape.value_lengths == (32, 32, 32)
    assert (shape.architecture, shape.embedding_length, shape.trained_context_length) == ("llama", 64, 256)
    assert shape.vocabulary_size == 262


def test_layers_of_all_shards_are_weighed_together():
    first = header({"block_count": 2}, tensor("blk.0.a", 10), tensor("token_embd.weight", 4, 100))
    second = header({}, tensor("blk.1.a", 32, kind=Q8_0), tensor("blk.0.b", 1), tensor("output.weight", 7))
    shape = read_shape([first, second])
    assert (shape.layer_bytes, shape.vocabulary_size) == ((44, 34), 100)
    assert (shape.input_bytes, shape.output_bytes, shape.tied_bytes) == (1600, 28, 0)


def test_an_output_that_is_the_embeddings_needs_them_twice_on_a_card():
    shape = read_shape([header({}, tensor("output_norm.weight", 4), tensor("token_embd.weight", 4, 100))])
    assert (shape.input_bytes, shape.output_bytes, shape.tied_bytes) == (1600, 16, 1600)
    assert shape.weights_bytes == 1616


def test_embeddings_for_each_layer_stay_with_the_input():
    tensors = [tensor("token_embd.weight", 4, 10), tensor("per_layer_token_embd.weight", 400)]
    shape = read_shape([header({}, *tensors)])
    assert (shape.input_bytes, shape.tied_bytes) == (1760, 160)


def test_heads_may_differ_by_layer_and_layers_may_have_none():
    metadata = {
        "block_count": 3,
        "embedding_length": 64,
        "attention.head_count": 8,
        "attention.head_count_kv": [2, 0, 8],
    }
    assert read_shape([header(metadata)]).key_lengths == (16, 0, 64)


def test_keys_and_values_may_have_lengths_of_their_own():
    metadata = {
        "block_count": 1, "embedding_length": 64, "attention.head_count": 8, "attention.head_count_kv": 1,
        "attention.key_length": 576, "attention.value_length": 512,
    }  # fmt: skip
    shape = read_shape([header(metadata)])
    assert (shape.key_lengths, shape.value_lengths) == ((576,), (512,))


def test_without_kv_heads_every_head_has_its_own():
    shape = read_shape([header({"block_count": 1, "embedding_length": 64, "attention.head_count": 8})])
    assert shape.key_lengths == (64,)


COMPRESSED = {
    "block_count": 2, "embedding_length": 64, "attention.head_count": 16, "attention.head_count_kv": 1,
    "attention.key_length": 576, "attention.value_length": 512, "attention.kv_lora_rank": 512,
}  # fmt: skip


def test_latent_attention_keeps_no_values_where_llama_cpp_computes_with_the_compressed_keys():
    compressed = read_shape(
        [header({**COMPRESSED, "attention.key_length_mla": 192, "attention.value_length_mla": 128})]
    )
    assert (compressed.key_lengths, compressed.value_lengths) == ((576, 576), (0, 0))
    assert compressed.head_count == 16
    assert read_shape([header(COMPRESSED)]).value_lengths == (512, 512)


def test_sparse_attention_keeps_the_keys_of_its_index_too():
    assert read_shape([header({**COMPRESSED, "attention.indexer.key_length": 128})]).key_lengths == (704, 704)


def test_layers_of_a_sliding_window_count_as_the_larger_kind_and_shared_caches_once():
    metadata = {
        "block_count": 3, "attention.head_count": 8, "attention.head_count_kv": [4, 2, 4],
        "attention.key_length": 512, "attention.key_length_swa": 256,
        "attention.value_length": 128, "attention.value_length_swa": 256, "attention.shared_kv_layers": 1,
    }  # fmt: skip
    shape = read_shape([header(metadata)])
    assert (shape.key_lengths, shape.value_lengths) == ((2048, 1024, 0), (1024, 512, 0))


def test_a_recurrent_model_keeps_a_state_and_no_cache():
    metadata = {
        "block_count": 2, "embedding_length": 768, "attention.head_count": 0,
        "ssm.state_size": 16, "ssm.inner_size": 1536, "ssm.conv_kernel": 4,
    }  # fmt: skip
    shape = read_shape([header(metadata)])
    assert (shape.key_lengths, shape.value_lengths, shape.head_count) == ((0, 0), (0, 0), 0)
    assert shape.state_bytes == 4 * (16 * 1536 + 3 * 1536)


def test_a_header_that_says_nothing_has_a_shape_too():
    shape = read_shape([GgufHeader(3, {}, (tensor("blk.0.a", 4), tensor("token_embd.weight", 2, 5)), 0, 0)])
    assert (shape.layer_count, shape.weights_bytes, shape.vocabulary_size) == (0, 56, 5)
    assert shape.trained_context_length == DEFAULT_TRAINED_CONTEXT


def test_the_size_of_the_vocabulary_may_only_be_stated():
    assert read_shape([header({"vocab_size": 1000})]).vocabulary_size == 1000


keys = st.sampled_from(
    ["block_count", "embedding_length", "context_length", "vocab_size", "attention.head_count",
     "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.key_length_mla",
     "attention.value_length_swa", "attention.shared_kv_layers", "attention.indexer.key_length", "ssm.state_size",
     "ssm.inner_size", "ssm.conv_kernel", "ssm.group_count"]
)  # fmt: skip
integers = st.integers(-(2**63), 2**64)
values = (
    st.integers(-3, 50) | integers | st.floats() | st.booleans() | st.text() | st.builds(SkippedArray, integers)
    | st.lists(integers | st.floats(), max_size=60)
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(keys, values))
@pytest.mark.parametrize("layers", [0, 3])
def test_whatever_a_strangers_file_says_no_size_is_negative(layers: int, metadata: dict[str, Any]):
    tensors = [tensor(f"blk.{layer}.a", 4) for layer in range(layers)]
    shape = read_shape([header(metadata, *tensors)])
    assert shape.weights_bytes == 16 * layers
    assert len(shape.key_lengths) == len(shape.value_lengths) == shape.layer_count <= 10_000
    assert min(*shape.key_lengths, *shape.value_lengths, shape.vocabulary_size, shape.embedding_length, 0) == 0
    assert min(shape.state_bytes, shape.head_count, shape.input_bytes, shape.output_bytes, shape.tied_bytes) >= 0
    assert shape.trained_context_length > 0
