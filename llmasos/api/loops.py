"""From the engine's thread into asyncio's loops."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable
from typing import Any

from llmasos.engine.sequence import Answer


def call_in(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: Any) -> None:
    """From the engine's thread. A loop that has been closed wants nothing any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


class Crossing:
    """Calls from the engine's thread into a loop; those that come together wake it once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: collections.deque[tuple[Callable[..., object], tuple[Any, ...]]] = collections.deque()
        self._is_coming = False

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        self._calls.append((function, arguments))
        if not self._is_coming:
            self._is_coming = True
            call_in(self._loop, self._arrive)

    def _arrive(self) -> None:
        self._is_coming = False  # first: what is added from here on wakes the loop again
        while self._calls:
            function, arguments = self._calls.popleft()
            function(*arguments)


def settle(future: asyncio.Future[Answer], event: Answer | BaseException) -> None:
    if future.done():
        return
    if isinstance(event, Answer):
        future.set_result(event)
    else:
        future.set_exception(event)
