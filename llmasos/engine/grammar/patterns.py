"""Regular expressions as grammar: the part of them that ECMA-262 and Python's `re` read alike, and the known formats.

A pattern that is not anchored may stand anywhere in the string, as JSON Schema wants it. Shorthands such as `\\d` mean
ASCII, because the dialects differ beyond it. Raises ValueError, saying what is not supported.
"""

from __future__ import annotations

import re

from llmasos.engine.grammar.automaton import automaton_node, is_deterministic
from llmasos.engine.grammar.gbnf import EMPTY, Node, Rules, choice, repeat, series
from llmasos.engine.grammar.strings import Ranges, character_of, fit, minus, union

_DATE = (  # years 1000 to 2999; a 29th of February only where there is one
    r"([12]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    r"|([12]\d(0[48]|[2468][048]|[13579][26])|(1[26]|2[048])00)-02-29)"
)
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
FORMATS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "uuid": r"^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
    "email": r"^\w{1,32}([.+-]\w{1,32}){0,4}@[a-z0-9]{1,32}(-[a-z0-9]{1,32}){0,4}(\.[a-z][a-z0-9]{1,31}){1,4}$",
}

_LENGTH_AT_MOST = 5_000
_DEPTH_AT_MOST = 40
_COUNT_AT_MOST = 100_000

_ASCII: Ranges = ((9, 10), (13, 13), (0x20, 0x7E))
_ANYTHING: Ranges = ((9, 10), (13, 13), (0x20, 0x10FFFF))  # control characters only where a pattern names them
_LINE_ENDS: Ranges = ((10, 10), (13, 13), (0x2028, 0x2029))
_SHORTHANDS: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((9, 13), (0x20, 0x20)),
}
_SPACES: Ranges = ((0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F))
_SPACES += ((0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF))
_SURE: dict[str, Ranges] = {  # where no dialect has more digits, word characters or spaces than the ASCII ones
    "d": (*_ASCII, (0x80, 0x65F), (0x3000, 0x9FFF), (0x1F300, 0x1FAFF)),
    "w": _ASCII,
    "s": minus(_ANYTHING, _SPACES),
}
_SHORTHANDS |= {name.upper(): minus(_SURE[name], ranges) for name, ranges in _SHORTHANDS.items()}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_COUNTS = re.compile(r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}")
_GROUP = re.compile(r"\((\?:|\?P?<[A-Za-z_]\w*>)?(?!\?)")


def pattern_node(pattern: str, least: int, most: float, rules: Rules) -> Node:
    """What stands between the quotes of a JSON string of `least` to `most` characters that matches the pattern."""
    if len(pattern) > _LENGTH_AT_MOST:
        raise ValueError(f"more than {_LENGTH_AT_MOST} characters")
    reader = _Reader(pattern, rules)
    node = reader.alternatives()
    if reader.rest:
        raise ValueError(f"`{reader.rest[0]}` that opens nothing")
    fitting = fit(node, least, most) if is_deterministic(node, reader.leaves) else None
    return automaton_node(node, reader.leaves, least, most, rules) if fitting is None else fitting


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str, rules: Rules) -> None:
        self._pattern = pattern
        self._position = 0
        self._depth = 0
        self._rules = rules
        self.leaves: dict[Node, Ranges] = {}

    @property
    def rest(self) -> str:
        return self._pattern[self._position :]

    def _take(self, text: str) -> bool:
        is_next = self._pattern.startswith(text, self._position)
        self._position += len(text) if is_next else 0
        return is_next

    def _next(self) -> str:
        if self._position == len(self._pattern):
            raise ValueError("an end in the middle of something")
        self._position += 1
        return self._pattern[self._position - 1]

    def alternatives(self) -> Node:
        options = [self._alternative()]
        while self._take("|"):
            options.append(self._alternative())
        return choice(options)

    def _alternative(self) -> Node:
        """One side of a `|`, open at both ends unless anchored when it is not in a group."""
        anywhere = EMPTY if self._depth else repeat(self._leaf(_ANYTHING), 0, None)
        parts = [EMPTY if not self._depth and self._take("^") else anywhere]
        while self.rest and self._pattern[self._position] not in "|)":
            if not self._depth and self.rest[:2] in ("$", "$|"):
                self._position += 1
                return series(*parts)
            parts.append(self._repeated())
        return series(*parts, anywhere)

    def _repeated(self) -> Node:
        part = self._one()
        least, most = self._times()
        if self.rest[:1] in ("*", "+", "{"):
            raise ValueError(f"`{self.rest[:1]}` after a repetition")
        return repeat(part, least, most)

    def _times(self) -> tuple[int, int | None]:
        counts = _COUNTS.match(self._pattern, self._position)
        if counts:
            self._position = counts.end()
            least = int(counts[1])
            most = least if counts[2] is None else int(counts[3]) if counts[3] else None
        elif self.rest[:1] in ("*", "+", "?"):
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self._next()]
        else:
            return 1, 1
        if max(least, most or 0) > _COUNT_AT_MOST or (most is not None and most < least):
            raise ValueError(f"the repetition `{counts and counts[0]}`")
        self._take("?")  # lazy: another match, but of the same strings
        return least, most

    def _one(self) -> Node:
        group = _GROUP.match(self._pattern, self._position)
        if group:
            self._position = group.end()
            return self._group()
        character = self._next()
        if character == "[":
            return self._leaf(self._class())
        if character == ".":
            return self._leaf(minus(_ANYTHING, _LINE_ENDS))
        if character == "\\":
            return self._leaf(self._escape())
        if character in "*+?{^$(":
            raise ValueError(f"`{character}{self.rest[:2]}` here")
        return self._leaf(((ord(character), ord(character)),))

    def _leaf(self, ranges: Ranges) -> Node:
        leaf = character_of(ranges, self._rules)
        self.leaves[leaf] = ranges
        return leaf

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH_AT_MOST:
            raise ValueError(f"groups nested more than {_DEPTH_AT_MOST} deep")
        node = self.alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise ValueError("a group without `)`")
        return node

    def _escape(self) -> Ranges:
        letter = self._next()
        if letter in _SHORTHANDS:
            return _SHORTHANDS[letter]
        if letter in "xu":
            return self._code_point(2 if letter == "x" else 4)
        if letter == "0" and self.rest[:1].isdigit():
            raise ValueError("octal escapes")
        if letter not in _CONTROLS and (letter.isalnum() or not letter.isascii()):
            raise ValueError(f"`\\{letter}`")
        code = _CONTROLS.get(letter, ord(letter))
        return ((code, code),)

    def _code_point(self, digits: int) -> Ranges:
        text = self.rest[:digits]
        if not re.fullmatch("[0-9a-fA-F]" * digits, text) or 0xD800 <= int(text, 16) <= 0xDFFF:
            raise ValueError(f"the character escape `{text}`")
        self._position += digits
        return ((int(text, 16), int(text, 16)),)

    def _class(self) -> Ranges:
        is_negated = self._take("^")
        if self.rest.startswith("]"):
            raise ValueError("an empty character class")
        found: list[tuple[int, int]] = []
        universe = _ANYTHING
        while not self._take("]"):
            first, shorthand = self._class_part()
            if shorthand:
                universe = minus(universe, minus(_ANYTHING, _SURE[shorthand.lower()]))
            if self.rest.startswith("-") and self.rest[1:2] != "]":
                self._next()
                last, other = self._class_part()
                if shorthand or other or last[0][0] < first[0][0]:
                    raise ValueError("a character range without proper ends")
                first = ((first[0][0], last[0][0]),)
            found.extend(first)
        return minus(universe, union(found)) if is_negated else union(found)

    def _class_part(self) -> tuple[Ranges, str]:
        """What a character or an escape stands for, and the letter of a shorthand."""
        character = self._next()
        if character == "\\" and self.rest[:1] == "b":
            self._next()
            return ((8, 8),), ""
        if character == "\\":
            letter = self.rest[:1]
            return self._escape(), letter if letter in _SHORTHANDS else ""
        return ((ord(character), ord(character)),), ""
