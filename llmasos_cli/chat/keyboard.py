"""The keyboard of a chat between two prompts: what is typed too early, and what Ctrl-C does."""

from __future__ import annotations

import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def silent_keyboard(*, is_on: bool) -> Iterator[None]:
    """What is typed too early waits for the next prompt: nothing is shown, and no key means anything to the system.

    A Ctrl-C or Ctrl-D between two prompts would be lost otherwise.
    """
    with _mode(lambda mode: mode & ~(termios.ECHO | termios.ICANON | termios.ISIG), is_on=is_on):
        yield


@contextmanager
def interruptible(*, is_on: bool) -> Iterator[None]:
    """While something goes on, Ctrl-C is a signal; other keys still wait."""
    with _mode(lambda mode: (mode | termios.ISIG) & ~(termios.ECHO | termios.ICANON), is_on=is_on):
        yield


@contextmanager
def _mode(change: Callable[[int], int], *, is_on: bool) -> Iterator[None]:
    """The terminal's local modes, changed for a while."""
    if not (is_on and sys.stdin.isatty()):
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    wanted = termios.tcgetattr(sys.stdin)
    wanted[3] = change(wanted[3])
    termios.tcsetattr(sys.stdin, termios.TCSANOW, wanted)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def interrupts_raised(*, is_on: bool) -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt as often as it is pressed, for somebody who stays."""
    if not is_on or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def stopped_by_ctrl_c(*, is_on: bool) -> Iterator[threading.Event]:
    """An event that Ctrl-C sets instead of raising KeyboardInterrupt somewhere; a second one raises it."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    if not is_on:
        yield stopping
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)
