"""Mixtures of experts: a checkpoint holds each expert by itself, or all of a layer stacked, by its age."""

from __future__ import annotations

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned

NAMES = {"mixtral": ("w1", "w3", "w2"), "qwen2-moe": ("gate_proj", "up_proj", "down_proj")}
NAMES["qwen3-moe"] = NAMES["qwen2-moe"]
COUNTS = {"mixtral": 4, "qwen2-moe": 6, "qwen3-moe": 8}


def stacked(name: str) -> dict[str, np.ndarray]:
    """The checkpoint as transformers 5 holds it in memory: two tensors a layer, and one name for all families."""
    arrays = {key.replace("block_sparse_moe", "mlp"): array for key, array in tensors(CHECKPOINTS[name]).items()}
    for layer in range(CHECKPOINTS[name].config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}.mlp.experts"
        gates, ups, downs = (
            np.stack([arrays.pop(f"{prefix}.{expert}.{part}.weight") for expert in range(COUNTS[name])])
            for part in NAMES[name]
        )
        arrays |= {f"{prefix}.gate_up_proj": np.concatenate([gates, ups], axis=1), f"{prefix}.down_proj": downs}
    return arrays


@pytest.mark.parametrize("name", NAMES)
def test_stacked_experts_make_the_same_tensors(name):
    separate, together = (
        planned(CHECKPOINTS[name].config, arrays) for arrays in (tensors(CHECKPOINTS[name]), stacked(name))
    )
    assert separate.problems == together.problems == []
    assert separate.tensors.keys() == together.tensors.keys()
    assert all(np.array_equal(array, together.tensors[key]) for key, array in separate.tensors.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_expert_is_named(name):
    arrays = tensors(CHECKPOINTS[name])
    lost = next(key for key in arrays if f".experts.2.{NAMES[name][1]}." in key)
    del arrays[lost]
    assert planned(CHECKPOINTS[name].config, arrays).problems == [f"the checkpoint lacks {lost}"]


def test_half_of_a_stacked_layout_is_no_layout():
    arrays = stacked("qwen3-moe")
    del arrays["model.layers.1.mlp.experts.down_proj"]
    [problem] = planned(CHECKPOINTS["qwen3-moe"].config, arrays).problems
    assert problem.startswith("the checkpoint lacks model.layers.1.mlp.experts.0.down_proj.weight")


@pytest.mark.parametrize(("name", "normalized"), [("qwen2-moe", True), ("qwen3-moe", False), ("qwen3-moe", None)])
def test_weights_of_experts_are_normalized_as_llama_cpp_does_or_not_at_all(name, normalized):
    config = {**CHECKPOINTS[name].config, "norm_topk_prob": normalized}
    if normalized is None:
        del config["norm_topk_prob"]
    [problem] = planned(config, tensors(CHECKPOINTS[name])).problems
    assert "norm_topk_prob" in problem
