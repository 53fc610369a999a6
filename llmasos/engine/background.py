"""Work in a thread of its own that can be waited for in spite of Ctrl-C: nothing may be freed that it still uses."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def do_nothing() -> None:
    pass


class Background:
    """A thread with one piece of work.

    `Thread.join` won't do: once a signal has raised out of it, Python 3.11 takes the thread for ended (bpo-45274).
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._is_over = False
        self._going_on = threading.Lock()  # held until it is over
        self._going_on.acquire()
        self._is_ordered = False
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()  # whether to do the work; the first one counts
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins the work. If a signal raises out of this, `end` knows whether there is anything to wait for."""
        self._thread.start()
        self._is_ordered = True
        self._orders.put(True)

    def wait(self) -> None:
        """Returns when the work is over. A signal that raises leaves it going on."""
        while not self._is_over:
            self._going_on.acquire()

    def end(self) -> None:
        """Returns when the work is over, or was never begun. A signal that raises meanwhile does so afterwards."""
        self._orders.put(False)
        interrupt: KeyboardInterrupt | None = None
        while self._is_ordered and not self._is_over:
            try:
                self.wait()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt:
            raise interrupt

    def _run(self) -> None:
        try:
            if self._orders.get():
                self._work()
        finally:
            self._is_over = True
            self._going_on.release()


def in_thread(
    work: Callable[[], Result],
    on_interrupt: Callable[[], None] = do_nothing,
    meanwhile: Callable[[], None] = do_nothing,
) -> Result:
    """Does long work of the engine in a thread of its own and waits for it, so that Ctrl-C is noticed at once.

    In the main thread a signal would wait for the C code to return, or be raised inside one of its callbacks and lost.
    `meanwhile` runs in the calling thread, which has nothing else to do. After an interrupt the work is over, too.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # it belongs to the one who waits
            failures.append(error)

    background = Background(run, "llmasos-work")
    try:
        background.start()
        meanwhile()
        background.wait()
    except BaseException:
        on_interrupt()
        background.end()
        raise
    if failures:
        raise failures[0]
    return results[0]
