"""Anything that may stand in a JSON body."""

from __future__ import annotations

from hypothesis import strategies as st

TEXTS = st.text('ab0é{ "\n\0', max_size=5)  # of few letters, which are quick to draw from
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
