"""Lines of a file, one at a time, in bounded memory however long one is."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmasos.errors import BadInputError
from llmasos.units import format_bytes

LONGEST_LINE = 32_000_000  # bytes: far beyond what any context holds
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that can't be worked on: its number, counted from 1, why, and what it calls itself, if that is known."""

    number: int
    reason: str
    custom_id: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `number` counts from 1."""

    number: int
    text: str


def open_lines(path: Path) -> BinaryIO:
    """Raises BadInputError for what can't be read, and for what can't be read twice."""
    try:
        if not path.is_file():
            why = "it is no file, and it is read more than once" if path.exists() else "there is no such file"
            raise BadInputError(f"can't read {path}: {why}")
        return path.open("rb")
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror}") from error


def lines_of(file: BinaryIO, *, longest: int = LONGEST_LINE) -> Iterator[Line | BadLine]:
    """The lines; those that are too long, or no UTF-8, as bad ones."""
    number = 0
    while raw := file.readline(longest + 1):
        number += 1
        if len(raw) > longest and not raw.endswith(b"\n"):
            size = len(raw) + _skip_line(file)
            yield BadLine(
                number, f"the line is too long: {format_bytes(size)}, at most {format_bytes(longest)} is read"
            )
            continue
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            text = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield BadLine(number, f"byte {error.start} of the line is 0x{raw[error.start]:02x}, which is not UTF-8")
            continue
        yield Line(number, text)


def _skip_line(file: BinaryIO) -> int:
    """Reads to the end of the line; how many bytes that was."""
    skipped = 0
    while piece := file.readline(PIECE):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped
