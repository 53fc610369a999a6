"""How long work tells of itself. The library reports; whoever shows it decides how."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Progress:
    """Receives reports and shows nothing; the command line derives ones that draw."""

    def start(self, label: str, total: int | None) -> None:
        """Work named `label` begins; `total` is its size in bytes, if known."""

    def update(self, done: int) -> None:
        """`done` bytes of it are finished. Never falls, whatever a retry has to repeat."""

    def finish(self) -> None:
        """The work begun last is done."""

    def abandon(self) -> None:
        """The work begun last has failed or was stopped; unless it matters, that is shown as its end."""
        self.finish()

    @contextlib.contextmanager
    def work(self, label: str, total: int | None) -> Iterator[None]:
        """`start`, and `finish` or `abandon` as the block is left: what draws must tidy the terminal."""
        self.start(label, total)
        try:
            yield
        except BaseException:
            self.abandon()
            raise
        self.finish()

    def note(self, text: str) -> None:
        """One line that a person should see."""


class Monotone:
    """Adds up the parts of one piece of work and reports a number that only rises."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._finished = 0
        self._highest = 0

    def part(self, done: int) -> None:
        """`done` bytes of the current part are there."""
        self._highest = max(self._highest, self._finished + done)
        self._progress.update(self._highest)

    def finish_part(self, size: int) -> None:
        """The current part is complete with `size` bytes; the next begins."""
        self.part(size)
        self._finished += size
