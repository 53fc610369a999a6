"""GBNF as text, read as llama.cpp reads it. Raises BadInputError with the line of what is no grammar.

What llama.cpp takes and silently makes something else of is refused too: an upper count beyond 2,000, which it forgets,
or a class of no characters, which stops every answer that comes upon it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from llmasos.engine.grammar.characters import SURROGATES, Ranges, minus, overlap, plain_character, union
from llmasos.engine.grammar.gbnf import (
    EMPTY,
    MOST_REPETITIONS,
    NEVER,
    SIZE_AT_MOST,
    Characters,
    Choice,
    Node,
    Repeat,
    Rule,
    Series,
    Text,
)
from llmasos.errors import BadInputError

_DEPTH_AT_MOST = 50

_SPACE, _SPACE_AND_LINES = re.compile(r"(?:[ \t]|#[^\r\n]*)*"), re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_CHARACTER = re.compile(
    r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([trn\\"\[\]-]))|([^\\])', re.DOTALL
)
_TOKEN = re.compile(r"!?<[^>]*>")
_COUNTS = re.compile(r"\{[ \t]*(\d+)[ \t]*(?:(,)[ \t]*(\d*)[ \t]*)?\}")
_TIMES: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}
_ALL: Ranges = ((0, 0x10FFFF),)
_WIDE: Ranges = ((0x80, 0x10FFFF),)
_BEYOND: Ranges = ((0x110000, 0xFFFFFFFF),)  # what eight hexadecimal digits can say and no character is


@dataclass(slots=True)
class Grammar:
    """Rules by name; `leaves` tells which characters each Characters stands for, none for a token by its name.

    `names_tokens`: there are such. `excludes_wide`: a class excludes characters of more than one byte.
    """

    rules: dict[str, Node] = field(default_factory=dict)
    leaves: dict[Node, Ranges] = field(default_factory=dict)
    names_tokens: bool = False
    excludes_wide: bool = False


def read_grammar(text: str) -> Grammar:
    if len(text) > SIZE_AT_MOST:
        raise BadInputError(f"the grammar has {len(text):,} characters, and {SIZE_AT_MOST:,} are the most")
    return _Reader(text).grammar()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._grammar = Grammar()

    def grammar(self) -> Grammar:
        if odd := re.search("[\0\ud800-\udfff]", self._text):
            self._position = odd.start()
            self._fail(f"a grammar has no character U+{ord(odd[0]):04X}")
        self._skip(_SPACE_AND_LINES)
        while self._position < len(self._text):
            self._rule()
        return self._grammar

    def _rule(self) -> None:
        name = self._expect(_NAME, "a rule's name")
        self._skip(_SPACE)
        if not self._take("::="):
            self._fail(f"after `{name}` there should be `::=`")
        self._skip(_SPACE_AND_LINES)
        self._grammar.rules[name] = self._alternatives()
        if self._position < len(self._text) and self._text[self._position] not in "\r\n":
            self._fail("this is no part of a rule")
        self._skip(_SPACE_AND_LINES)

    def _alternatives(self) -> Node:
        options = [self._series()]
        while self._take("|"):
            self._skip(_SPACE_AND_LINES)
            options.append(self._series())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _series(self) -> Node:
        parts: list[Node] = []
        while (part := self._part(parts)) is not None:
            parts.append(part)
            self._skip(_SPACE_AND_LINES if self._depth else _SPACE)
        return parts[0] if len(parts) == 1 else Series(tuple(parts))

    def _part(self, before: list[Node]) -> Node | None:
        """The next part, or None. A repetition takes what it repeats out of those `before`."""
        if self._take('"'):
            return self._literal()
        if self._take("["):
            return self._class()
        if self._take("("):
            return self._group()
        if self._take("."):
            return self._leaf(_ALL)
        if token := _TOKEN.match(self._text, self._position):
            self._position = token.end()
            self._grammar.names_tokens = True
            return Characters(token[0])
        if name := _NAME.match(self._text, self._position):
            self._position = name.end()
            return Rule(name[0])
        return self._repeat(before)

    def _repeat(self, before: list[Node]) -> Node | None:
        times = self._times()
        if times is None:
            return None
        if not before or before[-1] == EMPTY:
            self._fail("there is nothing to repeat")
        return Repeat(before.pop(), *times)

    def _times(self) -> tuple[int, int | None] | None:
        sign = self._text[self._position : self._position + 1]
        if sign in _TIMES:
            self._position += 1
            return _TIMES[sign]
        if sign != "{":
            return None
        counts = _COUNTS.match(self._text, self._position)
        if counts is None:
            self._fail("counts look like `{2}`, `{2,}` or `{2,5}`")
        least = int(counts[1][:9])
        most = least if counts[2] is None else int(counts[3][:9]) if counts[3] else None
        if most is not None and most < least:
            self._fail(f"`{counts[0]}` has the larger count first")
        if max(least, most or 0) > MOST_REPETITIONS:
            self._fail(f"a count is at most {MOST_REPETITIONS:,}")
        self._position = counts.end()
        return least, most

    def _literal(self) -> Node:
        begun = self._position
        codes = list(self._codes('"', 'text without its closing `"`'))
        self._position += 1
        if any(code == 0 or code > 0x10FFFF or SURROGATES[0] <= code <= SURROGATES[1] for code in codes):
            self._fail("this text has a character that no answer can have", at=begun)
        return Text("".join(map(chr, codes))) if codes else EMPTY

    def _class(self) -> Node:
        begun = self._position - 1
        is_negated = self._take("^")
        ranges = minus(union(self._ranges()), _BEYOND)
        self._position += 1
        if is_negated:
            self._grammar.excludes_wide |= overlap(ranges, _WIDE)
            ranges = minus(_ALL, ranges)
        leaf = self._leaf(ranges)
        if leaf == NEVER or self._position - begun == 2 + is_negated:
            self._fail(f"`{self._text[begun : self._position]}` is no character at all", at=begun)
        return leaf

    def _leaf(self, ranges: Ranges) -> Node:
        leaf = plain_character(ranges)
        self._grammar.leaves[leaf] = ranges
        return leaf

    def _ranges(self) -> Iterator[tuple[int, int]]:
        for code in self._codes("]", "a class without its closing `]`"):
            if self._text.startswith("-", self._position) and not self._text.startswith("-]", self._position):
                self._position += 1
                last = self._code()
                if code <= last:
                    yield code, last
            else:
                yield code, code

    def _codes(self, end: str, problem: str) -> Iterator[int]:
        begun = self._position - 1
        while not self._text.startswith(end, self._position):
            if self._position == len(self._text):
                self._fail(problem, at=begun)
            yield self._code()

    def _code(self) -> int:
        found = _CHARACTER.match(self._text, self._position)
        if found is None:
            self._fail("this is no character; a backslash itself is `\\\\`")
        self._position = found.end()
        number = found[1] or found[2] or found[3]
        return int(number, 16) if number else ord(_ESCAPED.get(found[4], found[4]) or found[5])

    def _group(self) -> Node:
        begun = self._position - 1
        self._depth += 1
        if self._depth > _DEPTH_AT_MOST:
            self._fail(f"groups stand inside each other at most {_DEPTH_AT_MOST} deep")
        self._skip(_SPACE_AND_LINES)
        node = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            self._fail("a group without its closing `)`", at=begun)
        return node

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self._text, self._position)
        assert found is not None
        self._position = found.end()

    def _take(self, text: str) -> bool:
        is_next = self._text.startswith(text, self._position)
        self._position += len(text) if is_next else 0
        return is_next

    def _expect(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._position)
        if found is None:
            self._fail(f"{what} should stand here")
        self._position = found.end()
        return found[0]

    def _fail(self, problem: str, *, at: int | None = None) -> NoReturn:
        place = self._position if at is None else at
        line, column = self._text.count("\n", 0, place) + 1, place - self._text.rfind("\n", 0, place)
        raise BadInputError(f"the grammar can't be used: line {line}, column {column}: {problem}")
