"""JSON strings as grammar: their characters and escapes, their lengths, and keys that must differ from given ones.

Knows nothing of JSON Schema. One step of a string's grammar is one character of the string that it stands for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

from llmasos.engine.grammar.characters import (
    SURROGATES,
    Ranges,
    character_class,
    minus,
    overlap,
    plain_character,
    union,
)
from llmasos.engine.grammar.gbnf import (
    NEVER,
    Characters,
    Choice,
    Node,
    Repeat,
    Rule,
    Rules,
    Series,
    Text,
    choice,
    repeat,
    series,
    too_large,
)

CHARACTER = Rule("character")
_ESCAPED: Ranges = ((0, 0x1F), (ord('"'), ord('"')), (ord("\\"), ord("\\")))
_LONGEST_NAMES = 5_000
_PLAIN = Characters(r'[^"\\\x00-\x1F]')
_HEX, _D = Characters("[0-9a-fA-F]"), Characters("[dD]")

STRING_RULES: dict[str, Node] = {
    "string": series('"', repeat(CHARACTER, 0, None), '"'),
    "character": choice([_PLAIN, series("\\", Rule("escape"))]),
    "escape": choice(
        [
            Characters(r'["\\/bfnrt]'),
            series("u", Characters("[0-9abcefABCEF]"), repeat(_HEX, 3, 3)),
            series("u", _D, Characters("[0-7]"), repeat(_HEX, 2, 2)),
            # a surrogate never comes alone
            series("u", _D, Characters("[89abAB]"), repeat(_HEX, 2, 2), "\\u", _D, Rule("low-surrogate")),
        ]
    ),
    "low-surrogate": series(Characters("[c-fC-F]"), repeat(_HEX, 2, 2)),
}


def json_text(value: Any) -> str:
    """The value as JSON. Raises ValueError for what JSON cannot hold, such as NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    has_lone_surrogate = any(SURROGATES[0] <= ord(character) <= SURROGATES[1] for character in text)
    return json.dumps(value, allow_nan=False) if has_lone_surrogate else text


def json_character(ranges: Ranges, rules: Rules) -> Node:
    """One character out of `ranges`, escaped where JSON wants it."""
    plain = minus(ranges, (*_ESCAPED, SURROGATES))
    specials = [chr(code) for code in (*range(0x20), ord('"'), ord("\\")) if overlap(ranges, ((code, code),))]
    options: list[Node] = [plain_character(plain)] if plain else []
    options += [Text(json_text(special)[1:-1]) for special in specials]
    return rules.share("one-of", choice(options)) if len(options) > 1 else choice(options)


def lengths(node: Node) -> tuple[int, float]:
    """The fewest and the most characters of the string; every leaf is one."""
    if isinstance(node, Series):
        parts = [lengths(part) for part in node.parts]
        return sum(least for least, _ in parts), sum(most for _, most in parts)
    if isinstance(node, Choice):
        options = [lengths(option) for option in node.options]
        return min((least for least, _ in options), default=0), max((most for _, most in options), default=0)
    if isinstance(node, Repeat):
        least, most = lengths(node.part)
        return least * node.least, math.inf if node.most is None else most * node.most
    return 1, 1


def fit(node: Node, least: int, most: float) -> Node | None:
    """`node`, narrowed to strings of `least` to `most` characters; None where that can't be told from its form."""
    shortest, longest = lengths(node)
    if least <= shortest and longest <= most:
        return node
    if longest < least or shortest > most:
        return NEVER
    return _fit_repeat(node, least, most) if isinstance(node, Repeat) else None


def _fit_repeat(node: Repeat, least: int, most: float) -> Node | None:
    shortest, longest = lengths(node.part)
    if shortest != longest:
        return None
    highest = None if most == math.inf else math.floor(most) // shortest
    if node.most is not None:
        highest = node.most if highest is None else min(node.most, highest)
    return repeat(node.part, max(node.least, -(-least // shortest)), highest)


def key_except(names: Collection[str], rules: Rules) -> Node:
    """An object's key that is none of `names`; without escapes, so that no spelling of a name slips through."""
    if not names:
        return Rule("string")
    if sum(map(len, names)) > _LONGEST_NAMES:
        raise too_large()
    writable = [name for name in names if json_text(name) == f'"{name}"']
    prefixes = {name[:length] for name in writable for length in range(len(name) + 1)} | {""}
    following: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
    for prefix in sorted(prefixes - {""}):
        following[prefix[:-1]].append(prefix[-1])
    rest: dict[str, Rule] = {}
    for prefix in sorted(prefixes, key=lambda prefix: (-len(prefix), prefix)):
        other = character_class(
            union([*_ESCAPED, *((ord(next_), ord(next_)) for next_ in following[prefix])]), mark="^"
        )
        options: list[Node] = [] if prefix in writable else [Text('"')]
        options.append(series(other, repeat(_PLAIN, 0, None), '"'))
        options += [series(next_, rest[prefix + next_]) for next_ in following[prefix]]
        rest[prefix] = rules.share("other-key", choice(options))
    return series('"', rest[""])
