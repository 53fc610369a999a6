"""Regular languages without ambiguity: where two paths could follow the same text, a deterministic automaton instead.

llama.cpp follows all paths of a grammar at once and never merges them: `(.{0,9}){0,9}` alone makes it hang.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeAlias

from llmasos.engine.grammar.characters import Ranges, overlap, union
from llmasos.engine.grammar.gbnf import (
    EMPTY,
    NEVER,
    Choice,
    Node,
    Repeat,
    Rule,
    Rules,
    Series,
    can_be_empty,
    choice,
    repeat,
    series,
)

Leaves: TypeAlias = Mapping[Node, Ranges]  # which characters each leaf of a tree of nodes stands for
Spelling: TypeAlias = Callable[[Ranges], Node]  # how a leaf is written that stands for these
_Atom: TypeAlias = frozenset[Node]  # characters are alike if the same leaves hold them
_State: TypeAlias = tuple[frozenset[int], int]  # nodes, one of which must follow, and how much has been read

_WORK_AT_MOST = 30_000
_WORK_OF_STATE = 20  # so there are never more than 1500
_PARTS_A_STEP = 20  # of a series that are copied and compared


def is_deterministic(node: Node, leaves: Leaves) -> bool:
    """Whether each next character tells where in the tree it belongs."""
    if isinstance(node, Repeat):
        loops = node.most != 1 and overlap(_further(node.part, leaves), _first(node.part, leaves))
        return not loops and is_deterministic(node.part, leaves)
    following: Ranges = ()
    if isinstance(node, Choice):
        for option in node.options:
            if overlap(_first(option, leaves), following) or not is_deterministic(option, leaves):
                return False
            following = union(following + _first(option, leaves))
    for part in reversed(node.parts) if isinstance(node, Series) else ():
        if overlap(_further(part, leaves), following) or not is_deterministic(part, leaves):
            return False
        following = union(_first(part, leaves) + (following if can_be_empty(part) else ()))
    return True


def _first(node: Node, leaves: Leaves) -> Ranges:
    """The characters that a match may start with."""
    if isinstance(node, Repeat):
        return _first(node.part, leaves)
    if isinstance(node, Choice):
        return union(pair for option in node.options for pair in _first(option, leaves))
    if not isinstance(node, Series):
        return leaves[node]
    found: Ranges = ()
    for part in node.parts:
        found = union(found + _first(part, leaves))
        if not can_be_empty(part):
            break
    return found


def _further(node: Node, leaves: Leaves) -> Ranges:
    """The characters that may make a longer match of what is a match already."""
    if isinstance(node, Repeat):
        again = _first(node.part, leaves) if node.least != node.most else ()
        return union(_further(node.part, leaves) + again)
    if isinstance(node, Choice):
        started = _first(node, leaves) if can_be_empty(node) else ()
        return union([*started, *(pair for option in node.options for pair in _further(option, leaves))])
    found: Ranges = ()
    for part in reversed(node.parts) if isinstance(node, Series) else ():
        found = union(found + _further(part, leaves))
        if not can_be_empty(part):
            break
    return found


def automaton_node(
    node: Node, leaves: Leaves, least: int, most: float, *, spell: Spelling, rules: Rules
) -> Node | None:
    """Strings of `node` with `least` to `most` characters, one rule for each state; None if these are too many."""
    try:
        return _Automaton(leaves, least, most, spell, rules).node(node)
    except _TooManyStatesError:
        return None


class _TooManyStatesError(Exception):
    pass


class _Automaton:
    """States are sets of nodes: what is left of the first one (its partial derivatives) after what has been read.

    Nodes go by numbers here, since to compare large ones again and again takes most of the time.
    """

    def __init__(self, leaves: Leaves, least: int, most: float, spell: Spelling, rules: Rules) -> None:
        self._atoms = _atoms(leaves)
        self._least, self._most, self._spell, self._rules = least, most, spell, rules
        self._work = 0
        self._nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}
        self._derived: dict[tuple[int, _Atom], frozenset[int]] = {}

    def node(self, start: Node) -> Node:
        first: _State = (frozenset([self._number(start)]), 0)
        rule_of = {first: Rule(self._rules.claim("state"))}
        waiting, ends = [first], False
        while waiting:
            self._worked(_WORK_OF_STATE)
            state = waiting.pop()
            is_end = state[1] >= self._least and any(can_be_empty(self._nodes[number]) for number in state[0])
            options: list[Node] = [EMPTY] if is_end else []
            for following, ranges in self._steps(state).items():
                if following not in rule_of:
                    rule_of[following] = Rule(self._rules.claim("state"))
                    waiting.append(following)
                options.append(series(self._spell(ranges), rule_of[following]))
            self._rules.set(rule_of[state].name, choice(options))
            ends = ends or is_end
        return rule_of[first] if ends else NEVER

    def _number(self, node: Node) -> int:
        if node not in self._numbers:
            self._numbers[node] = len(self._nodes)
            self._nodes.append(node)
        return self._numbers[node]

    def _steps(self, state: _State) -> dict[_State, Ranges]:
        """The states that follow, with the characters that lead there."""
        left, count = state
        if count >= self._most:
            return {}
        # beyond `least` there is nothing to count for, unless there is a `most`
        count = min(count + 1, self._least) if self._most == math.inf else count + 1
        found: defaultdict[_State, list[tuple[int, int]]] = defaultdict(list)
        for atom, ranges in self._atoms.items():
            self._worked(len(left) // 10 + 1)
            following = frozenset[int]().union(*(self._derive(number, atom) for number in left))
            if following:
                found[following, count].extend(ranges)
        return {following: union(ranges) for following, ranges in found.items()}

    def _derive(self, number: int, atom: _Atom) -> frozenset[int]:
        """What may be left of a node after a character of `atom`."""
        if (number, atom) not in self._derived:
            left = self._derivatives(self._nodes[number], atom)
            self._derived[number, atom] = frozenset(map(self._number, left))
        return self._derived[number, atom]

    def _derivatives(self, node: Node, atom: _Atom) -> set[Node]:
        self._worked(1)
        if isinstance(node, Choice):
            return {left for option in node.options for left in self._derivatives(option, atom)}
        if isinstance(node, Repeat):
            again = repeat(node.part, max(0, node.least - 1), None if node.most is None else node.most - 1)
            return {series(left, again) for left in self._derivatives(node.part, atom)}
        if not isinstance(node, Series):
            return {EMPTY} if node in atom else set()
        found: set[Node] = set()
        for index, part in enumerate(node.parts):
            self._worked((len(node.parts) - index) // _PARTS_A_STEP)
            found |= {series(left, *node.parts[index + 1 :]) for left in self._derivatives(part, atom)}
            if not can_be_empty(part):
                break
        return found

    def _worked(self, steps: int) -> None:
        self._work += steps
        self._rules.work(steps)
        if self._work > _WORK_AT_MOST:
            raise _TooManyStatesError


def _atoms(leaves: Leaves) -> dict[_Atom, Ranges]:
    edges = sorted({edge for ranges in leaves.values() for first, last in ranges for edge in (first, last + 1)})
    found: defaultdict[_Atom, Ranges] = defaultdict(tuple)
    for first, after in zip(edges, edges[1:], strict=False):
        atom = frozenset(leaf for leaf, ranges in leaves.items() if overlap(((first, first),), ranges))
        if atom:
            found[atom] += ((first, after - 1),)
    return found
