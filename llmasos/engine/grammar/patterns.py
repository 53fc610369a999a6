"""Regular expressions as grammar: the part of them that ECMA-262 and Python's `re` read alike, and the known formats.

Inside JSON a pattern that is not anchored may stand anywhere in the string, as JSON Schema wants it; as the shape of a
whole text it is what `re.fullmatch` takes. What the dialects read differently is narrowed to what all of them accept:
`\\d` is an ASCII digit. What no grammar can promise is refused by its name and place.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from typing import NoReturn

from llmasos.engine.grammar.automaton import Spelling, automaton_node, is_deterministic
from llmasos.engine.grammar.characters import Ranges, minus, plain_character, union
from llmasos.engine.grammar.gbnf import EMPTY, Node, Rules, Series, choice, repeat, series
from llmasos.engine.grammar.strings import fit, json_character

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
# of the scripts Latin, Greek, Cyrillic, Hebrew, Arabic, Georgian, kana, Han and Hangul, whatever the version of Unicode
_LETTERS: Ranges = (
    *((0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2C1), (0x38E, 0x3A1), (0x3A3, 0x3F5), (0x3F7, 0x481), (0x48A, 0x52F)),
    *((0x5D0, 0x5EA), (0x620, 0x64A), (0x10D0, 0x10FA), (0x1E00, 0x1F15), (0x3041, 0x3096), (0x30A1, 0x30FA)),
    *((0x3400, 0x4DB5), (0x4E00, 0x9FEF), (0xAC00, 0xD7A3)),
)
_WORDS = union((*_SHORTHANDS["w"], *_LETTERS))  # of a whole text, which is Python's
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_COUNTS = re.compile(r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}")
_GROUP = re.compile(r"\((\?:|\?P?<[A-Za-z_]\w*>)?(?!\?)")

_AROUND = "say instead what may stand there, such as `[^x]` for `(?!x)`"
_NO_GRAMMAR = "a grammar can't compare one part of a text with another: write out what may stand there"
_EDGES = "leave it out: where a word ends shows in what is written around it"
_ANCHORS = "put `^` at the beginning and `$` at the end of the whole pattern, or leave them out"
_REFUSED_GROUPS = {  # how a group begins, what that is, and a hint
    "(?=": ("the lookahead", _AROUND),
    "(?!": ("the lookahead", _AROUND),
    "(?<=": ("the lookbehind", _AROUND),
    "(?<!": ("the lookbehind", _AROUND),
    "(?P=": ("the backreference", _NO_GRAMMAR),
    "(?(": ("the condition", _NO_GRAMMAR),
    "(?>": ("the atomic group", "use `(?:`"),
    "(?#": ("the comment", "leave it out"),
    "(?": ("the flag", "write out what it means, such as `[Aa]` for an `a` of either case"),
}
_REFUSED_ESCAPES = {
    **dict.fromkeys("bB", ("the word boundary", _EDGES)),
    **dict.fromkeys("AZz", ("the anchor", _ANCHORS)),
    **dict.fromkeys("123456789k", ("the backreference", _NO_GRAMMAR)),
    **dict.fromkeys("pP", ("the Unicode property", "write its ranges, such as `[a-zà-ÿ]`")),
}


class PatternError(ValueError):
    """What is wrong with a pattern, as in `has the lookahead `(?=` at character 3, which is not supported`."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def json_pattern_node(pattern: str, least: int, most: float, rules: Rules) -> Node:
    """What stands between the quotes of a JSON string of `least` to `most` characters that matches the pattern.

    Raises PatternError.
    """
    spell = functools.partial(json_character, rules=rules)
    return _without_ambiguity(_Reader(pattern, spell, is_whole=False), least, most, rules)


def text_pattern_node(pattern: str, rules: Rules) -> Node:
    """The texts that match the pattern as a whole. Raises PatternError."""
    return _without_ambiguity(_Reader(pattern, plain_character, is_whole=True), 0, math.inf, rules)


def _without_ambiguity(reader: _Reader, least: int, most: float, rules: Rules) -> Node:
    node = reader.pattern()
    fitting = fit(node, least, most) if is_deterministic(node, reader.leaves) else None
    if fitting is None:
        fitting = automaton_node(node, reader.leaves, least, most, spell=reader.spell, rules=rules)
    if fitting is None:
        hint = "lower its counts, or let each character tell where it belongs: `[^,]*,` instead of `.*,`"
        raise PatternError("has too many ways to read the same text", hint)
    return fitting


def _factored(options: Iterable[Node]) -> Node:
    """One of the options. What several begin with stands once, so that the next character tells which of them it is."""
    rests: dict[Node, list[Node]] = {}
    for option in dict.fromkeys(options):
        first, *rest = option.parts if isinstance(option, Series) and option.parts else (option,)
        rests.setdefault(first, []).append(series(*rest))
    return choice(series(first, _factored(others) if len(others) > 1 else others[0]) for first, others in rests.items())


class _Reader:
    """Reads a pattern from left to right. `leaves` tells which characters each leaf of the tree stands for."""

    def __init__(self, pattern: str, spell: Spelling, *, is_whole: bool) -> None:
        self._pattern = pattern
        self._position = 0
        self._depth = 0
        self._is_whole = is_whole
        self.spell = spell
        self.leaves: dict[Node, Ranges] = {}

    def pattern(self) -> Node:
        if len(self._pattern) > _LENGTH_AT_MOST:
            raise PatternError(f"has more than {_LENGTH_AT_MOST:,} characters")
        node = self._alternatives()
        if self._position < len(self._pattern):
            self._fail("a `)` that opens nothing")
        return node

    @property
    def _rest(self) -> str:
        return self._pattern[self._position :]

    def _take(self, text: str) -> bool:
        is_next = self._pattern.startswith(text, self._position)
        self._position += len(text) if is_next else 0
        return is_next

    def _next(self) -> str:
        if self._position == len(self._pattern):
            raise PatternError("ends in the middle of a character class or after a `\\`")
        self._position += 1
        return self._pattern[self._position - 1]

    def _fail(self, what: str, hint: str | None = None, *, back: int = 0) -> NoReturn:
        """Something is wrong here, or `back` characters before."""
        raise PatternError(f"has {what} at character {self._position - back + 1}", hint)

    def _refuse(self, what: str, hint: str, *, back: int = 0) -> NoReturn:
        raise PatternError(f"has {what} at character {self._position - back + 1}, which is not supported", hint)

    def _alternatives(self) -> Node:
        options = [self._alternative()]
        while self._take("|"):
            options.append(self._alternative())
        return _factored(options)

    def _alternative(self) -> Node:
        """One side of a `|`, open at both ends, outside of groups, unless it is anchored or the whole text."""
        anywhere = EMPTY if self._depth or self._is_whole else repeat(self._leaf(_ANYTHING), 0, None)
        is_anchored = not self._depth and (self._take("^") or (self._is_whole and self._take(r"\A")))
        parts = [EMPTY if is_anchored else anywhere]
        while self._rest and self._pattern[self._position] not in "|)":
            if not self._depth and self._takes_end():
                return series(*parts)
            parts.append(self._repeated())
        return series(*parts, anywhere)

    def _takes_end(self) -> bool:
        for anchor in ("$", *([r"\Z"] if self._is_whole else [])):
            if self._rest == anchor or self._rest.startswith(f"{anchor}|"):
                return self._take(anchor)
        return False

    def _repeated(self) -> Node:
        part = self._one()
        times = self._times()
        if times is None:
            return part
        if self._rest[:1] == "+":
            self._refuse("a possessive repetition", "write it without the second `+`")
        if self._rest[:1] in ("*", "?", "{"):
            self._fail(f"`{self._rest[:1]}` after a repetition")
        return repeat(part, *times)

    def _times(self) -> tuple[int, int | None] | None:
        counts = _COUNTS.match(self._pattern, self._position)
        if counts:
            self._position = counts.end()
            least = int(counts[1])
            most = least if counts[2] is None else int(counts[3]) if counts[3] else None
        elif self._rest[:1] in ("*", "+", "?"):
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self._next()]
        else:
            return None
        if counts and (max(least, most or 0) > _COUNT_AT_MOST or (most is not None and most < least)):
            hint = f"counts go from the smaller to the larger one, up to {_COUNT_AT_MOST:,}"
            self._fail(f"the repetition `{counts[0]}`", hint, back=len(counts[0]))
        self._take("?")  # lazy: another match, but of the same strings
        return least, most

    def _one(self) -> Node:
        group = _GROUP.match(self._pattern, self._position)
        if group:
            self._position = group.end()
            return self._group()
        for beginning, (what, hint) in _REFUSED_GROUPS.items():
            if self._rest.startswith(beginning):
                self._refuse(f"{what} `{beginning}`", hint)
        character = self._next()
        if character == "[":
            return self._leaf(self._class())
        if character == ".":
            return self._leaf(minus(_ANYTHING, _LINE_ENDS))
        if character == "\\":
            return self._leaf(self._escape())
        if character in "^$":
            self._refuse(f"the anchor `{character}` in the middle", _ANCHORS, back=1)
        if character == "{":
            self._fail("`{` without counts", r"write `\{` for the character, or `{0,5}` for up to five", back=1)
        if character in "*+?":
            self._fail(f"`{character}` with nothing to repeat", back=1)
        return self._leaf(((ord(character), ord(character)),))

    def _leaf(self, ranges: Ranges) -> Node:
        leaf = self.spell(ranges)
        self.leaves[leaf] = ranges
        return leaf

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH_AT_MOST:
            raise PatternError(f"has groups nested more than {_DEPTH_AT_MOST} deep")
        node = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise PatternError("has a group without `)`")
        return node

    def _escape(self) -> Ranges:
        letter = self._next()
        if letter == "w":
            return _WORDS if self._is_whole else _SHORTHANDS["w"]
        if letter in _SHORTHANDS:
            return _SHORTHANDS[letter]
        if letter in "xu":
            return self._code_point(2 if letter == "x" else 4)
        if letter in _REFUSED_ESCAPES:
            what, hint = _REFUSED_ESCAPES[letter]
            self._refuse(rf"{what} `\{letter}`", hint, back=2)
        if letter == "0" and self._rest[:1].isdigit():
            self._refuse("an octal escape", r"write `\x` and two hexadecimal digits", back=2)
        if letter not in _CONTROLS and (letter.isalnum() or not letter.isascii()):
            self._refuse(rf"the escape `\{letter}`", "write the character itself", back=2)
        code = _CONTROLS.get(letter, ord(letter))
        return ((code, code),)

    def _code_point(self, digits: int) -> Ranges:
        text = self._rest[:digits]
        if not re.fullmatch("[0-9a-fA-F]" * digits, text) or 0xD800 <= int(text, 16) <= 0xDFFF:
            self._fail(f"the character escape `{text}`", back=2)
        self._position += digits
        return ((int(text, 16), int(text, 16)),)

    def _class(self) -> Ranges:
        is_negated = self._take("^")
        if self._rest.startswith("]"):
            self._fail("an empty character class", r"write `\]` for the bracket", back=1)
        found: list[tuple[int, int]] = []
        universe = _ANYTHING
        while not self._take("]"):
            first, shorthand = self._class_part()
            if shorthand:
                universe = minus(universe, minus(_ANYTHING, _SURE[shorthand.lower()]))
            if self._rest.startswith("-") and self._rest[1:2] != "]":
                self._next()
                last, other = self._class_part()
                if shorthand or other or last[0][0] < first[0][0]:
                    self._fail("a character range without proper ends", back=1)
                first = ((first[0][0], last[0][0]),)
            found.extend(first)
        return minus(universe, union(found)) if is_negated else union(found)

    def _class_part(self) -> tuple[Ranges, str]:
        """What a character or an escape stands for, and the letter of a shorthand."""
        character = self._next()
        if character == "\\" and self._take("b"):
            return ((8, 8),), ""
        if character == "\\":
            letter = self._rest[:1]
            return self._escape(), letter if letter in _SHORTHANDS else ""
        return ((ord(character), ord(character)),), ""
