"""What two processes say to each other over a socket: JSON in frames, each with its length and a number before it.

A message has the number 0. A piece of an answer has that of its request: whoever passes it on need not read it.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from llmasos import errors
from llmasos.errors import LlmasosError

MESSAGE = 0
MOST_BYTES = 256 * 2**20  # of a frame: nothing that a model is asked or says is as long
_HEAD = struct.Struct(">IQ")  # length, number
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII_WRITER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

Message = dict[str, Any]
Frame = tuple[int, bytes]


def as_json(value: Any) -> bytes:
    """Raises TypeError or ValueError for what can't be written as JSON."""
    try:
        return _WRITER.encode(value).encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return _ASCII_WRITER.encode(value).encode("ascii")


def packed(value: Any, number: int = MESSAGE) -> bytes:
    """The frame of a message, or of a piece. Raises LlmasosError for one too long, and what `as_json` raises."""
    content = as_json(value)
    if len(content) > MOST_BYTES:
        raise LlmasosError(f"a message of {len(content):,} bytes is too long", hint="ask for less at once")
    return _HEAD.pack(len(content), number) + content


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The number and the content of the next frame; None where the other side has gone, in the middle of one too."""
    try:
        length, number = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return number, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message, where no piece can come."""
    frame = await read_frame(reader)
    return None if frame is None else json.loads(frame[1])


def packed_error(error: LlmasosError) -> Message:
    """An error with all that it carries, as far as JSON can."""
    carried = {name: value for name, value in vars(error).items() if isinstance(value, int | str | list | tuple)}
    return {"kind": type(error).__name__, **carried, "message": error.message, "hint": error.hint}


def unpacked_error(message: Message) -> LlmasosError:
    """The error again, of its own class where that is one of llmasos'."""
    carried = dict(message)
    kind = getattr(errors, carried.pop("kind"), LlmasosError)
    error: LlmasosError = kind.__new__(kind if issubclass(kind, LlmasosError) else LlmasosError)
    LlmasosError.__init__(error, carried.pop("message"), hint=carried.pop("hint"))
    for name, value in carried.items():
        setattr(error, name, value)
    return error
