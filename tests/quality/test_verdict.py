"""Gates, the Pareto front, and what is picked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.quality.verdict import Figures, Limits, failures, pareto_front, smallest_that_passes

GOOD = Figures("Q8_0", 100, 8.5, 13.0, 0.001, 0.002, 0.02, 0.99)
NUMBERS = st.builds(
    lambda size, kld: replace(GOOD, byte_count=size, mean_divergence=kld), st.integers(1, 9), st.floats(0, 1)
)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(), 0),
        (Limits(max_kld=0.002), 0),
        (Limits(max_kld=0.0019), 1),
        (Limits(max_ppl_increase=0.1), 0),
        (Limits(max_ppl_increase=0.09, max_kld=0.0), 2),
    ],
)
def test_a_gate_lets_through_what_keeps_to_it(limits: Limits, count: int):
    assert len(failures(GOOD, limits)) == count


def test_what_is_no_number_never_passes():
    broken = replace(GOOD, mean_divergence=float("nan"), perplexity_increase=float("inf"))
    assert len(failures(broken, Limits(max_kld=100, max_ppl_increase=10_000))) == 2


@given(st.lists(NUMBERS, max_size=8))
def test_of_the_front_none_is_beaten_and_all_others_are(models: list[Figures]):
    def beats(one: Figures, other: Figures) -> bool:
        no_worse = one.byte_count <= other.byte_count and one.mean_divergence <= other.mean_divergence
        return no_worse and (one.byte_count, one.mean_divergence) != (other.byte_count, other.mean_divergence)

    front = pareto_front(models)
    assert front == sorted(front, key=lambda model: model.byte_count)
    for model in models:
        is_beaten = any(beats(other, model) for other in models)
        assert is_beaten or any(model == each for each in front)
    assert not any(beats(other, model) for model in front for other in models)


def test_the_smallest_that_passes_is_picked():
    models = [
        replace(GOOD, byte_count=size, mean_divergence=kld) for size, kld in ((5, 0.5), (7, 0.1), (7, 0.05), (9, 0.01))
    ]
    assert smallest_that_passes(models, Limits(max_kld=0.2)) is models[2]
    assert smallest_that_passes(models, Limits(max_kld=0.001)) is None
