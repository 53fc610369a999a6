"""From the engine's thread into asyncio's loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from llmasos.engine.sequence import Answer


def call_in(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: Any) -> None:
    """From the engine's thread. A loop that has been closed wants nothing any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def settle(future: asyncio.Future[Answer], event: Answer | BaseException) -> None:
    if future.done():
        return
    if isinstance(event, Answer):
        future.set_result(event)
    else:
        future.set_exception(event)
