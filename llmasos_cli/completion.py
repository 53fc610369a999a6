"""Answers the shells' completion scripts: which models or tasks a person who presses TAB could mean. Never fails.

Every TAB starts a process that somebody waits for, so names are read here without `ModelStore` and `read_catalogue`:
importing those would take 45 ms more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from llmasos import paths

LIBRARY = Path(paths.__file__).parent
CATALOGUE = LIBRARY / "store" / "catalogue.toml"
BUILT_IN_TASKS = LIBRARY / "tasks" / "builtin"
NAME = re.compile(r"[a-z0-9][a-z0-9._/:-]*")


def complete(arguments: list[str]) -> None:
    """Prints the names of a kind, `models`, `references` or `tasks`, that begin with a prefix, one a line."""
    kind, prefix = [*arguments, "", ""][:2]
    names = [name for source in SOURCES.get(kind, ()) for name in _names(source) if name.startswith(prefix.lower())]
    try:
        sys.stdout.write("".join(f"{name}\n" for name in dict.fromkeys(names)))
        sys.stdout.flush()
    except OSError:  # the shell has left, and Python is not to notice it once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _names(source: Callable[[], Iterator[object]]) -> list[str]:
    """What a source yields until it fails, sorted; only what is a name, for a shell is going to read it."""
    names = []
    with contextlib.suppress(Exception, KeyboardInterrupt):  # an error would land in the line that is being typed
        for name in source():
            if isinstance(name, str) and NAME.fullmatch(name):
                names.append(name)
    return sorted(names)


def _stored_names() -> Iterator[object]:
    """The names in all manifests, those whose files have gone too: `rm` takes them."""
    for path in paths.find_home().manifests.glob("*/*/*.json"):
        with contextlib.suppress(Exception):  # one broken manifest must not hide the others
            yield json.loads(path.read_bytes())["name"]


def _catalogue_names() -> Iterator[object]:
    """Names and aliases, from the lines that hold them: a TOML parser would cost another 15 ms."""
    for line in CATALOGUE.read_text(encoding="utf-8").splitlines():
        if line.startswith(('["', "aliases")):
            yield from line.split('"')[1::2]


def _task_names() -> Iterator[object]:
    """The names of our tasks and of the user's own."""
    for folder in (BUILT_IN_TASKS, paths.find_home().tasks):
        yield from (path.stem for path in folder.glob("*.toml"))


SOURCES = {"models": (_stored_names,), "references": (_stored_names, _catalogue_names), "tasks": (_task_names,)}
