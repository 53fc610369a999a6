"""OLMo 3, which is OLMo 2 with a sliding window in most layers."""

from __future__ import annotations

from typing import Any

import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned
from llmasos.conversion.architectures import olmo2
from llmasos.conversion.config import Config
from llmasos.errors import BadInputError

TWO = CHECKPOINTS["olmo2"]
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192, "attention_factor": 1.25}


def metadata(**changes: Any) -> dict[str, Any]:
    return planned({**TWO.config, "architectures": ["Olmo3ForCausalLM"], **changes}, tensors(TWO)).metadata


def test_olmo_2_looks_back_to_the_beginning():
    assert "attention.sliding_window" not in planned(TWO.config, tensors(TWO)).metadata


def test_all_but_every_fourth_layer_have_a_window_unless_told():
    assert olmo2.has_window(Config({}), 9) == [True, True, True, False, True, True, True, False, True]


def test_the_layers_that_have_a_window_may_be_told():
    found = metadata(layer_types=["full_attention", "sliding_attention"], sliding_window=64)
    assert found["attention.sliding_window"] == 64
    assert found["attention.sliding_window_pattern"] == [False, True]


def test_kinds_of_other_layers_than_there_are_make_no_sense():
    with pytest.raises(BadInputError, match="`layer_types`"):
        metadata(layer_types=["full_attention"])


def test_only_the_layers_without_a_window_are_stretched():
    found = metadata(rope_scaling=YARN)
    assert found["rope.scaling.type"] == "yarn"
    assert found["rope.scaling.yarn_attn_factor"] == 1.25
    assert found["rope.freq_base"] == found["rope.freq_base_swa"] == 500000.0
