"""When a typed text is whole, and what it says: triple quotes around many lines, a backslash at the end of one."""

from __future__ import annotations

QUOTES = '"""'


def is_open(text: str) -> bool:
    """Whether more has to follow before the text is whole."""
    return text.count(QUOTES) % 2 == 1 or (QUOTES not in text and text.endswith("\\"))


def meaning(text: str) -> str:
    """The text without the marks that held its lines together."""
    stripped = text.strip()
    if len(stripped) >= 2 * len(QUOTES) and stripped.startswith(QUOTES) and stripped.endswith(QUOTES):
        return stripped[len(QUOTES) : -len(QUOTES)].strip("\n")
    if QUOTES in text:
        return text
    return "\n".join(line[:-1] if line.endswith("\\") else line for line in text.split("\n"))
