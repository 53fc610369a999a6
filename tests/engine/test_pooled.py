"""How texts are put together to passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmasos.engine.pooled import Text, groups


def lengths(*counts: int, most: int = 64, room: int = 10) -> list[list[int]]:
    return [
        [len(text.tokens) for text in group] for group in groups([Text([0] * count) for count in counts], most, room)
    ]


def test_a_pass_takes_what_fits_in_order():
    assert lengths(4, 6, 1, 5, 5) == [[4, 6], [1, 5], [5]]
    assert lengths(1, 1, 1, most=2) == [[1, 1], [1]]
    assert lengths() == []


def test_a_long_text_goes_by_itself():
    assert lengths(2, 30, 2) == [[2], [30], [2]]


@given(st.lists(st.integers(1, 30)), st.integers(1, 5), st.integers(1, 20))
def test_nothing_is_lost_and_nothing_overflows(counts: list[int], most: int, room: int):
    found = lengths(*counts, most=most, room=room)
    assert [count for group in found for count in group] == counts
    assert all(len(group) <= most and (sum(group) <= room or len(group) == 1) for group in found)
