"""How far a batch is: a bar on a terminal, however narrow, and a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from llmasos.units import format_seconds
from llmasos_cli import output

if TYPE_CHECKING:
    from llmasos.batch.run import Tally

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_DRAWINGS = 0.25
WIDE_ENOUGH_FOR_A_BAR = 70  # columns
WIDE_ENOUGH_FOR_SPEED = 36


def make_batch_progress() -> BatchProgress:
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return TerminalBatchProgress() if is_terminal else BatchProgress()


class BatchProgress:
    """A line every ten seconds. `note` puts a line of its own beside what is shown; `close` tidies up."""

    seconds_between = SECONDS_BETWEEN_LINES

    def __init__(self) -> None:
        self._told = time.monotonic()

    def report(self, tally: Tally, total: int) -> None:
        if time.monotonic() - self._told >= self.seconds_between:
            self._told = time.monotonic()
            self._show(tally, total)

    def note(self, text: str) -> None:
        output.note(text)

    def close(self) -> None:
        pass

    def _show(self, tally: Tally, total: int) -> None:
        output.note(f"batch: {', '.join(filter(None, (_count(tally, total), _failed(tally), _pace(tally, total))))}")


class TerminalBatchProgress(BatchProgress):
    """A bar; on a narrow terminal only what has room."""

    seconds_between = SECONDS_BETWEEN_DRAWINGS

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._task: Any = None

    def note(self, text: str) -> None:
        if self._bar:
            console = self._bar.console
            console.print(output.visible(text), markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            output.note(text)

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _show(self, tally: Tally, total: int) -> None:
        if self._bar is None:
            self._begin(total)
        done = tally.done + tally.skipped + tally.failed
        self._bar.update(self._task, completed=done, total=total, count=_count(tally, total), pace=_pace(tally, total))

    def _begin(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        columns: list[Any] = [TextColumn("{task.fields[count]}", markup=False)]
        if console.width >= WIDE_ENOUGH_FOR_A_BAR:
            columns.insert(0, BarColumn(bar_width=None))
        if console.width >= WIDE_ENOUGH_FOR_SPEED:
            columns.append(TextColumn("{task.fields[pace]}", markup=False))
        self._bar = Progress(*columns, console=console, transient=True, expand=True)
        self._task = self._bar.add_task("", total=total, count="", pace="")
        self._bar.start()


def _count(tally: Tally, total: int) -> str:
    return f"{tally.done + tally.skipped + tally.failed}/{total}"


def _failed(tally: Tally) -> str:
    return f"{tally.failed} failed" if tally.failed else ""


def _pace(tally: Tally, total: int) -> str:
    left = tally.seconds_left(total)
    return f"{tally.tokens_per_second:.0f} tok/s" + (f", {format_seconds(left)} left" if left is not None else "")
