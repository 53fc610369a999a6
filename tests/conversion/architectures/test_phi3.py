"""Phi-3 and Phi-4-mini in a long context."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS
from llmasos.conversion.architectures import phi3
from llmasos.conversion.config import Config

LONG = CHECKPOINTS["phi4-mini"].config
FACTORS = {"long_factor": [2.0] * 6, "short_factor": [1.5] * 6}


def config(values: dict[str, Any]) -> Config:
    return Config(values, phi3.ARCHITECTURE.defaults)


def with_rope(**scaling: Any) -> Config:
    return config({**LONG, "rope_scaling": {"type": "longrope", **scaling}})


def metadata(found: Config) -> dict[str, Any]:
    return phi3.metadata(found, phi3.sizes(found))


def test_attention_is_stronger_the_longer_the_context():
    """sqrt(1 + ln(131072 / 4096) / ln(4096)), and ln(32) / ln(4096) = 5 / 12."""
    assert metadata(with_rope(**FACTORS))["rope.scaling.attn_factor"] == pytest.approx((17 / 12) ** 0.5)


def test_factors_for_a_context_that_is_no_longer_leave_attention_alone():
    found = config({**LONG, "max_position_embeddings": 4096, "rope_scaling": {"type": "longrope", **FACTORS}})
    assert metadata(found)["rope.scaling.attn_factor"] == 1.0


def test_factors_stand_in_tensors_of_their_own():
    found = phi3.rope_factors(with_rope(**FACTORS), {})
    assert {name: array.dtype for name, array in found.items()} == {
        "rope_factors_long.weight": np.float32,
        "rope_factors_short.weight": np.float32,
    }
    assert (found["rope_factors_long.weight"] == 2).all() and (found["rope_factors_short.weight"] == 1.5).all()


def test_a_short_context_has_none():
    short = config(CHECKPOINTS["phi3"].config)
    assert phi3.rope_factors(short, {}) == {}
    assert "rope.scaling.attn_factor" not in metadata(short)


@pytest.mark.parametrize("kind", ["longrope", "su", "yarn"])
def test_all_names_of_longrope_are_one(kind):
    """transformers reads the three alike."""
    found = with_rope(type=kind, **FACTORS)
    assert phi3.problems(found) == []
    assert metadata(found) == metadata(with_rope(**FACTORS))


@pytest.mark.parametrize(
    ("scaling", "word"),
    [
        ({"long_factor": [2.0] * 6}, "short_factor"),
        ({**FACTORS, "short_factor": [1.0] * 5}, "short_factor"),
        ({**FACTORS, "long_factor": ["2"] * 6}, "long_factor"),
        ({**FACTORS, "attention_factor": 3.0}, "attention_factor"),
        ({**FACTORS, "factor": 16.0}, "factor"),
    ],
)
def test_factors_that_llama_cpp_could_not_follow_are_a_problem(scaling, word):
    [problem] = phi3.problems(with_rope(**scaling))
    assert f"`{word}`" in problem


def test_the_factor_that_follows_from_the_lengths_may_be_stated():
    assert phi3.problems(with_rope(**FACTORS, factor=32.0, attention_factor=(17 / 12) ** 0.5)) == []


def test_a_model_whose_marks_take_the_space_after_them_is_called_phi_3():
    spaced = {"tokenizer.ggml.model": "llama"}
    assert phi3.model_name("checkpoint", spaced) == "checkpoint (Phi-3)"
    assert phi3.model_name("Phi-3-mini", spaced) == "Phi-3-mini"
    assert phi3.model_name("phi-4-mini", {"tokenizer.ggml.model": "gpt2"}) == "phi-4-mini"
