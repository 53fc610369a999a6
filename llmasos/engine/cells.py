"""Which cells of the KV cache hold what: sequences by number, their tokens, and the prefixes that they share.

A cell holds the keys and values of one token. Sequences that begin alike share cells, so that a common prefix is read
and held once. What an ended sequence has read stays until its room is needed, least recently used first. Pure Python:
what has to happen in llama.cpp's memory goes through `Memory`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Memory(Protocol):
    """What the ledger asks of the cache that it keeps account of."""

    def copy(self, source: int, target: int, length: int) -> bool:
        """Makes the first `length` cells of one sequence those of an empty one too; false if the model can't."""

    def forget(self, start: int, end: int = -1, *, sequence: int = 0) -> bool:
        """Drops the positions of a sequence from `start` on; false if the model can't take back a part of it."""


@dataclass(eq=False)
class _Stretch:
    """Cells one after the other that have the same owners."""

    length: int
    owners: set[int]


@dataclass(eq=False)
class _Held:
    """What the cache holds of a sequence; `reusable`: so many of its tokens were read with nothing left out before."""

    tokens: list[int] = field(default_factory=list)
    stretches: list[_Stretch] = field(default_factory=list)
    reusable: int | None = None


class Cells:
    """The ledger of a cache of `capacity` cells and sequences numbered from 0 to `sequences` - 1."""

    def __init__(self, capacity: int, sequences: int, memory: Memory) -> None:
        self.capacity = capacity
        self.used = 0  # cells that anything is kept in
        self._memory = memory
        self._unused = list(range(sequences))  # a heap: the lowest is given first, so that those in use lie together
        self._active: dict[int, _Held] = {}
        self._idle: dict[int, _Held] = {}  # in the order of their last use

    @property
    def active(self) -> int:
        """Cells of sequences that are being worked on."""
        stretches = {stretch: stretch.length for held in self._active.values() for stretch in held.stretches}
        return sum(stretches.values())

    @property
    def has_number(self) -> bool:
        """Whether `open` has a number for another sequence."""
        return bool(self._unused or self._idle)

    def tokens(self, number: int) -> Sequence[int]:
        """What the cache holds of a sequence."""
        return self._active[number].tokens

    def common_prefix(self, tokens: Sequence[int]) -> int:
        """How many of the tokens the cache holds."""
        return self._best_source(tokens)[1]

    def open(self, tokens: Sequence[int]) -> tuple[int, int]:
        """A number for a sequence that begins with these tokens, and how many of them it holds already."""
        source, length = self._best_source(tokens)
        if source in self._idle and (length == len(self._idle[source].tokens) or self._is_only_choice(source)):
            return self._take_over(source, length)
        if not self._unused:
            self._drop_idle(self._least_missed(source))
        return self._copy(source, length)

    def fork(self, number: int) -> tuple[int, int]:
        """A number for a sequence that goes on from all that another holds, and how much of it that holds already."""
        if not self._unused:
            self._drop_idle(self._least_missed(number))
        return self._copy(number, len(self._active[number].tokens))

    def extend(self, number: int, tokens: Sequence[int]) -> None:
        """Says that these were read behind what the sequence holds."""
        if not tokens:
            return
        held = self._active[number]
        held.tokens.extend(tokens)
        if not held.stretches or len(held.stretches[-1].owners) > 1:
            held.stretches.append(_Stretch(0, {number}))
        held.stretches[-1].length += len(tokens)
        self.used += len(tokens)

    def truncate(self, number: int, length: int) -> int:
        """Drops what a sequence holds beyond `length`, and what a pass that failed has left behind.

        Returned is how much it holds then: nothing, if the model can't take back a part.
        """
        if not self._memory.forget(length, sequence=number):
            self._memory.forget(0, sequence=number)
            length = 0
        self._cut(self._active[number], number, length)
        return length

    def owns_alone(self, number: int, start: int) -> bool:
        """Whether nobody else has a part in what the sequence holds from `start` on."""
        begin = 0
        for stretch in self._active[number].stretches:
            begin += stretch.length
            if begin > start and len(stretch.owners) > 1:
                return False
        return True

    def shifted(self, number: int, start: int, end: int) -> None:
        """Says that the tokens from `start` to `end` were forgotten, and later ones moved down into their place."""
        held = self._active[number]
        assert self.owns_alone(number, start)
        tokens = held.tokens[:start] + held.tokens[end:]
        self._cut(held, number, start)
        self.extend(number, tokens[start:])
        held.reusable = start if held.reusable is None else min(start, held.reusable)

    def release(self, number: int) -> None:
        """Ends the work on a sequence. What it holds is kept as long as there is room."""
        held = self._active[number]
        if held.reusable is not None:
            self.truncate(number, held.reusable)
            held.reusable = None
        del self._active[number]
        if held.tokens:
            self._idle[number] = held
        else:
            self._forget(number, held)

    def drop(self, number: int) -> None:
        """Ends the work on a sequence and keeps nothing of it."""
        self._forget(number, self._active.pop(number))

    def make_room(self, count: int) -> bool:
        """Drops what is kept but not worked on, the least recently used first, until `count` cells are free.

        False if that was not enough.
        """
        while self.capacity - self.used < count and self._idle:
            self._drop_idle(next(iter(self._idle)))
        return self.capacity - self.used >= count

    def _best_source(self, tokens: Sequence[int]) -> tuple[int, int]:
        best, longest = -1, 0
        for number, held in itertools.chain(self._idle.items(), self._active.items()):
            reusable = held.tokens if held.reusable is None else held.tokens[: held.reusable]
            length = common_length(reusable, tokens)
            if length > longest:
                best, longest = number, length
        return best, longest

    def _copy(self, source: int, length: int) -> tuple[int, int]:
        number = heapq.heappop(self._unused)
        self._active[number] = _Held()
        if length and self._memory.copy(source, number, length):
            self._share(source, number, length)
            return number, length
        return number, 0

    def _is_only_choice(self, number: int) -> bool:
        return not self._unused and len(self._idle) == 1

    def _least_missed(self, source: int) -> int:
        """Of what is kept, the source aside, something whose cells others have too, or else the least recently used."""
        others = [number for number in self._idle if number != source]
        return next((number for number in others if not self._has_own(self._idle[number])), others[0])

    def _has_own(self, held: _Held) -> bool:
        return any(len(stretch.owners) == 1 for stretch in held.stretches)

    def _take_over(self, number: int, length: int) -> tuple[int, int]:
        self._active[number] = self._idle.pop(number)
        return number, self.truncate(number, length)

    def _share(self, source: int, target: int, length: int) -> None:
        donor, receiver = self._idle.get(source) or self._active[source], self._active[target]
        if source in self._idle:
            self._idle[source] = self._idle.pop(source)  # used just now
        receiver.tokens = list(donor.tokens[:length])
        shared = donor.stretches[: self._split(donor, length)]
        for stretch in shared:
            stretch.owners.add(target)
        receiver.stretches = shared

    def _cut(self, held: _Held, number: int, length: int) -> None:
        kept = self._split(held, length)
        self._disown(number, held.stretches[kept:])
        del held.stretches[kept:], held.tokens[length:]

    def _split(self, held: _Held, length: int) -> int:
        """Sees to it that a stretch ends at `length`; how many there are up to it."""
        begin = 0
        for index, stretch in enumerate(held.stretches):
            if begin == length:
                return index
            if begin + stretch.length > length:
                self._split_stretch(stretch, length - begin)
                return index + 1
            begin += stretch.length
        return len(held.stretches)

    def _split_stretch(self, stretch: _Stretch, length: int) -> None:
        rest = _Stretch(stretch.length - length, set(stretch.owners))
        stretch.length = length
        for number in stretch.owners:
            stretches = (self._active.get(number) or self._idle[number]).stretches
            stretches.insert(stretches.index(stretch) + 1, rest)

    def _drop_idle(self, number: int) -> None:
        self._forget(number, self._idle.pop(number))

    def _forget(self, number: int, held: _Held) -> None:
        self._memory.forget(0, sequence=number)
        self._disown(number, held.stretches)
        heapq.heappush(self._unused, number)

    def _disown(self, number: int, stretches: Iterable[_Stretch]) -> None:
        for stretch in stretches:
            stretch.owners.discard(number)
            if not stretch.owners:
                self.used -= stretch.length


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many items both begin with alike. By halving, since comparing slices is fast and items are many."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    alike, unlike = 0, most
    while unlike - alike > 1:
        middle = (alike + unlike) // 2
        if one[alike:middle] == other[alike:middle]:
            alike = middle
        else:
            unlike = middle
    return alike
