"""A KV cache of lists: what llama.cpp's does, and what it would do wrong if it were told something impossible."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class ListMemory:
    """Cells are numbers, sequences lists of (cell, token). `is_recurrent`: it knows but whole sequences."""

    capacity: int
    is_recurrent: bool = False
    held: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    read_tokens: int = 0
    _next_cell: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def used(self) -> int:
        return len({cell for cells in self.held.values() for cell, _ in cells})

    def tokens(self, number: int) -> list[int]:
        return [token for _, token in self.held.get(number, [])]

    def copy(self, source: int, target: int, length: int) -> bool:
        assert not self.held.get(target), "the target holds something"
        assert length <= len(self.held[source])
        if self.is_recurrent and length != len(self.held[source]):
            return False
        self.held[target] = self.held[source][:length]
        return True

    def forget(self, start: int, end: int = -1, *, sequence: int = 0) -> bool:
        cells = self.held.get(sequence, [])
        if self.is_recurrent and 0 < start < len(cells):
            return False
        del cells[start : None if end < 0 else end]
        return True

    def shift(self, start: int, end: int, *, sequence: int = 0) -> bool:
        others = {cell for number, cells in self.held.items() if number != sequence for cell, _ in cells}
        assert not others & {cell for cell, _ in self.held[sequence][start:]}, "others' cells would move too"
        return not self.is_recurrent and self.forget(start, end, sequence=sequence)

    def read(self, number: int, tokens: Sequence[int], position: int) -> None:
        """What a forward pass does: it fails where llama.cpp would."""
        cells = self.held.setdefault(number, [])
        assert position == len(cells), "positions have to go on without a gap"
        cells += [(next(self._next_cell), token) for token in tokens]
        self.read_tokens += len(tokens)
        assert self.used <= self.capacity, "the cache is full"
