"""Until when a request has to be answered."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from llmasos.engine.options import AnswerOptions
from llmasos.engine.sequence import Answer
from llmasos.errors import TimeUpError

Result = TypeVar("Result")
GRACE = 1.0  # seconds in which the engine comes to the end of a step, before it is broken off


class Deadline:
    """`seconds` from now on; None is as long as it takes. TimeUpError says that nothing came of a request in time."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._ends_at = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def limited(self, limits: AnswerOptions) -> AnswerOptions:
        """The limits of an answer that is submitted now and has to end in time: the engine counts from then on."""
        if math.isinf(self._seconds):
            return limits
        asked = limits.max_seconds
        return replace(limits, max_seconds=self.left if asked is None else min(asked, self.left))

    def require_begun(self, answer: Answer) -> None:
        """Refuses an answer that ended before it had begun; one that has begun just ends."""
        if answer.finish_reason == "time" and not answer.tokens and not self.left:
            raise self._missed()

    async def wait(self, work: Awaitable[Result], grace: float = 0.0) -> Result:
        try:
            return await asyncio.wait_for(work, None if math.isinf(self._seconds) else self.left + grace)
        except asyncio.TimeoutError:
            raise self._missed() from None

    def _missed(self) -> TimeUpError:
        return TimeUpError(
            f"there was no answer within {self._seconds:g} seconds", hint="try again when less is asked for at a time"
        )
