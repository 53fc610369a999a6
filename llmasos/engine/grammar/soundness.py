"""Whether a GBNF grammar is one that llama.cpp can follow: complete, finite, not deep or ambiguous beyond reason.

llmasos' own grammars are. One that a person writes may begin with itself through a rule that can be empty, or branch
anew in each rule: llama.cpp takes such grammars, and then hangs, takes all the memory, or overflows its stack.
"""

from __future__ import annotations

import collections
import functools
import math
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from llmasos.engine.grammar.ambiguity import longest_piece
from llmasos.engine.grammar.gbnf import (
    SHORTEST_AT_MOST,
    SIZE_AT_MOST,
    Characters,
    Choice,
    Node,
    Repeat,
    Rule,
    Series,
    Text,
    can_be_empty,
    rules_in,
    shortest_texts,
)
from llmasos.engine.grammar.reading import read_grammar
from llmasos.errors import BadInputError

_KEPT = 64  # answers of `examine`, and grammars that are vouched for
_own: collections.deque[str] = collections.deque(maxlen=_KEPT)
_WIDE_EXCLUDED = re.compile(r"\[\^[^]]*\\[uU]")  # as `character_class` writes it
_DEPTH_AT_MOST = 10_000  # of rules that begin with rules: llama.cpp follows them by recursion
_BEGINNINGS_AT_MOST = 5_000  # of a rule: llama.cpp compares each with each
_ALL_BEGINNINGS_AT_MOST = 20_000_000


@dataclass(frozen=True, slots=True)
class Nature:
    """What has to be known of a sound grammar before a model's tokens are put to it.

    `names_tokens`: it has tokens by name, so what a token's text is does not tell whether it may come.
    `excludes_wide`: a class excludes a character of several bytes, and with it, to llama.cpp, what begins like it.
    `longest_piece`: how many characters may be read at once, because there are so many ways to read them.
    """

    names_tokens: bool
    excludes_wide: bool
    longest_piece: int | None


def vouch(text: str) -> str:
    """Says of one of llmasos' own grammars that it is sound: to read it again would take longer than to make it."""
    if text not in _own:
        _own.append(text)
    return text


@functools.lru_cache(maxsize=_KEPT)
def examine(text: str) -> Nature:
    """Raises BadInputError for what is no grammar, or one that could not be followed to its end."""
    if text in _own:
        return Nature(names_tokens=False, excludes_wide=_WIDE_EXCLUDED.search(text) is not None, longest_piece=None)
    grammar = read_grammar(text)
    rules = grammar.rules
    if "root" not in rules:
        raise _unusable("it has no rule `root`" if rules else "it is empty")
    for name, node in rules.items():
        if missing := next((used for used in rules_in(node) if used not in rules), None):
            raise _unusable(f"`{name}` uses `{missing}`, and there is no such rule")
    shortest = shortest_texts(rules)
    _require_ends(rules, shortest)
    if sum(map(_steps, rules.values())) > SIZE_AT_MOST:
        raise _unusable("it is too large with its repetitions written out", "use smaller counts")
    empty = {name for name, length in shortest.items() if length == 0}
    _require_few_beginnings(rules, empty)
    return Nature(grammar.names_tokens, grammar.excludes_wide, longest_piece(grammar))


def _unusable(problem: str, hint: str | None = None) -> BadInputError:
    return BadInputError(f"the grammar can't be used: {problem}", hint=hint)


def _require_ends(rules: Mapping[str, Node], shortest: Mapping[str, float]) -> None:
    for name in _reachable(rules):
        if shortest[name] == math.inf:
            raise _unusable(f"`{name}` never comes to an end", f"give it an alternative without `{name}`")
    if shortest["root"] > SHORTEST_AT_MOST:
        raise _unusable(f"whatever it admits has more than {SHORTEST_AT_MOST:,} characters", "use smaller counts")


def _reachable(rules: Mapping[str, Node]) -> Iterator[str]:
    waiting, found = ["root"], {"root"}
    while waiting:
        name = waiting.pop()
        yield name
        for used in rules_in(rules[name]):
            if used not in found:
                found.add(used)
                waiting.append(used)


def _steps(node: Node) -> int:
    """How many steps llama.cpp makes of it: repetitions are written out, groups become rules."""
    if isinstance(node, Text):
        return len(node.text)
    if isinstance(node, Characters):
        return len(node.gbnf)
    if isinstance(node, Series | Choice):
        return 1 + sum(map(_steps, node.parts if isinstance(node, Series) else node.options))
    if isinstance(node, Repeat):
        inner, times = _steps(node.part), max(1, node.least, node.most or 0)
        return inner + times if isinstance(node.part, Series | Choice) else inner * times
    return 1


def _require_few_beginnings(rules: Mapping[str, Node], empty: Container[str]) -> None:
    """Refuses rules that begin with themselves, or in more ways than can be followed."""
    first = {name: set(_first_rules(node, empty)) for name, node in rules.items()}
    try:
        order = list(TopologicalSorter(first).static_order())
    except CycleError as error:
        name = error.args[1][0]
        hint = f"let it end with itself, as in `{name} ::= part {name} | part`, or repeat with `part+`"
        raise _unusable(f"`{name}` begins with itself", hint) from error
    depths: dict[str, int] = {}
    ways: dict[str, int] = {}
    for name in order:
        depths[name] = _depth(rules[name]) + max((depths[used] for used in first[name]), default=0)
        ways[name] = _beginnings(rules[name], ways, empty)
        if depths[name] > _DEPTH_AT_MOST or ways[name] > _BEGINNINGS_AT_MOST:
            raise _unusable(f"`{name}` begins in too many ways", "let the next character tell which way it is")
    if sum(ways.values()) > _ALL_BEGINNINGS_AT_MOST:
        raise _unusable("its rules begin in too many ways", "use fewer alternatives")


def _first_rules(node: Node, empty: Container[str]) -> Iterator[str]:
    """The rules that a text of `node` may begin with."""
    if isinstance(node, Rule):
        yield node.name
    elif isinstance(node, Repeat):
        yield from _first_rules(node.part, empty)
    elif isinstance(node, Choice):
        for option in node.options:
            yield from _first_rules(option, empty)
    elif isinstance(node, Series):
        for part in _leading(node, empty):
            yield from _first_rules(part, empty)


def _leading(node: Series, empty: Container[str]) -> Iterator[Node]:
    """The parts before which nothing need stand."""
    for part in node.parts:
        yield part
        if not can_be_empty(part, empty):
            return


def _depth(node: Node) -> int:
    if isinstance(node, Repeat):
        return 1 + _depth(node.part)
    children = node.parts if isinstance(node, Series) else node.options if isinstance(node, Choice) else ()
    return 1 + max(map(_depth, children), default=0)


def _beginnings(node: Node, known: Mapping[str, int], empty: Container[str]) -> int:
    """In how many ways llama.cpp comes from the node to a first character, or to its end."""
    if isinstance(node, Rule):
        return known[node.name]
    if isinstance(node, Repeat):
        return 1 + _beginnings(node.part, known, empty)
    if isinstance(node, Choice):
        return sum(_beginnings(option, known, empty) for option in node.options)
    if isinstance(node, Series):
        return sum(_beginnings(part, known, empty) for part in _leading(node, empty)) or 1
    return 1
