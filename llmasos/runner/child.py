"""The process behind a `Runner`: makes what works there, and answers requests with it until the other side goes.

python -m llmasos.runner.child DESCRIPTOR MODULE:FUNCTION
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, NoReturn, Protocol

import uvloop

from llmasos.errors import LlmasosError
from llmasos.runner import frames
from llmasos.runner.frames import Message


class Work(Protocol):
    """What a child does. It is made by a function that takes what `Runner.start` was given to set it up."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the other side should know of it."""

    def answer(self, request: Any) -> AsyncGenerator[Any]:
        """The answer to a request, piece by piece, all as JSON has it. A cancelled one is closed early."""

    @property
    def busy_seconds(self) -> float:
        """For how long that has been going on that can't be broken off; 0 if nothing is."""


class _Child:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outgoing: list[bytes] = []

    async def serve(self, make: Callable[[Any], Work]) -> None:
        setup = await frames.read(self._reader)
        if setup is None:
            return
        try:
            work = await self._make_unless_alone(make, setup["setup"])
        except LlmasosError as error:
            await self._send(frames.packed({"failed": frames.packed_error(error)}))
            return
        if work is None:
            return
        await self._send(frames.packed({"ready": dict(work.facts)}))
        while (message := await frames.read(self._reader)) is not None:
            if "ping" in message:
                await self._send(frames.packed({"pong": message["ping"], "busy_seconds": work.busy_seconds}))
            elif "cancel" in message:
                if task := self._tasks.get(message["cancel"]):
                    task.cancel()
            else:
                self._begin(message["id"], work, message["request"])

    async def _make_unless_alone(self, make: Callable[[Any], Work], setup: Any) -> Work | None:
        """What works here, or None if the other side goes before it is made: a large model takes a minute."""
        making = asyncio.create_task(asyncio.to_thread(make, setup))
        leaving = asyncio.create_task(frames.read(self._reader))
        await asyncio.wait([making, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            return None
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        return making.result()

    def _begin(self, number: int, work: Work, request: Any) -> None:
        task = self._tasks[number] = asyncio.create_task(self._answer(number, work, request))
        task.add_done_callback(lambda _: self._tasks.pop(number))  # one that is cancelled at once never begins

    async def _answer(self, number: int, work: Work, request: Any) -> None:
        """Sends the pieces of an answer, and how it ended."""
        ending: Message = {"id": number, "end": True}
        try:
            async with contextlib.aclosing(work.answer(request)) as pieces:
                async for piece in pieces:
                    await self._send(frames.packed(piece, number))
        except asyncio.CancelledError:
            pass
        except LlmasosError as error:
            ending["error"] = frames.packed_error(error)
        except Exception as error:  # a fault of ours ends one answer, not all
            fault = LlmasosError(f"a fault in llmasos: {type(error).__name__}: {error}", hint="please report it")
            ending["error"] = frames.packed_error(fault)
        await self._send(frames.packed(ending))

    async def _send(self, frame: bytes) -> None:
        """What all answers have to say at a time goes out in one piece."""
        self._outgoing.append(frame)
        if len(self._outgoing) == 1:
            asyncio.get_running_loop().call_soon(self.flush)
        with contextlib.suppress(ConnectionError):  # the reading side notices it
            await self._writer.drain()

    def flush(self) -> None:
        self._writer.write(b"".join(self._outgoing))
        self._outgoing.clear()


def _function(target: str) -> Callable[[Any], Work]:
    module, _, name = target.partition(":")
    function: Callable[[Any], Work] = getattr(importlib.import_module(module), name)
    return function


async def run(descriptor: int, target: str) -> NoReturn:
    """Serves the socket; ends the process when the other side has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    child = _Child(reader, writer)
    await child.serve(_function(target))
    child.flush()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    os._exit(0)  # at once, whatever the engine is at: its memory goes back, and nobody reads an answer any more


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), sys.argv[2]))
