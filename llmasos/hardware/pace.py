"""How many threads are worth having at the moment: as many as there are cores that nobody else is using.

A thread too many costs more than one too few: all wait for the one that has no core, at every operation of every layer.
So a machine that becomes busy gets fewer, and one that becomes idle more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.5
LONGEST_LOOK = 5.0  # seconds; what was before says little of now
LONGEST_PAUSE = 0.1  # seconds without work, after which the cores are looked at anew
SHORTEST_LOOK = 0.1  # seconds; the system counts in hundredths


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds since some moment: of the clock, of all cores doing nothing, and of this process computing."""

    clock: float
    idle: float
    own: float


def read_cpu_times() -> CpuTimes | None:
    """The times as they are now; None where the system does not tell them this way."""
    try:
        counts = Path("/proc/stat").read_bytes().split(b"\n", 1)[0].split()
        idle = (int(counts[4]) + int(counts[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    own = os.times()
    return CpuTimes(time.monotonic(), idle, own.user + own.system)


def free_cores(before: CpuTimes, after: CpuTimes) -> float:
    """How many cores this process had, or could have had, between two moments."""
    return (after.idle - before.idle + after.own - before.own) / (after.clock - before.clock)


class Pace:
    """Chooses between 1 and `most` threads, anew now and then."""

    def __init__(self, most: int, read: Callable[[], CpuTimes | None] = read_cpu_times) -> None:
        self.threads = most
        self._most, self._read = most, read
        self._before = read() if most > 1 else None
        self._next_look = SHORTEST_LOOK
        self._rested: float | None = None

    def rest(self) -> None:
        """Says that work is done for now: others may have all cores until the next look, which means nothing."""
        self._rested = time.monotonic()

    def look(self) -> bool:
        """Looks if it is time to; true if another number of threads is worth having from now on."""
        if self._before is None:
            return False
        now = time.monotonic()
        if self._rested is not None and now - self._rested > LONGEST_PAUSE:
            self._before, self._next_look, self._rested = self._read(), SHORTEST_LOOK, None
            return False
        if now - self._before.clock < self._next_look:
            return False
        after = self._read()
        if after is None or after.clock <= self._before.clock:
            return False
        if after.clock - self._before.clock > LONGEST_LOOK:  # nothing was computed meanwhile
            self._before, self._next_look = after, SHORTEST_LOOK
            return False
        chosen = min(self._most, max(1, round(free_cores(self._before, after))))
        self._before, self._next_look = after, SECONDS_BETWEEN_LOOKS
        has_changed, self.threads = chosen != self.threads, chosen
        return has_changed
