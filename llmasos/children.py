"""Python processes that this one starts: they find the same llmasos, however it was found here."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def command(module: str) -> list[str]:
    """The command line that runs a module, up to its arguments; the current folder can't put other modules before."""
    return [sys.executable, *(["-P"] if sys.version_info >= (3, 11) else []), "-m", module]


def environment() -> dict[str, str]:
    """Our environment with llmasos' own folder on the path."""
    folders = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
