"""How many ways a grammar has to read the same text, found by reading texts as llama.cpp does.

llmasos' own grammars have one. llama.cpp follows all ways of others at once. Those that lead to the same place are one
to it when a token has been chosen; but while it looks whether a token may come, it goes each of them by itself.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from llmasos.engine.grammar.characters import Ranges
from llmasos.engine.grammar.gbnf import Choice, Node, Repeat, Rule, Series, Text
from llmasos.engine.grammar.reading import Grammar
from llmasos.errors import BadInputError

_CHARACTERS = 16  # read from the beginning of each rule
_WAYS_AT_MOST = 10_000  # that are gone for one token: a few milliseconds
_PLACES_AT_MOST = 2_000
_WORK_OF_WALK, _WORK_OF_BEGINNING = 30_000, 10
_WORK_AT_MOST = 100_000
_RANGES_TRIED = 8
_RUNS, _BY_CHANCE = 8, 3  # texts that are read beside that which always has the most ways

_Choosing: TypeAlias = Callable[[dict[int, int]], int]  # of characters, each with the number of ways that go on with it
_Top: TypeAlias = tuple[Node, int]  # a Text and the place in it, or a Characters


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """What is to follow: a node, of which `done` parts are read and `left` may come yet, and what comes after it."""

    node: Node
    done: int
    left: int | None
    after: _Place | None


_Ways: TypeAlias = dict[_Place | None, int]  # places, of which None is the end, and in how many ways each is reached


def longest_piece(grammar: Grammar) -> int | None:
    """How many characters may be read at once without too many ways to follow; None: as many as there are.

    Raises BadInputError if any text makes the places more and more that have to be remembered.
    """
    walker, chance = _Walker(grammar), random.Random(0)
    longest = _CHARACTERS
    for name in grammar.rules:
        if walker.work > _WORK_AT_MOST:
            break
        try:
            beginning = walker.beginning(name)
        except _TooLongError:
            raise _too_many_ways(name) from None
        runs = [functools.partial(_again, code) for code in sorted(walker.next_codes(beginning))[:_RUNS]]
        on_purpose: list[_Choosing] = [_with_most, *runs]
        chosen = [walker.follow(beginning, choose)[0] for choose in on_purpose]
        by_chance = [walker.follow(beginning, lambda ways: chance.choice(sorted(ways))) for _ in range(_BY_CHANCE)]
        if all(is_lost for _, is_lost in by_chance):
            raise _too_many_ways(name)
        longest = min(longest, *chosen, *(steps for steps, _ in by_chance))
    return None if longest == _CHARACTERS else max(1, longest)


def _with_most(ways: dict[int, int]) -> int:
    return max(ways, key=lambda code: ways[code])


def _again(code: int, ways: dict[int, int]) -> int:
    """The same character as long as it goes: most long tokens are blanks, dashes or the like."""
    return code if code in ways else _with_most(ways)


def _too_many_ways(name: str) -> BadInputError:
    return BadInputError(
        f"the grammar can't be used: there are too many ways to read the same text as `{name}`",
        hint="let the next character tell which alternative it belongs to",
    )


class _TooLongError(Exception):
    """A walk has come by more places than llama.cpp should go through for a token."""


class _Walker:
    """Reads texts from the beginning of any rule. `work` counts the places that it has come by."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._places: dict[tuple[int, int, int | None, _Place | None], _Place] = {}
        self._enough = 0
        self.work = 0

    def beginning(self, name: str) -> _Ways:
        self._enough = self.work + _WORK_OF_WALK
        return dict.fromkeys(self._opened(self._place(self._grammar.rules[name], None)), 1)

    def follow(self, ways: _Ways, choose: _Choosing) -> tuple[int, bool]:
        """How many characters that `choose` chooses can be read without too many ways, and whether places get lost.

        That is when there are too many of them, or it takes too long.
        """
        few_ways, few_places = max(_WAYS_AT_MOST, 2 * len(ways)), max(_PLACES_AT_MOST, 2 * len(ways))
        steps = _CHARACTERS
        for step, found in enumerate(self._walk(ways, choose)):
            is_lost = found is None or len(found) > few_places
            if is_lost or (found and sum(found.values()) > few_ways):
                steps = min(steps, step)
            if is_lost:
                return steps, True
        return steps, False

    def _walk(self, ways: _Ways, choose: _Choosing) -> Iterator[_Ways | None]:
        """The ways after each character that `choose` chooses, until none goes on; None if that takes too long."""
        self._enough = self.work + _WORK_OF_WALK + _WORK_OF_BEGINNING * len(ways)
        try:
            for _ in range(_CHARACTERS):
                if not (following := self.next_codes(ways)):
                    return
                ways = self._read(ways, choose(following))
                yield ways
        except _TooLongError:
            yield None

    def next_codes(self, ways: _Ways) -> dict[int, int]:
        """Characters that may come next, and with how many ways each goes on."""
        tops: defaultdict[_Top, int] = defaultdict(int)
        for place, count in ways.items():
            if place is not None:
                tops[place.node, place.done] += count
        sets = {top: self._ranges(top) for top in tops}
        codes = {first for ranges in sets.values() for first, _ in ranges[:_RANGES_TRIED]}
        return {code: sum(tops[top] for top, ranges in sets.items() if _holds(ranges, code)) for code in codes}

    def _ranges(self, top: _Top) -> Ranges:
        node, done = top
        if isinstance(node, Text):
            return ((ord(node.text[done]), ord(node.text[done])),)
        return self._grammar.leaves.get(node, ())

    def _read(self, ways: _Ways, code: int) -> _Ways:
        found: defaultdict[_Place | None, int] = defaultdict(int)
        for place, count in ways.items():
            if place is not None and _holds(self._ranges((place.node, place.done)), code):
                for following in self._opened(self._past(place)):
                    found[following] += count
        return dict(found)

    def _past(self, place: _Place) -> _Place | None:
        """What follows after a character has been read here."""
        if isinstance(place.node, Text) and place.done + 1 < len(place.node.text):
            return self._place(place.node, place.after, place.done + 1)
        return place.after

    def _opened(self, place: _Place | None) -> Iterator[_Place | None]:
        """The places where a character is read, or the text ends, that can be come to from here without reading."""
        waiting, seen = [place], set[_Place | None]()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            self.work += 1
            if self.work > self._enough:
                raise _TooLongError
            if place is None or not isinstance(place.node, Rule | Series | Choice | Repeat):
                yield place
            else:
                waiting.extend(self._inside(place))

    def _inside(self, place: _Place) -> Iterator[_Place | None]:
        node, after = place.node, place.after
        if isinstance(node, Rule):
            yield self._place(self._grammar.rules[node.name], after)
        elif isinstance(node, Choice):
            for option in node.options:
                yield self._place(option, after)
        elif isinstance(node, Series):
            rest = self._place(node, after, place.done + 1) if place.done + 1 < len(node.parts) else after
            yield self._place(node.parts[place.done], rest) if node.parts else after
        elif isinstance(node, Repeat):
            if place.done >= node.least:
                yield after
            if place.left != 0:
                # to llama.cpp what comes after the least is not what is repeated before
                done = min(place.done + 1, node.least + 1) if node.least else 0
                left = None if place.left is None else place.left - 1
                yield self._place(node.part, self._place(node, after, done, left))

    def _place(self, node: Node, after: _Place | None, done: int = 0, left: int | None = -1) -> _Place:
        """The one place of these; a repetition that begins has all its times left."""
        left = node.most if isinstance(node, Repeat) and left == -1 else left
        key = (id(node), done, left, after)
        if key not in self._places:
            self._places[key] = _Place(node, done, left, after)
        return self._places[key]


def _holds(ranges: Ranges, code: int) -> bool:
    return any(first <= code <= last for first, last in ranges)
