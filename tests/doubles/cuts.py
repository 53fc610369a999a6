"""Texts cut into pieces, as they come from a model."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

Text = TypeVar("Text", str, bytes)

places = st.lists(st.integers(0, 40) | st.integers(0, 400), max_size=12)


def cut(content: Text, places: list[int]) -> list[Text]:
    """The pieces between these places; those that lie beyond the end count as the end."""
    edges = [0, *sorted(min(place, len(content)) for place in places), len(content)]
    return [content[start:end] for start, end in zip(edges, edges[1:], strict=False)]
