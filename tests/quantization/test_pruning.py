"""What becomes of names and metadata where layers are left out."""

from __future__ import annotations

import pytest

from llmasos.errors import BadInputError
from llmasos.quantization.header import Typed
from llmasos.quantization.pruning import layers_kept, pruned_metadata, pruned_name


def test_the_layers_that_stay():
    assert layers_kept([0, 2, 2], 4) == [1, 3]


@pytest.mark.parametrize("layers", [[4], [1, 40], [-1]])
def test_a_layer_that_is_not_there_is_refused(layers):
    with pytest.raises(BadInputError, match=r"no layer -?\d+ to prune: the model has 4"):
        layers_kept(layers, 4)


def test_a_model_keeps_at_least_one_layer():
    with pytest.raises(BadInputError, match="without any layers"):
        layers_kept(range(4), 4)


def test_layers_are_counted_anew():
    names = [f"blk.{layer}.attn_v.weight" for layer in range(4)]
    assert [pruned_name(name, [1, 3]) for name in names] == [
        None,
        "blk.0.attn_v.weight",
        None,
        "blk.1.attn_v.weight",
    ]
    assert pruned_name("output.weight", [1, 3]) == "output.weight"


def test_numbers_by_layer_are_left_out_with_their_layers():
    before = {
        "general.architecture": "llama",
        "llama.block_count": 4,
        "llama.attention.head_count": [8, 4, 2, 1],
        "llama.attention.sliding_window_pattern": Typed([True, False, True, False], "BOOL"),
        "llama.rope.dimension_sections": [1, 2, 3, 4],
        "llama.leading_dense_block_count": 2,
        "llama.context_length": 4,
        "tokenizer.ggml.scores": [1.0, 2.0, 3.0, 4.0],
    }
    assert pruned_metadata(before, [1, 3]) == {
        "general.architecture": "llama",
        "llama.attention.head_count": [4, 1],
        "llama.attention.sliding_window_pattern": Typed([False, False], "BOOL"),
        "llama.rope.dimension_sections": [1, 2, 3, 4],
        "llama.leading_dense_block_count": 1,
        "llama.context_length": 4,
        "tokenizer.ggml.scores": [1.0, 2.0, 3.0, 4.0],
        "llama.block_count": 2,
    }


def test_the_number_of_layers_stands_last_as_llama_quantize_puts_it():
    after = pruned_metadata({"general.architecture": "x", "x.block_count": 3, "general.file_type": 7}, [0])
    assert list(after) == ["general.architecture", "general.file_type", "x.block_count"]
