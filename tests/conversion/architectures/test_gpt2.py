"""GPT-2: what stands beside the tensor map; the goldens have both of its layouts."""

from __future__ import annotations

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned
from llmasos.conversion.architectures import gpt2
from llmasos.conversion.config import Config

CONFIG = CHECKPOINTS["gpt2"].config


def test_the_layout_of_2019_makes_the_same_tensors():
    """Names without `transformer.`, and the causal masks among the weights."""
    old = tensors(CHECKPOINTS["gpt2"])
    new = {f"transformer.{name}": array for name, array in old.items() if not name.endswith(".attn.bias")}
    of_old, of_new = planned(CONFIG, old), planned(CONFIG, new)
    assert len(new) < len(old)
    assert of_old.problems == of_new.problems == []
    assert of_old.tensors.keys() == of_new.tensors.keys()
    assert all(np.array_equal(array, of_new.tensors[name]) for name, array in of_old.tensors.items())


def test_an_inner_width_of_its_own_is_kept():
    config = Config({**CONFIG, "n_inner": 100})
    assert gpt2.metadata(config, gpt2.sizes(config))["feed_forward_length"] == 100


@pytest.mark.parametrize(
    "wrong",
    [{"activation_function": "relu"}, {"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}],
)
def test_what_llama_cpp_would_compute_otherwise_is_a_problem(wrong):
    assert gpt2.problems(Config(CONFIG)) == []
    assert len(gpt2.problems(Config({**CONFIG, **wrong}))) == 1
