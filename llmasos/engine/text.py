"""From tokens to text that can be shown: whole UTF-8 characters only, and nothing that may become a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextDecoder:
    """Joins tokens' bytes to text. A character that is not complete yet is held back; broken bytes become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: bytes) -> str:
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """What is left at the end."""
        return self._decoder.decode(b"", final=True)


class StopMatcher:
    """Finds the first stop string in a stream of text, holding back only what could be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        """The text that is safe to show now. After a match nothing more is."""
        if self.matched is not None:
            return ""
        if not self._stops:
            return text
        self._held += text
        found = [(begin + len(stop), begin, stop) for stop in self._stops if (begin := self._held.find(stop)) >= 0]
        if found:  # the first to be complete, so that it is the same however the text is cut into pieces
            _, begin, self.matched = min(found)
            return self._take(begin)
        return self._take(len(self._held) - beginning_at_end(self._held, self._stops))

    def finish(self) -> str:
        """What was held back, now that nothing follows."""
        return "" if self.matched is not None else self._take(len(self._held))

    def _take(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text


def beginning_at_end(text: str, marks: Sequence[str]) -> int:
    """How long the longest end of a text is that is a beginning, and not the whole, of one of the marks."""
    longest = min(max((len(mark) for mark in marks), default=1) - 1, len(text))
    for count in range(longest, 0, -1):
        if any(mark.startswith(text[-count:]) for mark in marks):
            return count
    return 0
