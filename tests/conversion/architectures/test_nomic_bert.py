"""Nomic's embedding models: with experts in every other layer from version 2 on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import Planned, planned
from llmasos.conversion.architectures import nomic_bert

DENSE = CHECKPOINTS["nomic-bert"]
EXPERTS = {"activation_function": "gelu", "moe_every_n_layers": 2, "moe_top_k": 2, "num_experts": 3, "n_inner": 4}


def with_experts(**changes: Any) -> Planned:
    """Two layers, the second with three experts."""
    arrays = {name: array for name, array in tensors(DENSE).items() if ".mlp." not in name}
    shapes = {"0.mlp.fc1.weight": (4, 64), "0.mlp.fc2.weight": (64, 4), "1.mlp.router.layer.weight": (3, 64)}
    shapes |= {"1.mlp.experts.mlp.w1": (12, 64), "1.mlp.experts.mlp.w2": (12, 64), "1.mlp.experts.bias": (64,)}
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        arrays[f"encoder.layers.{name}"] = np.arange(count, dtype=np.float32).reshape(shape)
    return planned({**DENSE.config, **EXPERTS, **changes}, arrays)


def test_experts_come_apart():
    made = with_experts()
    assert made.problems == []
    assert made.architecture.name == "nomic-bert-moe"
    whole = np.arange(768, dtype=np.float32).reshape(12, 64)
    assert np.array_equal(made.tensors["blk.1.ffn_up_exps.weight"][2], whole[8:])
    assert np.array_equal(made.tensors["blk.1.ffn_down_exps.weight"][2], whole[8:].T)
    assert made.tensors["blk.0.ffn_up.weight"].shape == (4, 64)


@pytest.mark.parametrize("transposed", [False, True])
def test_experts_go_together_again(transposed):
    experts = nomic_bert.Experts(transposed)
    matrix = np.arange(24).reshape(6, 4)
    assert np.array_equal(experts.undo(experts.apply(matrix, {"experts": 3}), {"experts": 3}), matrix)


def test_how_experts_are_chosen_is_told():
    found = with_experts().metadata
    assert [found[f"{name}"] for name in ("moe_every_n_layers", "expert_count", "expert_used_count")] == [2, 3, 2]


def test_experts_that_are_always_asked_are_a_problem():
    [problem] = with_experts(num_shared_experts=1).problems
    assert "`num_shared_experts`" in problem


def test_a_model_without_experts_has_gates():
    made = planned(DENSE.config, tensors(DENSE))
    assert made.architecture.name == "nomic-bert"
    assert "blk.1.ffn_gate.weight" in made.tensors


@pytest.mark.parametrize(("positions", "length"), [(8192, 2048), (2048, 512), (1024, 1024)])
def test_the_context_is_as_long_as_the_model_is_good_for(positions, length):
    assert planned({**DENSE.config, "n_positions": positions}, tensors(DENSE)).metadata["context_length"] == length
