"""Work for a runner that does what it is told, good or bad."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from llmasos.errors import BadInputError, PromptTooLongError


class Counting:
    """Counts, waits, fails, crashes."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self.facts = {"pid": os.getpid(), **setup}
        self.cancelled = 0
        self.busy_seconds = 0.0

    async def answer(self, request: Any) -> AsyncGenerator[Any]:
        if count := request.get("count"):
            for number in range(count):
                yield number
                await asyncio.sleep(0)
        if "echo" in request:
            yield request["echo"]
        if request.get("wait"):
            try:
                yield "waiting"
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        if request.get("cancelled"):
            yield self.cancelled
        if request.get("ended_tasks"):
            await asyncio.sleep(0.01)  # what ended just now is still being seen to
            gc.collect()
            yield sum(isinstance(each, asyncio.Task) and each.done() for each in gc.get_objects())
        do_harm(self, request)


def do_harm(work: Counting, request: Any) -> None:
    if request.get("fail"):
        raise PromptTooLongError(10, 5)
    if request.get("stumble"):
        raise KeyError("stumbled")
    if number := request.get("signal"):
        os.kill(os.getpid(), number)
    if request.get("abort"):
        sys.stderr.write("/build/somewhere/ggml.c:123: GGML_ASSERT(x > 0) failed\n")
        sys.stderr.flush()
        os.abort()
    if request.get("sleep"):
        time.sleep(request["sleep"])
    if request.get("seem_busy"):
        work.busy_seconds = request["seem_busy"]


def make(setup: Any) -> Counting:
    if setup.get("fail"):
        raise BadInputError("no such thing", hint="make it")
    if setup.get("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if setup.get("slow"):
        time.sleep(60)
    return Counting(setup)
