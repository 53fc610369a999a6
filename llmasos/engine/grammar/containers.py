"""JSON objects and arrays as grammar: their entries in order, how many there may be, and the white space between.

Knows nothing of JSON Schema. The grammar grows with the entries, never with their combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.engine.grammar.gbnf import EMPTY, Characters, Node, Rule, Rules, Text, choice, optional, repeat, series

# one blank, or a new line with its indentation: a model that likes white space can't go on with it
SPACE_RULES: dict[str, Node] = {
    "space": optional(choice([Text(" "), series("\n", repeat(Characters(r"[ \t]"), 0, 20))])),
}
SPACE = Rule("space")
COLON = series(":", optional(Text(" ")))
_IN_A_RULE = 20  # required members: one longer rule would be copied for each of them


@dataclass(frozen=True, slots=True)
class Member:
    """A property of an object: `node` is its key and its value."""

    node: Node
    is_required: bool


def object_node(members: Sequence[Member], extra: Node | None, least: int, most: int | None, rules: Rules) -> Node:
    """An object of `members` in this order, then any number of `extra`; `least` to `most` properties in all.

    Two extras may bear the same name, so towards `least` they count as one.
    """
    highest = max(least, 1) if most is None else most  # the highest count to be told apart from the one below
    first_optional = next((index for index, member in enumerate(members) if not member.is_required), len(members))
    rests = [
        _end("}", extra if least - count < 2 else None, count, least, most)
        for count in range(min(highest, len(members)) + 1)
    ]
    for index in reversed(range(len(members))):
        if index >= first_optional or index % _IN_A_RULE == 0:  # more than one way leads on from here, or a long one
            rests = [rules.share("members", rest) for rest in rests]
        counts = range(min(highest, index) + 1)
        rests = [_with_member(members[index], count, rests, can_grow=most is None or count < most) for count in counts]
    return series("{", SPACE, rests[0])


def _with_member(member: Member, count: int, rests: list[Node], *, can_grow: bool) -> Node:
    """The member and what follows then, or, if it is optional, what follows without it."""
    written = series(_separator(count), member.node, rests[min(count + 1, len(rests) - 1)])
    options = [written] if can_grow else []
    return choice(options if member.is_required else [*options, rests[count]])


def array_node(prefix: Sequence[Node], item: Node | None, least: int, most: int | None, rules: Rules) -> Node:
    """An array that starts with `prefix` and goes on with any number of `item`; `least` to `most` entries in all."""
    prefix = prefix[:most]
    rest = _end("]", item, len(prefix), least, most)
    for index in reversed(range(len(prefix))):
        rest = series(_separator(index), prefix[index], rest)
        if index >= least:
            rest = rules.share("items", choice([_close("]", index), rest]))
    return series("[", SPACE, rest)


def _end(bracket: str, more: Node | None, count: int, least: int, most: int | None) -> Node:
    """Any number of `more` entries after the first `count`, and the closing bracket."""
    options = [_close(bracket, count)] if count >= least else []
    if more is not None and count != most:
        room = None if most is None else most - count - 1
        others = repeat(series(_separator(1), more), max(0, least - count - 1), room)
        options.append(series(_separator(count), more, others, _close(bracket, 1)))
    return choice(options)


def _close(bracket: str, count: int) -> Node:
    return series(SPACE, bracket) if count else Text(bracket)


def _separator(count: int) -> Node:
    return series(",", SPACE) if count else EMPTY
