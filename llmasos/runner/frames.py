"""What two processes say to each other: JSON messages over a socket, each with its length before it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from llmasos import errors
from llmasos.errors import LlmasosError

LENGTH_BYTES = 4
MOST_BYTES = 256 * 2**20  # of a message: nothing that a model is asked or says is as long

Message = dict[str, Any]


def packed(message: Message) -> bytes:
    """Raises LlmasosError for a message that is too long, TypeError or ValueError for one that is no JSON."""
    content = json.dumps(message, allow_nan=False).encode("ascii")
    if len(content) > MOST_BYTES:
        raise LlmasosError(f"a message of {len(content):,} bytes is too long", hint="ask for less at once")
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None where the other side has gone, in the middle of one too."""
    try:
        length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
        message: Message = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return message


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
