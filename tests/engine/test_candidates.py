"""A chain that is given the likeliest tokens alone chooses what it would of all."""

from __future__ import annotations

import pytest

from doubles.blocks import needs_kernels
from llmasos import kernels
from llmasos.engine import candidates
from llmasos.engine.engine import Engine
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sampler import count_of_enough

FORTY = AnswerOptions(max_tokens=40, ignore_eos=True)


def tokens(engine: Engine, sampling: SamplingOptions) -> tuple[int, ...]:
    sequence = engine.submit([5, 6, 7], sampling, FORTY)
    list(sequence)
    assert sequence.answer is not None
    return sequence.answer.tokens


@needs_kernels
@pytest.mark.parametrize(
    "sampling",
    [
        SamplingOptions(temperature=0),
        SamplingOptions(temperature=0, repeat_penalty=2.0, repeat_last_n=8),
        SamplingOptions(temperature=0, logit_bias=("9=-3", "10=-inf")),
        SamplingOptions(seed=1, top_k=2),
        SamplingOptions(seed=2, top_k=5, top_p=0.7, min_p=0.2, temperature=1.5),
        SamplingOptions(seed=3, top_k=3, repeat_penalty=1.8, frequency_penalty=0.5, repeat_last_n=10),
        SamplingOptions(seed=4, top_k=4, dry_multiplier=1.0, dry_penalty_last_n=12),
        SamplingOptions(seed=5, top_k=6, xtc_probability=0.5, typical_p=0.8),
    ],
)
def test_what_is_chosen_is_what_would_be_of_all(engine: Engine, monkeypatch, sampling: SamplingOptions):
    assert count_of_enough(sampling) is not None
    found = tokens(engine, sampling)
    monkeypatch.setenv(kernels.VARIABLE, "none")
    assert tokens(engine, sampling) == found
    assert len(set(found)) > 1


@needs_kernels
def test_the_kernels_are_asked(engine: Engine, monkeypatch):
    asked: list[int] = []
    find = candidates.LikeliestTokens.find
    monkeypatch.setattr(candidates.LikeliestTokens, "find", lambda self, *at: asked.append(1) or find(self, *at))
    tokens(engine, SamplingOptions(top_k=5))
    assert len(asked) == 40


@pytest.mark.parametrize(
    ("sampling", "count"),
    [
        (SamplingOptions(temperature=0), 1),
        (SamplingOptions(top_k=7), 7),
        (SamplingOptions(top_k=7, repeat_penalty=1.1, repeat_last_n=20), 27),
        (SamplingOptions(top_k=7, logit_bias=("1=-2", "2=-inf")), 9),
        (SamplingOptions(top_k=0), None),
        (SamplingOptions(mirostat=2), None),
        (SamplingOptions(top_n_sigma=1.0), None),
        (SamplingOptions(logit_bias=("1=2",)), None),
        (SamplingOptions(repeat_penalty=0.9), None),
        (SamplingOptions(presence_penalty=-1.0), None),
    ],
)
def test_how_many_are_enough(sampling: SamplingOptions, count: int | None):
    assert count_of_enough(sampling) == count
