"""What can go wrong between a hub and its client, as values; and the plan of which requests it happens to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from threading import Lock

from .answers import Answer, json_answer, redirect

NEVER = 1 << 62  # further than any file is long


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One way to misbehave; the fields can be combined. Positions count the bytes of the body that is being sent."""

    status: int | None = None  # answer this instead, with an error as JSON
    retry_after: int | None = None  # seconds, sent as `Retry-After` with `status`
    redirect_to: str | None = None  # answer 302 to this address instead
    drop_after: int | None = None  # hang up after so many bytes; 0: before even the status line
    reset: bool = False  # hang up with a TCP reset; what the client had not read by then may be lost to it
    stall_seconds: float = 0.0
    stall_after: int | None = None  # stall after so many bytes; None: before the status line
    throttle: int | None = None  # bytes a second
    flip_byte_at: int | None = None  # position in the file (not in the part sent) of a byte that arrives wrong
    wrong_length: int | None = None  # announce this Content-Length, then hang up
    hide_length: bool = False  # no Content-Length: the end is where the connection ends
    ignore_range: bool = False  # answer 200 with all of it to whoever asks for a part

    @property
    def hangs_up(self) -> bool:
        return self.drop_after is not None or self.wrong_length is not None or self.hide_length

    @property
    def bytes_sent(self) -> int:
        """How much of a body is sent before hanging up."""
        return min(NEVER if limit is None else limit for limit in (self.drop_after, self.wrong_length))

    def answer(self) -> Answer | None:
        """What is answered instead of the truth, if anything."""
        if self.redirect_to is not None:
            return redirect(302, self.redirect_to)
        if self.status is None:
            return None
        headers = {} if self.retry_after is None else {"Retry_After": str(self.retry_after)}
        return json_answer(self.status, {"error": "the stand-in hub was told to fail"}, **headers)

    def spoil(self, chunk: bytes, position: int) -> bytes:
        """The chunk as it is sent; `position` is where in the file it stands."""
        at = -1 if self.flip_byte_at is None else self.flip_byte_at - position
        if not 0 <= at < len(chunk):
            return chunk
        return chunk[:at] + bytes([chunk[at] ^ 0xFF]) + chunk[at + 1 :]


NO_FAULT = Fault()


@dataclass(slots=True)
class _Planned:
    pattern: str | re.Pattern[str]
    fault: Fault
    times: int | None
    method: str | None

    def applies_to(self, method: str, path: str) -> bool:
        found = self.pattern in path if isinstance(self.pattern, str) else self.pattern.search(path) is not None
        return found and self.times != 0 and self.method in (None, method)


class FaultPlan:
    """The first fault planned that applies to a request is the one that happens to it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: list[_Planned] = []

    def add(self, pattern: str | re.Pattern[str], fault: Fault, times: int | None, method: str | None) -> None:
        with self._lock:
            self._planned.append(_Planned(pattern, fault, times, method))

    def take(self, method: str, path: str) -> Fault:
        with self._lock:
            planned = next((each for each in self._planned if each.applies_to(method, path)), None)
            if planned is None:
                return NO_FAULT
            if planned.times is not None:
                planned.times -= 1
            return planned.fault

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()
