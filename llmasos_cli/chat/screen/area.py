"""The last lines of a terminal, redrawn in place while what stands above them stays and scrolls away.

Only lines that changed are written, all in one piece, so that nothing flickers. After a resize a terminal has laid its
lines out anew; how many rows the old ones take now is known from their widths.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence

from rich.cells import cell_len

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BEGIN, END = "\x1b[?2026h\x1b[?7l", "\x1b[?7h\x1b[?2026l"  # shown at once where a terminal knows how; lines never wrap
CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"


def terminal_size() -> tuple[int, int]:
    """Columns and rows."""
    size = shutil.get_terminal_size()
    return max(1, size.columns), max(2, size.lines)


def write_terminal(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


class Area:
    """What is drawn below the text that stays. The cursor rests behind its last line.

    `size` gives columns and rows, `write` takes text for the terminal.
    """

    def __init__(
        self,
        size: Callable[[], tuple[int, int]] = terminal_size,
        write: Callable[[str], None] = write_terminal,
    ) -> None:
        self._size, self._write = size, write
        self._drawn: list[str] = []
        self._width = size()[0]

    @property
    def height(self) -> int:
        """Lines that can be redrawn: one row is left, since the one above the screen's first can't be reached."""
        return self._size()[1] - 1

    @property
    def width(self) -> int:
        return self._size()[0]

    @property
    def is_resized(self) -> bool:
        return self._size()[0] != self._width

    def draw(self, staying: Sequence[str], live: Sequence[str]) -> None:
        """Puts lines that stay, and below them those that will be drawn again, into the place of the last live ones."""
        wanted, old = [*staying, *live], self._drawn
        same = 0 if self.is_resized else _common(old, wanted)
        if same == len(old) == len(wanted) and not staying:
            return
        text = self._back_to(same)
        fresh = wanted[same:]
        text += "\r\n".join(map(self._cleared, fresh))
        if len(wanted) < len(old) or self.is_resized:
            text += CLEAR_BELOW
        if not live and wanted:
            text += "\r\n"
        self._write(f"{BEGIN}{text}{END}")
        self._drawn, self._width = list(live), self.width

    def _cleared(self, line: str) -> str:
        """The line and nothing behind it: behind a full one the cursor still stands on its last cell."""
        return line if width_of(line) >= self.width else f"{line}{CLEAR_LINE}"

    def _back_to(self, line: int) -> str:
        """From behind the last line to the beginning of that one, or to a new line below."""
        if not self._drawn:
            return ""
        if line == len(self._drawn):
            return "\r\n"
        rows = sum(_rows(each, self.width) for each in self._drawn[line:]) - 1
        rows = min(rows, self._size()[1] - 1)
        text = f"\x1b[{rows}A\r" if rows else "\r"
        return text + CLEAR_BELOW if self.is_resized else text


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines at the beginning are the same; all of the old ones only if something follows them."""
    count = 0
    while count < min(len(old), len(new)) and old[count] == new[count]:
        count += 1
    return count if count < len(new) else max(0, count - 1)


def _rows(line: str, width: int) -> int:
    return max(1, -(-width_of(line) // width))


def width_of(line: str) -> int:
    """Cells that a line with escape sequences takes."""
    return cell_len(ESCAPES.sub("", line))


def cut_to(text: str, width: int) -> str:
    """As much of a line as fits."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[:-1]
    return f"{text}…"
