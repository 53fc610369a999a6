"""Work in the background: over before what it uses is freed, whatever signals come meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from llmasos.engine.background import Background, in_thread


@contextlib.contextmanager
def interrupts(count: int, every: float) -> Iterator[None]:
    """So many Ctrl-C, one after another."""

    def send() -> None:
        for _ in range(count):
            time.sleep(every)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_when_the_work_is_over():
    steps = []
    with interrupts(1, 0.02), pytest.raises(KeyboardInterrupt):
        in_thread(lambda: (time.sleep(0.2), steps.append("done")), on_interrupt=lambda: steps.append("told"))
    assert steps == ["told", "done"]


def test_no_number_of_interrupts_leaves_the_work_alone():
    is_over = []

    def work() -> None:
        time.sleep(0.3)
        is_over.append(True)

    background = Background(work, "work")
    background.start()
    with interrupts(5, 0.03):
        for end in (background.wait, background.end):
            with pytest.raises(KeyboardInterrupt):
                end()
    assert is_over == [True]
    background.end()
    background.wait()


def test_what_was_never_begun_is_not_waited_for():
    done = []
    background = Background(lambda: done.append(True), "work")
    background.end()
    background.start()  # an order that comes after the end counts no more
    background.end()
    assert done == []


def test_what_work_gives_and_raises_comes_back():
    assert in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 // 0)
