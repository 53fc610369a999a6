"""Screens that are kept as goldens. `WRITE_GOLDENS=1` writes them anew, to be read before they are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "goldens" / "screens"
CHANGING = [  # what no two runs have in common
    (re.compile(r"\d+ tokens/s"), "N tokens/s"),
    (re.compile(r"\d{4}-\d\d-\d\d-\d{6}(-\d+)?"), "YYYY-MM-DD-HHMMSS"),
    (re.compile(r"[ ]+$", re.MULTILINE), ""),
]


def is_golden(name: str, screen: str) -> bool:
    """Whether a screen is the one that was kept under that name."""
    for pattern, text in CHANGING:
        screen = pattern.sub(text, screen)
    path = FOLDER / f"{name}.txt"
    if os.environ.get("WRITE_GOLDENS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(screen, encoding="utf-8")
    assert screen == path.read_text(encoding="utf-8")
    return True
