"""What bounds a command as a whole, as cron lines want it: `--timeout` and `--lock`. Both end with exit code 75."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Annotated

import typer

from llmasos.errors import TryAgainError, UsageError
from llmasos.units import format_seconds
from llmasos_cli import output

LONGEST_SECONDS = 10_000_000  # about 115 days; the system's timer knows no number without end
SECONDS_TO_LEAVE = 10.0  # for what has to be tidied up once the time is over

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", help="End with exit code 75 after so many seconds, whatever is going on.", metavar="SECONDS"
    ),
]
LockOption = Annotated[
    str | None,
    typer.Option(
        "--lock", help="Leave at once with exit code 75 if another run holds the lock of this name.", metavar="NAME"
    ),
]


class TimeIsUpError(KeyboardInterrupt):
    """Unwinds as Ctrl-C does, past all that tries again after an error."""


@contextlib.contextmanager
def bounded(timeout: float | None, lock: str | None) -> Iterator[None]:
    """The time that a command may take, and the lock that it holds meanwhile. Raises TryAgainError for both."""
    with _ended_after(timeout), _holding(lock):
        yield


@contextlib.contextmanager
def _ended_after(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(f"--timeout is more than 0 and at most {LONGEST_SECONDS} seconds, not {seconds:g}")
    before = signal.signal(signal.SIGALRM, _Alarm().ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, SECONDS_TO_LEAVE)
    try:
        yield
    except TimeIsUpError as error:
        raise TryAgainError(f"stopped by --timeout after {format_seconds(seconds)}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Alarm:
    """Unwinds when it rings first. If that led nowhere, the process ends when it rings again."""

    def __init__(self) -> None:
        self._has_rung = False

    def ring(self, *_: object) -> None:
        if self._has_rung:
            output.note("error: the time of --timeout is over")
            os._exit(TryAgainError.exit_code)
        self._has_rung = True
        raise TimeIsUpError


@contextlib.contextmanager
def _holding(name: str | None) -> Iterator[None]:
    if name is None:
        yield
        return
    if not name.strip():
        raise UsageError("the name of --lock is empty")
    from llmasos.store.store import ModelStore

    with ModelStore().hold(name):
        yield
