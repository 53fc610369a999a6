"""Types for tensors within so many bytes: never too many, and nearly as cheap as can be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.errors import BadInputError
from llmasos.quality.allocation import Option, allocate

OPTIONS = st.lists(
    st.tuples(st.integers(1, 200), st.floats(0, 10)).map(lambda pair: Option(f"T{pair[0]}", *pair)),
    min_size=1,
    max_size=4,
)


@given(st.lists(OPTIONS, min_size=1, max_size=5), st.integers(1, 1000))
def test_nothing_cheaper_fits(tensors: list[list[Option]], most_bytes: int):
    named = {f"tensor {index}": options for index, options in enumerate(tensors)}
    fitting = [each for each in itertools.product(*tensors) if sum(option.byte_count for option in each) <= most_bytes]
    if not fitting:
        with pytest.raises(BadInputError, match="the smallest types take"):
            allocate(named, most_bytes)
        return
    chosen = allocate(named, most_bytes)
    assert list(chosen) == list(named)
    assert sum(option.byte_count for option in chosen.values()) <= most_bytes
    cheapest = min(sum(option.cost for option in each) for each in fitting)
    assert sum(option.cost for option in chosen.values()) == pytest.approx(cheapest)


def test_bytes_that_rounding_leaves_over_are_used():
    many = {f"{index}": [Option("Q4", 10**8, 2.0), Option("Q8", 2 * 10**8, 1.0)] for index in range(40)}
    for most in (40 * 10**8, 60 * 10**8, 60 * 10**8 + 1, 80 * 10**8):
        chosen = allocate(many, most)
        assert sum(option.byte_count for option in chosen.values()) == most // 10**8 * 10**8


def test_what_costs_more_and_is_larger_is_never_chosen():
    options = [Option("Q4_0", 100, 2.0), Option("Q5_0", 120, 3.0), Option("Q8_0", 200, 0.5)]
    assert allocate({"a": options}, 199)["a"].type == "Q4_0"
    assert allocate({"a": options}, 200)["a"].type == "Q8_0"
