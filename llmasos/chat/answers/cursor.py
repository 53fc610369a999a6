"""Reading a text that comes in pieces: generators that wait where a piece ends, and go on where they were.

A reader is written as if the whole text were there, with `yield from` before each step. It comes to the same result
however the text is cut, since it never looks at where a piece ends.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, TypeVar

from llmasos.chat.messages import sound_json

Found = TypeVar("Found")
Reading = Generator[None, None, Found]  # a reader: it yields when there has to be more text

DEEPEST = 64  # lists and objects inside each other
_SPACE = re.compile(r"\s*")
_PLAIN = re.compile(r'[^"\\]*')  # of what stands inside a string of JSON
_SCALAR = re.compile(r"[-+.\w]*")
_FIRST_OF_SCALARS = frozenset("-0123456789tfn")
_JSON_SCALAR = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false|null")


class MismatchError(Exception):
    """The text is not what the reader is for."""


class Cursor:
    """A place in a growing text. `is_whole` says that nothing will follow."""

    def __init__(self) -> None:
        self.text = ""
        self.position = 0
        self.is_whole = False

    def forget(self) -> None:
        """Drops what lies behind."""
        self.text, self.position = self.text[self.position :], 0

    def more(self) -> Reading[None]:
        """Waits for more text. Raises MismatchError at its end."""
        if self.is_whole:
            raise MismatchError
        yield

    def peek(self) -> Reading[str]:
        """The next character; empty at the end of the text."""
        while self.position == len(self.text) and not self.is_whole:
            yield
        return self.text[self.position : self.position + 1]

    def run(self, pattern: re.Pattern[str]) -> Reading[str]:
        """Takes all characters of a class, by a pattern such as `\\s*`."""
        start = self.position
        while True:
            self.position = _end(pattern, self.text, self.position)
            if self.position < len(self.text) or self.is_whole:
                return self.text[start : self.position]
            yield

    def space(self) -> Reading[str]:
        return self.run(_SPACE)

    def accepts(self, mark: str) -> Reading[bool]:
        """Takes the mark if it comes next."""
        while True:
            ahead = self.text[self.position : self.position + len(mark)]
            if ahead == mark:
                self.position += len(mark)
                return True
            if self.is_whole or not mark.startswith(ahead):
                return False
            yield

    def expect(self, mark: str) -> Reading[None]:
        if not (yield from self.accepts(mark)):
            raise MismatchError

    def until(self, mark: str) -> Reading[str]:
        """Takes the text before the mark, and the mark."""
        start = looked = self.position
        while (found := self.text.find(mark, looked)) < 0:
            looked = max(start, len(self.text) - len(mark) + 1)
            yield from self.more()
        self.position = found + len(mark)
        return self.text[start:found]

    def rest(self) -> Reading[str]:
        """Takes all that is still to come."""
        while not self.is_whole:
            yield
        start, self.position = self.position, len(self.text)
        return self.text[start:]


def read_json(cursor: Cursor) -> Reading[Any]:
    """The JSON value that comes next; line breaks may stand in its strings. Raises MismatchError once it is none."""
    yield from cursor.space()
    start = cursor.position
    yield from _skim(cursor, 0)
    try:
        return sound_json(cursor.text[start : cursor.position])
    except ValueError as error:
        raise MismatchError from error


def _skim(cursor: Cursor, depth: int) -> Reading[None]:
    first = yield from cursor.peek()
    if depth > DEEPEST:
        raise MismatchError
    if first == '"':
        yield from _skim_string(cursor)
    elif first in ("{", "["):
        yield from _skim_container(cursor, depth, is_object=first == "{")
    elif first not in _FIRST_OF_SCALARS or not _JSON_SCALAR.fullmatch((yield from cursor.run(_SCALAR))):
        raise MismatchError


def _skim_container(cursor: Cursor, depth: int, *, is_object: bool) -> Reading[None]:
    cursor.position += 1
    close = "}" if is_object else "]"
    yield from cursor.space()
    if (yield from cursor.accepts(close)):
        return
    while True:
        if is_object:
            yield from cursor.space()
            yield from _skim_string(cursor)
            yield from cursor.space()
            yield from cursor.expect(":")
        yield from cursor.space()
        yield from _skim(cursor, depth + 1)
        yield from cursor.space()
        if (yield from cursor.accepts(close)):
            return
        yield from cursor.expect(",")


def _skim_string(cursor: Cursor) -> Reading[None]:
    yield from cursor.expect('"')
    while True:
        yield from cursor.run(_PLAIN)
        if (yield from cursor.accepts('"')):
            return
        yield from cursor.expect("\\")
        while cursor.position == len(cursor.text):
            yield from cursor.more()
        cursor.position += 1


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
