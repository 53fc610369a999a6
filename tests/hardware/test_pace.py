"""How many threads are worth having, by what the cores have been doing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmasos.hardware.pace import SHORTEST_LOOK, CpuTimes, Pace, free_cores, read_cpu_times


class Clock:
    """A machine of so many cores, with others that take some of them, and time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
        self.now, self.idle, self.own, self.cores = 100.0, 50.0, 3.0, cores
        monkeypatch.setattr("llmasos.hardware.pace.time.monotonic", lambda: self.now)

    def read(self) -> CpuTimes:
        return CpuTimes(self.now, self.idle, self.own)

    def work(self, seconds: float, threads: int, others: int) -> None:
        """Everybody who wants a core gets an equal share."""
        wanted = threads + others
        self.now += seconds
        self.own += seconds * threads * min(1, self.cores / wanted)
        self.idle += seconds * max(0, self.cores - wanted)


def settle(pace: Pace, clock: Clock, others: int, looks: int = 6) -> int:
    for _ in range(looks):
        clock.work(1, pace.threads, others)
        pace.look()
    return pace.threads


@pytest.mark.parametrize(
    ("cores", "others", "expected"), [(2, 0, 2), (2, 1, 1), (2, 2, 1), (8, 0, 8), (8, 3, 5), (8, 20, 2)]
)
def test_as_many_threads_as_others_leave_cores(monkeypatch, cores: int, others: int, expected: int):
    clock = Clock(monkeypatch, cores)
    assert abs(settle(Pace(cores, clock.read), clock, others) - expected) <= (cores > 2)


def test_when_the_others_end_all_cores_are_used_again(monkeypatch):
    clock = Clock(monkeypatch, 8)
    pace = Pace(8, clock.read)
    assert settle(pace, clock, others=6) < 5
    assert settle(pace, clock, others=0) == 8


def test_a_machine_that_is_busy_already_is_noticed_soon(monkeypatch):
    clock = Clock(monkeypatch, 2)
    pace = Pace(2, clock.read)
    clock.work(2 * SHORTEST_LOOK, threads=0, others=2)
    assert pace.look()
    assert pace.threads == 1


def test_it_does_not_look_all_the_time(monkeypatch):
    clock = Clock(monkeypatch, 2)
    pace = Pace(2, clock.read)
    clock.work(0.5, 2, 2)
    pace.look()
    looks = []
    for _ in range(10):
        clock.work(0.04, 1, 0)
        looks.append(pace.look())
    assert looks == [False] * 10


def test_what_others_do_while_nothing_is_to_be_done_does_not_count(monkeypatch):
    clock = Clock(monkeypatch, 2)
    pace = Pace(2, clock.read)
    settle(pace, clock, others=0)
    pace.rest()
    clock.work(0.9, threads=0, others=2)
    assert not pace.look()
    for _ in range(4):
        clock.work(0.04, pace.threads, 0)
        assert not pace.look()
        pace.rest()
    assert settle(pace, clock, others=2) == 1


def test_never_more_than_there_may_be_and_never_none(monkeypatch):
    clock = Clock(monkeypatch, 16)
    assert settle(Pace(4, clock.read), clock, others=0) == 4
    assert settle(Pace(1, clock.read), clock, others=40) == 1


def test_where_the_system_tells_nothing_all_are_used():
    pace = Pace(4, lambda: None)
    assert not pace.look()
    assert pace.threads == 4


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells it this way")
def test_this_process_counts_as_free():
    before = read_cpu_times()
    ended = time.monotonic() + 0.3
    while time.monotonic() < ended:
        pass
    after = read_cpu_times()
    assert before is not None
    assert after is not None
    assert after.own - before.own >= 0.05
    assert free_cores(before, after) > 0.1


def test_what_the_machine_did_long_ago_does_not_count(monkeypatch):
    clock = Clock(monkeypatch, 2)
    pace = Pace(2, clock.read)
    clock.work(60, threads=0, others=2)
    assert not pace.look()
    assert pace.threads == 2
