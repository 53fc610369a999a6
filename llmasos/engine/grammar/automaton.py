"""Regular languages without ambiguity: where two paths could follow the same text, a deterministic automaton instead.

llama.cpp follows all paths of a grammar at once and never merges them: `(.{0,9}){0,9}` alone makes it hang.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

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
from llmasos.engine.grammar.strings import Ranges, character_of, union

Leaves: TypeAlias = Mapping[Node, Ranges]  # which characters each leaf of a tree of nodes stands for
_Atom: TypeAlias = frozenset[Node]  # characters are alike if the same leaves hold them
_State: TypeAlias = tuple[frozenset[Node], int]  # what may follow, and how many characters have been read

_WORK_AT_MOST = 30_000
_WORK_OF_STATE = 20  # so there are never more than 1500


def is_deterministic(node: Node, leaves: Leaves) -> bool:
    """Whether each next character tells where in the tree it belongs."""
    if isinstance(node, Repeat):
        loops = node.most != 1 and _overlap(_further(node.part, leaves), _first(node.part, leaves))
        return not loops and is_deterministic(node.part, leaves)
    following: Ranges = ()
    if isinstance(node, Choice):
        for option in node.options:
            if _overlap(_first(option, leaves), following) or not is_deterministic(option, leaves):
                return False
            following = union(following + _first(option, leaves))
    for part in reversed(node.parts) if isinstance(node, Series) else ():
        if _overlap(_further(part, leaves), following) or not is_deterministic(part, leaves):
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


def _overlap(left: Ranges, right: Ranges) -> bool:
    return any(low <= last and first <= high for first, last in left for low, high in right)


def automaton_node(node: Node, leaves: Leaves, least: int, most: float, rules: Rules) -> Node:
    """Strings of `node` with `least` to `most` characters, one rule for each state. Raises ValueError if too many."""
    return _Automaton(leaves, least, most, rules).node(node)


class _Automaton:
    """States are sets of nodes: what is left of the first one (its partial derivatives) after what has been read."""

    def __init__(self, leaves: Leaves, least: int, most: float, rules: Rules) -> None:
        self._atoms = _atoms(leaves)
        self._least, self._most, self._rules = least, most, rules
        self._work = 0
        self._derived: dict[tuple[Node, _Atom], frozenset[Node]] = {}

    def node(self, start: Node) -> Node:
        first: _State = (frozenset([start]), 0)
        rule_of = {first: Rule(self._rules.claim("state"))}
        waiting, ends = [first], False
        while waiting:
            state = waiting.pop()
            is_end = state[1] >= self._least and any(map(can_be_empty, state[0]))
            options: list[Node] = [EMPTY] if is_end else []
            for following, ranges in self._steps(state).items():
                if following not in rule_of:
                    rule_of[following] = Rule(self._rules.claim("state"))
                    waiting.append(following)
                options.append(series(character_of(ranges, self._rules), rule_of[following]))
            self._rules.set(rule_of[state].name, choice(options))
            ends = ends or is_end
            self._worked(_WORK_OF_STATE)
        return rule_of[first] if ends else NEVER

    def _steps(self, state: _State) -> dict[_State, Ranges]:
        """The states that follow, with the characters that lead there."""
        left, count = state
        if count >= self._most:
            return {}
        # beyond `least` there is nothing to count for, unless there is a `most`
        count = min(count + 1, self._least) if self._most == math.inf else count + 1
        found: defaultdict[_State, Ranges] = defaultdict(tuple)
        for atom, ranges in self._atoms.items():
            self._worked(len(left))
            following = frozenset[Node]().union(*(self._derive(node, atom) for node in left))
            if following:
                found[following, count] = union(found[following, count] + ranges)
        return found

    def _derive(self, node: Node, atom: _Atom) -> frozenset[Node]:
        """What may be left of `node` after a character of `atom`."""
        if (node, atom) not in self._derived:
            self._worked(len(node.parts) if isinstance(node, Series) else 1)
            self._derived[node, atom] = frozenset(self._derivatives(node, atom))
        return self._derived[node, atom]

    def _derivatives(self, node: Node, atom: _Atom) -> set[Node]:
        if isinstance(node, Choice):
            return {left for option in node.options for left in self._derive(option, atom)}
        if isinstance(node, Repeat):
            again = repeat(node.part, max(0, node.least - 1), None if node.most is None else node.most - 1)
            return {series(left, again) for left in self._derive(node.part, atom)}
        if not isinstance(node, Series):
            return {EMPTY} if node in atom else set()
        if not node.parts:
            return set()
        head, rest = node.parts[0], series(*node.parts[1:])
        found: set[Node] = {series(left, rest) for left in self._derive(head, atom)}
        return found | self._derive(rest, atom) if can_be_empty(head) else found

    def _worked(self, steps: int) -> None:
        self._work += steps
        self._rules.work(steps)
        if self._work > _WORK_AT_MOST:
            raise ValueError("too many ways to read the same text")


def _atoms(leaves: Leaves) -> dict[_Atom, Ranges]:
    edges = sorted({edge for ranges in leaves.values() for first, last in ranges for edge in (first, last + 1)})
    found: defaultdict[_Atom, Ranges] = defaultdict(tuple)
    for first, after in zip(edges, edges[1:], strict=False):
        atom = frozenset(leaf for leaf, ranges in leaves.items() if _overlap(((first, first),), ranges))
        if atom:
            found[atom] += ((first, after - 1),)
    return found
