"""Texts that models are measured with: a file's, or the one that llmasos brings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import BadInputError

OWN_TEXT = Path(__file__).with_name("text.txt")
OWN_NAME = "llmasos"


@dataclass(frozen=True, slots=True)
class Text:
    """A text, its name, and the sha256 of its bytes as they are read; without a newline at its end, as in llama.cpp."""

    name: str
    content: str
    sha256: str

    @property
    def byte_count(self) -> int:
        return len(self.content.encode())


def make_text(name: str, content: str) -> Text:
    """Raises BadInputError for one that is empty."""
    if not content.strip():
        raise BadInputError(f"{name} is empty", hint="give a file with some pages of text")
    return Text(name, content.removesuffix("\n"), hashlib.sha256(content.encode()).hexdigest())


def own_text() -> Text:
    """Written for this: no model has learned it, and it is the same wherever llmasos of this version runs."""
    return make_text(OWN_NAME, OWN_TEXT.read_text(encoding="utf-8"))
