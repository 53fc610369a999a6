"""StableLM: layers side by side or one after the other, norms by head, and the class of old."""

from __future__ import annotations

import numpy as np

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned

SMALL, LARGE = CHECKPOINTS["stablelm"], CHECKPOINTS["stablelm-12b"]


def test_norms_of_heads_are_stacked():
    arrays = tensors(LARGE)
    made = planned(LARGE.config, arrays)
    assert made.problems == []
    expected = [arrays[f"model.layers.1.self_attn.k_layernorm.norms.{head}.weight"] for head in range(2)]
    assert np.array_equal(made.tensors["blk.1.attn_k_norm.weight"], np.stack(expected))
    assert made.tensors["blk.1.attn_q_norm.weight"].shape == (4, 16)


def test_a_norm_between_marks_layers_that_run_one_after_the_other():
    assert "blk.0.ffn_norm.weight" in planned(SMALL.config, tensors(SMALL)).tensors
    assert "blk.0.ffn_norm.weight" not in planned(LARGE.config, tensors(LARGE)).tensors


def test_a_norm_between_that_is_missing_or_too_much_is_told():
    missing = planned({**LARGE.config, "use_parallel_residual": False}, tensors(LARGE)).problems
    too_much = planned({**SMALL.config, "use_parallel_residual": True}, tensors(SMALL)).problems
    assert missing[0].startswith("the checkpoint lacks model.layers.0.post_attention_layernorm.weight")
    assert "model.layers.0.post_attention_layernorm.weight" in too_much[0]


def test_the_class_of_old_makes_the_same_tensors():
    names = {"layer_norm_eps": "norm_eps", "partial_rotary_factor": "rope_pct"}
    left_out = ("use_parallel_residual", "qk_layernorm")
    old = {names.get(name, name): value for name, value in SMALL.config.items() if name not in left_out}
    of_new = planned(SMALL.config, tensors(SMALL))
    of_old = planned({**old, "architectures": ["StableLMEpochForCausalLM"]}, tensors(SMALL))
    assert of_old.problems == []
    assert of_old.tensors.keys() == of_new.tensors.keys()
    assert of_old.metadata == {**of_new.metadata, "use_parallel_residual": True}
