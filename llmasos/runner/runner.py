"""Work in a process of its own: what crashes, hangs or fills the memory there costs that process and no more."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
import signal
import socket
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from llmasos import children
from llmasos.errors import StoppedError
from llmasos.runner import frames
from llmasos.runner.frames import Message

LAST_LINES = 20  # of what the process wrote to standard error
WORDS_OF_A_CRASH = ("GGML_ASSERT", "terminate called", "Error: ", "error: ")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a process may take, in seconds: to say that it is there, and for one step that can't be broken off."""

    reply: float = 60.0
    step: float = 600.0
    between_looks: float = 5.0


class Runner:
    """One process and what it was made for. `close` ends it and gives all its memory back.

    `facts` are what the work said of itself. The errors of a request are those that the work raises there, as if it
    were here; StoppedError if the process ends before the answer does.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, reader: Any, writer: Any) -> None:
        """Use `start`."""
        self.name, self.facts = name, dict[str, Any]()
        self._process, self._reader, self._writer = process, reader, writer
        self._numbers = itertools.count(frames.MESSAGE + 1)
        self._waiting: dict[int, asyncio.Queue[bytes | Message | None]] = {}
        self._replied, self._busy_seconds = 0.0, 0.0  # when it was last heard of, and what it said then
        self._said: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._cause: str | None = None  # why this process ended the other
        self._is_closed = False
        self._tasks = [asyncio.create_task(self._read_standard_error())]

    @classmethod
    async def start(cls, target: str, setup: Any, *, name: str, patience: Patience | None = None) -> Runner:
        """Starts the process and waits until its work is made by `target`, a `module:function` given the `setup`.

        `name` is what errors call it. Raises what the function raises, and StoppedError if the process ends over it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *children.command("llmasos.runner.child"),
                str(theirs.fileno()),
                target,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=children.environment(),
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        runner = cls(name, process, reader, writer)
        try:
            await runner._begin(setup)
        except BaseException:
            await runner.close()
            raise
        runner._tasks += [
            asyncio.create_task(runner._listen()),
            asyncio.create_task(runner._watch(patience or Patience())),
        ]
        return runner

    @property
    def is_alive(self) -> bool:
        return not self._is_closed and self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def going_on(self) -> int:
        """How many requests are being answered."""
        return len(self._waiting)

    async def ask(self, request: Any) -> AsyncGenerator[bytes]:
        """The pieces of an answer, as JSON. Leaving the generator early ends the work on it."""
        if not self.is_alive:
            raise await self._ending()
        number, messages = next(self._numbers), asyncio.Queue[bytes | Message | None]()
        self._waiting[number] = messages
        has_ended = False
        try:
            await self._send({"id": number, "request": request})
            while (message := await messages.get()) is not None:
                if isinstance(message, bytes):
                    yield message
                    continue
                has_ended = True
                if "error" in message:
                    raise frames.unpacked_error(message["error"])
                return
            has_ended = True
            raise await self._ending()
        finally:
            del self._waiting[number]
            if not has_ended:
                await self._send({"cancel": number})

    async def close(self) -> None:
        """Ends the process, whatever it is at."""
        self._is_closed = True
        self._writer.close()  # which it takes for its end, and if it is too busy:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), 1.0)
        self._kill()
        await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._release()

    async def _begin(self, setup: Any) -> None:
        await self._send({"setup": setup})
        message = await frames.read(self._reader)
        if message is None:
            raise await self._ending()
        if "failed" in message:
            raise frames.unpacked_error(message["failed"])
        facts: Mapping[str, Any] = message["ready"]
        self.facts = dict(facts)

    async def _send(self, message: Message) -> None:
        self._write(message)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._writer.drain()

    def _write(self, message: Message) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):  # the listening side notices that it has gone
            self._writer.write(frames.packed(message))

    async def _listen(self) -> None:
        while (frame := await frames.read_frame(self._reader)) is not None:
            self._replied = asyncio.get_running_loop().time()
            self._take(*frame)
        await self._process.wait()
        self._release()

    def _take(self, number: int, content: bytes) -> None:
        message = content if number != frames.MESSAGE else json.loads(content)
        if isinstance(message, bytes):
            messages = self._waiting.get(number)
        elif "pong" in message:
            self._busy_seconds = float(message["busy_seconds"])
            return
        else:
            messages = self._waiting.get(message["id"])
        if messages:
            messages.put_nowait(message)

    def _release(self) -> None:
        """Nobody waits for ever."""
        for messages in self._waiting.values():
            messages.put_nowait(None)

    async def _watch(self, patience: Patience) -> None:
        """Ends a process that hangs."""
        loop = asyncio.get_running_loop()
        self._replied = loop.time()
        while True:
            self._write({"ping": 0})  # without waiting until it is read: one that hangs reads nothing
            await asyncio.sleep(patience.between_looks)
            if loop.time() - self._replied > patience.reply:
                self._cause = f"said nothing for {patience.reply:.0f} seconds and was ended"
            elif self._busy_seconds > patience.step:
                self._cause = f"did not come to an end of one step in {patience.step:.0f} seconds and was ended"
            if self._cause:
                self._kill()
                return

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _ending(self) -> StoppedError:
        """What to tell of a process that has ended."""
        code = await self._process.wait()
        await asyncio.wait([self._tasks[0]], timeout=1.0)  # its last words
        cause = self._cause or _cause(code)
        words = next((line for line in reversed(self._said) if any(word in line for word in WORDS_OF_A_CRASH)), "")
        said = f": {words.rpartition('/')[2].strip()[-200:]}" if words else ""
        return StoppedError(f"the process of {self.name} {cause}{said}", hint="try again: it is started anew")

    async def _read_standard_error(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # a line longer than the buffer
            while line := await self._process.stderr.readline():
                self._said.append(line.decode("utf-8", "replace").rstrip())


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, perhaps because the memory was full"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"
