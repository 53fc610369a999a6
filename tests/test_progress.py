"""Progress over several files: one number that only rises, whatever is fetched twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.progress import Monotone, Progress


class Recorder(Progress):
    def __init__(self) -> None:
        self.reports: list[int] = []

    def update(self, done: int) -> None:
        self.reports.append(done)


def test_parts_add_up():
    recorder = Recorder()
    total = Monotone(recorder)
    total.part(40)
    total.finish_part(100)
    total.part(10)
    total.finish_part(50)
    assert recorder.reports == [40, 100, 110, 150]


def test_a_file_that_starts_over_does_not_make_the_number_fall():
    recorder = Recorder()
    total = Monotone(recorder)
    for done in (80, 0, 30, 90):
        total.part(done)
    assert recorder.reports == [80, 80, 80, 90]


def test_a_file_that_was_there_already_counts_in_full():
    recorder = Recorder()
    total = Monotone(recorder)
    total.finish_part(70)
    total.part(5)
    assert recorder.reports == [70, 75]


sizes = st.integers(0, 10**12)
unhurried = settings(deadline=None)


@unhurried
@given(st.lists(st.tuples(st.lists(sizes), sizes)))
def test_the_number_never_falls(parts: list[tuple[list[int], int]]):
    recorder = Recorder()
    total = Monotone(recorder)
    for reports, size in parts:
        for done in reports:
            total.part(done)
        total.finish_part(size)
    assert recorder.reports == sorted(recorder.reports)
    assert not parts or recorder.reports[-1] >= sum(size for _, size in parts)


def test_progress_that_nobody_shows_takes_every_report():
    progress = Progress()
    progress.start("pulling x", None)
    progress.update(1)
    progress.note("a line")
    progress.finish()


def test_work_is_finished_however_it_ends():
    class Ends(Progress):
        told: tuple[str, ...] = ()

        def start(self, label: str, total: int | None) -> None:
            self.told += (f"{label} of {total}",)

        def finish(self) -> None:
            self.told += ("finished",)

    progress = Ends()
    with pytest.raises(KeyboardInterrupt), progress.work("verifying x", 7):
        raise KeyboardInterrupt
    assert progress.told == ("verifying x of 7", "finished")
