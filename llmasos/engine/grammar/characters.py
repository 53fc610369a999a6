"""Sets of characters: ranges of code points, and the classes that GBNF writes for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from llmasos.engine.grammar.gbnf import NEVER, Characters, Node, Text, escaped

Ranges: TypeAlias = tuple[tuple[int, int], ...]  # code points, first and last

SURROGATES = (0xD800, 0xDFFF)
_IN_NO_TEXT: Ranges = ((0, 0), SURROGATES)  # llama.cpp takes no token that begins with NUL


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def minus(ranges: Ranges, removed: Ranges) -> Ranges:
    """`ranges` without `removed`."""
    for first, last in removed:
        below = [(low, min(high, first - 1)) for low, high in ranges if low < first]
        above = [(max(low, last + 1), high) for low, high in ranges if high > last]
        ranges = union(below + above)
    return ranges


def overlap(left: Ranges, right: Ranges) -> bool:
    return any(low <= last and first <= high for first, last in left for low, high in right)


def plain_character(ranges: Ranges) -> Node:
    """One character out of `ranges`, as it is."""
    ranges = minus(ranges, _IN_NO_TEXT)
    if not ranges:
        return NEVER
    is_single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return Text(chr(ranges[0][0])) if is_single else character_class(ranges)


def character_class(ranges: Ranges, mark: str = "") -> Characters:
    """In GBNF's notation; with the mark `^` all characters but those."""
    parts = (_gbnf(low) if low == high else f"{_gbnf(low)}-{_gbnf(high)}" for low, high in ranges)
    return Characters(f"[{mark}{''.join(parts)}]")


def _gbnf(code: int) -> str:
    return chr(code) if code < 0x80 and chr(code).isalnum() else escaped(code)
