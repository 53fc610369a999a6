"""An answer on the screen while it grows: as Markdown on a terminal, as plain text anywhere else."""

from __future__ import annotations

import time
from typing import Protocol

from llmasos.chat.answers.reader import Part, Said, Thought
from llmasos_cli import output
from llmasos_cli.chat.screen.area import Area, cut_to
from llmasos_cli.chat.screen.markdown import render, render_aside, split_finished, without_undecided

SECONDS_BETWEEN_DRAWINGS = 0.04
SHARE_FOR_DRAWING = 4  # of the time, drawing takes one part in so many at most
DIM, NORMAL = "\x1b[2m", "\x1b[22m"


class View(Protocol):
    """`feed` is given the parts of an answer, `tick` is called now and then with a line on how it goes."""

    def feed(self, part: Part) -> None: ...

    def tick(self, status: str) -> None: ...

    def finish(self) -> None: ...


class PlainView:
    """The text as it comes, on standard output; what is thought beside it."""

    def __init__(self, *, shows_thought: bool) -> None:
        self._shows_thought = shows_thought
        self._is_thinking = self._has_spoken = False
        self._is_seen = output.is_seen()

    def feed(self, part: Part) -> None:
        if isinstance(part, Thought) and self._shows_thought:
            output.write_aside(part.text)
            self._is_thinking = True
        elif isinstance(part, Said):
            self._end_thought()
            output.write(output.visible(part.text) if self._is_seen else part.text)
            self._has_spoken = True

    def tick(self, status: str) -> None:
        pass

    def finish(self) -> None:
        self._end_thought()
        output.write("\n")

    def _end_thought(self) -> None:
        if self._is_thinking:
            output.write_aside("\n\n")
            self._is_thinking = False


class MarkdownView:
    """Blocks that are finished are written once and stay; the last one is drawn again as it grows, with a status below.

    Of a block that is higher than the screen, the lines that have left it stay as they were.
    """

    def __init__(self, *, shows_thought: bool, area: Area | None = None) -> None:
        self._area = area or Area()
        self._shows_thought = shows_thought
        self._thought = self._text = self._status = ""
        self._gone = 0  # lines of the last block that have left the part which is redrawn
        self._has_lines = False  # a blank line stands between blocks
        self._next_drawing = 0.0

    def feed(self, part: Part) -> None:
        if isinstance(part, Thought) and self._shows_thought:
            self._thought += _printable(part.text)
        elif isinstance(part, Said):
            if self._thought:
                self._end_thought()
            self._text += _printable(part.text)

    def tick(self, status: str) -> None:
        self._status = status
        now = time.monotonic()
        if now < self._next_drawing and not self._area.is_resized:
            return
        self._draw()
        spent = time.monotonic() - now
        self._next_drawing = now + spent + max(SECONDS_BETWEEN_DRAWINGS, SHARE_FOR_DRAWING * spent)

    def finish(self) -> None:
        """Writes what is left, for good."""
        if self._thought:
            self._end_thought()
        self._area.draw(self._block(render(self._text, self._area.width)), [])

    def _draw(self) -> None:
        staying: list[str] = []
        width = self._area.width
        if self._thought:
            block = self._block(render_aside(self._thought, width))
        else:
            finished, rest = split_finished(without_undecided(self._text))
            if finished:
                staying = self._end_block(render(finished, width))
                self._text = self._text[len(finished) + 1 :]
            block = self._block(render(rest, width))
        room = max(1, self._area.height - 1)
        if len(block) > room:
            overhang = len(block) - room
            staying += block[:overhang]
            block = block[overhang:]
            self._gone += overhang
        status = [] if not self._status else [f"{DIM}{cut_to(self._status, width)}{NORMAL}"]
        self._area.draw(staying, [*block, *([""] if block and status else []), *status])

    def _block(self, lines: list[str]) -> list[str]:
        """What is still to be drawn of the last block, which has these lines."""
        if not lines:
            return []
        if (
            self._area.is_resized and self._gone
        ):  # how much of the new lines has gone nobody can tell: what fits is shown
            self._gone = max(0, len(lines) - self._area.height + 2)
        return [*([""] if self._has_lines else []), *lines][self._gone :]

    def _end_block(self, lines: list[str]) -> list[str]:
        shown = self._block(lines)
        self._has_lines, self._gone = self._has_lines or bool(lines), 0
        return shown

    def _end_thought(self) -> None:
        self._area.draw(self._end_block(render_aside(self._thought, self._area.width)), [])
        self._thought = ""


def _printable(text: str) -> str:
    return output.visible(text.replace("\r", ""))
