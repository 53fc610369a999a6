"""Where output goes: data to standard output, all else to standard error. Nothing here depends on colour."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from llmasos.progress import Progress
from llmasos.units import format_bytes, format_seconds

SECONDS_BETWEEN_LINES = 10.0
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 but tab and newline, and C1
UNSAFE_IN_JSON = re.compile(r"[\x7f-\x9f\ud800-\udfff]")  # what json.dumps leaves: controls, and what is no UTF-8


class ReaderLeftError(Exception):
    """The reader of a pipe has left. That is its right: the program ends quietly, as if it were done."""


def write(text: str) -> None:
    """Data, as UTF-8 whatever the locale, shown at once."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # What is still buffered would be tried again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReaderLeftError from error


def write_line(text: str = "") -> None:
    write(f"{text}\n")


def write_text(text: str) -> None:
    """A text that a model brings, and a newline: as it is into a pipe or a file, without its controls on a terminal."""
    write_line(visible(text) if sys.stdout.isatty() else text)


def write_json(value: Any) -> None:
    write(json_line(value))


def json_line(value: Any) -> str:
    """JSON in one line with its newline."""
    text = json.dumps(value, ensure_ascii=False)
    return UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def visible(text: str) -> str:
    """The text with controls in a form that only shows them: strangers' words are not to steer a terminal."""
    return CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def visible_line(text: str) -> str:
    """The same for one line, in which a newline or a tab could pretend to be another row or column."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def write_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Columns by the keys of the first row, as wide as they need to be; no frames, for cut and grep."""
    if not rows:
        return
    names = list(rows[0])
    shown = [{name: visible_line(row[name]) for name in names} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in shown)) for name in names}
    for cells in ({name: name.upper() for name in names}, *shown):
        write_line("  ".join(cells[name].ljust(widths[name]) for name in names).rstrip())


def note(text: str) -> None:
    """A line for people that is no data. That nobody is there to read it stops nothing."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


def is_seen() -> bool:
    """Whether a person reads along: both outputs go to a terminal."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def is_terminal_input() -> bool:
    """Whether a person may be typing."""
    return sys.stdin.isatty()


def write_aside(text: str) -> None:
    """Text for people beside the data, as it comes: dim on a terminal."""
    is_dim = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    with contextlib.suppress(OSError):
        sys.stderr.write(f"\x1b[2m{visible(text)}\x1b[22m" if is_dim else visible(text))
        sys.stderr.flush()


def make_progress() -> Progress:
    """A bar on a terminal, a line now and then in a log."""
    return TerminalProgress() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else LogProgress()


class LogProgress(Progress):
    """One line when work begins, one every ten seconds, one at its end."""

    def __init__(self) -> None:
        self._label, self._done = "", 0
        self._total: int | None = None
        self._started = self._told = 0.0

    def start(self, label: str, total: int | None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._started = self._told = time.monotonic()
        note(label + (f" ({format_bytes(total)})" if total else ""))

    def update(self, done: int) -> None:
        self._done = done
        if time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            note(f"{self._label}: {format_bytes(done)}{f' of {format_bytes(self._total)}' if self._total else ''}")

    def finish(self) -> None:
        if self._done:
            note(f"{self._label}: {format_bytes(self._done)} in {format_seconds(time.monotonic() - self._started)}")

    def abandon(self) -> None:
        if self._done:
            note(f"{self._label}: stopped at {format_bytes(self._done)}")

    def note(self, text: str) -> None:
        note(text)


class TerminalProgress(Progress):
    """A bar with speed and time left."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def start(self, label: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(visible_line(label), total=total)
        self._bar.start()

    def update(self, done: int) -> None:
        if self._bar:
            self._bar.update(self._task, completed=done)

    def finish(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def note(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(visible(text), markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            note(text)
