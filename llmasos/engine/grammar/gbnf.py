"""A GBNF grammar as a value: nodes, named rules, and their text within the limits of llama.cpp's grammar parser.

Knows nothing of JSON or of JSON Schema.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmasos.errors import BadInputError

WORK_AT_MOST = 100_000  # steps of all kinds, less than a second
_WORK_OF_RULE = 10
SIZE_AT_MOST = 400_000  # characters written, and steps that llama.cpp makes of the repetitions
# llama.cpp writes each repetition out, refuses more than 2000 and silently forgets an upper bound above 2000
MOST_REPETITIONS = 2_000
SHORTEST_AT_MOST = 100_000  # characters: no model writes as many
REPETITIONS_AT_MOST = 200


@dataclass(frozen=True, slots=True)
class Text:
    """Exactly these characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of a class, in GBNF's own notation: `[0-9]`."""

    gbnf: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Whatever the rule of this name stands for."""

    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """All parts, one after the other; none: the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the options; none: nothing at all matches."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`part`, at least `least` times and at most `most` times; None: without end."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = Text | Characters | Rule | Series | Choice | Repeat

EMPTY = Series(())
NEVER = Choice(())


def series(*parts: Node | str) -> Node:
    flat: list[Node] = []
    for part in parts:
        node = Text(part) if isinstance(part, str) else part
        flat.extend(node.parts if isinstance(node, Series) else [node])
    return flat[0] if len(flat) == 1 else Series(tuple(flat))


def choice(options: Iterable[Node]) -> Node:
    flat: dict[Node, None] = {}
    for option in options:
        flat.update(dict.fromkeys(option.options if isinstance(option, Choice) else [option]))
    return next(iter(flat)) if len(flat) == 1 else Choice(tuple(flat))


def repeat(part: Node, least: int, most: int | None) -> Node:
    if most is not None and most < least:
        return NEVER
    if can_be_empty(part):  # `(x*)*` would be left recursion to llama.cpp
        part, least = _without_empty(part), 0
    if most == 0 or part in (EMPTY, NEVER):
        return EMPTY if least == 0 else part
    return part if least == most == 1 else Repeat(part, least, most)


def optional(part: Node) -> Node:
    return repeat(part, 0, 1)


def can_be_empty(node: Node, rules: Container[str] = ()) -> bool:
    """Whether the empty text matches, given the rules of which it is known that it matches them.

    While a grammar is built a rule counts as never empty: only such rules may be repeated.
    """
    if isinstance(node, Series):
        return all(can_be_empty(part, rules) for part in node.parts)
    if isinstance(node, Choice):
        return any(can_be_empty(option, rules) for option in node.options)
    if isinstance(node, Repeat):
        return node.least == 0 or can_be_empty(node.part, rules)
    return isinstance(node, Rule) and node.name in rules


def _without_empty(node: Node) -> Node:
    """What `node` matches, the empty text left out."""
    if not can_be_empty(node):
        return node
    if isinstance(node, Choice):
        return choice(map(_without_empty, node.options))
    if isinstance(node, Repeat):
        return repeat(node.part, 1, node.most)
    parts = node.parts if isinstance(node, Series) else ()
    return choice(series(_without_empty(part), *parts[index + 1 :]) for index, part in enumerate(parts))


def shortest_texts(nodes: Mapping[str, Node]) -> dict[str, float]:
    """How many characters the shortest text of each rule has; infinity for one that never ends."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for name, node in nodes.items():
        for used in rules_in(node):
            users[used].add(name)
    found = dict.fromkeys(nodes, math.inf)
    waiting = dict.fromkeys(nodes)
    while waiting:
        name = next(reversed(waiting))
        del waiting[name]
        shortest = _shortest(nodes[name], found)
        if shortest < found[name]:
            found[name] = shortest
            waiting.update(dict.fromkeys(users[name]))
    return found


def _shortest(node: Node, known: Mapping[str, float]) -> float:
    if isinstance(node, Text):
        return len(node.text)
    if isinstance(node, Rule):
        return known[node.name]
    if isinstance(node, Series):
        return sum(_shortest(part, known) for part in node.parts)
    if isinstance(node, Choice):
        return min((_shortest(option, known) for option in node.options), default=math.inf)
    if isinstance(node, Repeat):
        return node.least * _shortest(node.part, known) if node.least else 0
    return 1


class Rules:
    """Named rules while they are being collected; `builtin` ones are written only when used."""

    def __init__(self, builtin: Mapping[str, Node]) -> None:
        self._nodes: dict[str, Node] = dict(builtin)
        self._shared: dict[Node, Rule] = {}
        self._work_left = WORK_AT_MOST
        self._numbers: defaultdict[str, int] = defaultdict(int)

    def claim(self, hint: str) -> str:
        """A free name like `hint`, made of what GBNF allows; its rule has yet to be set."""
        self.work(_WORK_OF_RULE)
        name = base = re.sub(r"[^a-zA-Z0-9]+", "-", hint).strip("-")[-40:].lstrip("-") or "part"
        while name in self._nodes:
            self._numbers[base] += 1
            name = f"{base}-{self._numbers[base] + 1}"
        self._nodes[name] = NEVER
        return name

    def set(self, name: str, node: Node) -> None:
        self._nodes[name] = node

    def share(self, hint: str, node: Node) -> Rule:
        """A rule for `node`; equal nodes share one rule."""
        if isinstance(node, Rule):
            return node
        self.work(_WORK_OF_RULE)
        if node not in self._shared:
            self._shared[node] = Rule(self.claim(hint))
            self.set(self._shared[node].name, node)
        return self._shared[node]

    def work(self, steps: int) -> None:
        """Counts steps, and gives up early on what would never end well."""
        self._work_left -= steps
        if self._work_left < 0:
            raise too_large()

    def text(self, root: str) -> str | None:
        """The grammar, without what can never end; None when that leaves nothing at all."""
        shortest = shortest_texts(self._nodes)
        if shortest[root] == math.inf:
            return None
        if shortest[root] > SHORTEST_AT_MOST:
            raise BadInputError(
                f"whatever the schema admits has more than {SHORTEST_AT_MOST:,} characters", hint="ask for less"
            )
        productive = {name for name, length in shortest.items() if length < math.inf}
        return _Writer({name: _cut(self._nodes[name], productive) for name in productive}).text(root)


def too_large() -> BadInputError:
    return BadInputError("the schema makes too large a grammar", hint="use fewer alternatives or smaller bounds")


def rules_in(node: Node) -> Iterator[str]:
    if isinstance(node, Rule):
        yield node.name
    elif isinstance(node, Repeat):
        yield from rules_in(node.part)
    elif isinstance(node, Series | Choice):
        for child in node.parts if isinstance(node, Series) else node.options:
            yield from rules_in(child)


def can_end(node: Node, productive: Container[str] = ()) -> bool:
    """Whether `node` matches some finite text, given the rules that do. A model that entered another never finishes."""
    if isinstance(node, Rule):
        return node.name in productive
    if isinstance(node, Series):
        return all(can_end(part, productive) for part in node.parts)
    if isinstance(node, Choice):
        return any(can_end(option, productive) for option in node.options)
    return not isinstance(node, Repeat) or node.least == 0 or can_end(node.part, productive)


def _cut(node: Node, productive: Container[str]) -> Node:
    """`node`, which can end, without the parts of it that cannot."""
    if isinstance(node, Choice):
        return choice(_cut(option, productive) for option in node.options if can_end(option, productive))
    if isinstance(node, Series):
        return series(*(_cut(part, productive) for part in node.parts))
    if isinstance(node, Repeat):
        return repeat(_cut(node.part, productive), node.least, node.most) if can_end(node.part, productive) else EMPTY
    return node


class _Writer:
    """Writes the rules that are reachable, and adds one where a repeated part needs a name."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self._nodes = nodes
        self._named: dict[Node, str] = {}
        self._waiting: list[str] = []
        self._size = 0

    def text(self, root: str) -> str:
        lines: dict[str, str] = {}
        self._waiting.append(root)
        while self._waiting:
            name = self._waiting.pop()
            if name not in lines:
                lines[name] = f"{name} ::= {self._options(self._nodes[name], name)}\n"
                self._grow(len(lines[name]))
        return "".join(lines.values())

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > SIZE_AT_MOST:
            raise too_large()

    def _options(self, node: Node, name: str) -> str:
        if isinstance(node, Choice):
            return " | ".join(self._parts(option, name) for option in node.options)
        return self._parts(node, name)

    def _parts(self, node: Node, name: str) -> str:
        if node == EMPTY:
            return '""'
        parts = node.parts if isinstance(node, Series) else (node,)
        return " ".join(self._one(part, name) for part in _with_joined_texts(parts))

    def _one(self, node: Node, name: str) -> str:
        if isinstance(node, Text):
            return _quoted(node.text)
        if isinstance(node, Characters):
            return node.gbnf
        if isinstance(node, Rule):
            self._waiting.append(node.name)
            return node.name
        if isinstance(node, Repeat):
            return self._repeat(node, name)
        return f"( {self._options(node, name)} )"

    def _repeat(self, node: Repeat, name: str) -> str:
        most = node.least if node.most is None else node.most
        if most > REPETITIONS_AT_MOST:
            return self._one(self._in_blocks(node, name), name)
        self._grow(most)
        # llama.cpp multiplies a repetition with those inside it: what repeats by numbers gets a rule of its own
        part = self._rule(node.part, name) if most > 1 or _counts(node.part) else node.part
        return self._one(part, name) + _times(node.least, node.most)

    def _rule(self, node: Node, name: str) -> Node:
        if isinstance(node, Text | Characters | Rule):
            return node
        if node not in self._named:
            free = (f"{name}-part{number}" for number in range(1, 10_000))
            self._named[node] = next(candidate for candidate in free if candidate not in self._nodes)
            self._nodes[self._named[node]] = node
        return Rule(self._named[node])

    def _in_blocks(self, node: Repeat, name: str) -> Node:
        """A large count as blocks of about its square root: `x{0,10000}` needs 300 steps then, not 10,000."""
        size = math.isqrt(max(node.least, node.most or 0))
        part = self._rule(node.part, name)
        block = self._rule(Repeat(part, size, size), name)
        blocks, rest = divmod(node.least, size)
        exactly = series(repeat(block, blocks, blocks), repeat(part, rest, rest))
        if node.most is None:
            return series(exactly, repeat(part, 0, None))
        blocks, rest = divmod(node.most - node.least, size)
        if blocks == 0:
            return series(exactly, repeat(part, 0, rest))
        short = series(repeat(block, 0, blocks - 1), repeat(part, 0, size - 1))
        return series(exactly, choice([short, series(repeat(block, blocks, blocks), repeat(part, 0, rest))]))


def _counts(node: Node) -> bool:
    if isinstance(node, Repeat):
        return (node.most or node.least) > 1 or _counts(node.part)
    children = node.parts if isinstance(node, Series) else node.options if isinstance(node, Choice) else ()
    return any(map(_counts, children))


def _with_joined_texts(parts: tuple[Node, ...]) -> list[Node]:
    joined: list[Node] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + part.text)
        else:
            joined.append(part)
    return joined


def _times(least: int, most: int | None) -> str:
    if least == most:
        return f"{{{least}}}"
    plain = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    return plain.get((least, most), f"{{{least},{'' if most is None else most}}}")


def _quoted(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return (
        '"' + "".join(escapes.get(each) or (each if each.isprintable() else escaped(ord(each))) for each in text) + '"'
    )


def escaped(code: int) -> str:
    """A character by its number."""
    return f"\\x{code:02X}" if code < 0x80 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
