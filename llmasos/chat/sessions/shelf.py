"""The sessions in the home: their names, where they are, and which there are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmasos.chat.sessions.session import read_history
from llmasos.errors import BadInputError, UsageError
from llmasos.paths import find_home

NAME = re.compile(r"\w[\w.-]{0,59}")
SUFFIX = ".jsonl"
LONGEST_WRITE = 3600  # seconds after which nobody writes a file any more
KEPT_CACHES = 5  # a cache may be as large as a model


@dataclass(frozen=True, slots=True)
class Kept:
    """A session on the shelf; `problem` says why it can't be read, and is empty if it can."""

    name: str
    modified: float  # seconds since the epoch
    model: str = ""
    message_count: int = 0
    beginning: str = ""
    problem: str = ""


def session_path(name: str) -> Path:
    """Where the session of that name is, or would be. Raises UsageError for what can't be a name."""
    if not NAME.fullmatch(name):
        raise UsageError(f"`{name}` can't be the name of a session", hint="letters, digits, `.`, `_` and `-`")
    return find_home().sessions / f"{name}{SUFFIX}"


def new_path() -> Path:
    """A place for a session that nobody has named: it is called by the time."""
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    names = [stamp, *(f"{stamp}-{number}" for number in range(2, 1000))]
    return next(path for name in names if not (path := session_path(name)).exists())


def paths() -> list[Path]:
    """Of all sessions, the last one first."""
    found = [path for path in find_home().sessions.glob(f"*{SUFFIX}") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def sessions() -> Iterator[Kept]:
    """What there is to tell of all sessions, the last one first."""
    for path in paths():
        modified = path.stat().st_mtime
        try:
            history, _ = read_history(path)
        except BadInputError as error:
            yield Kept(path.stem, modified, problem=error.message)
            continue
        path_of_tip = history.path()
        beginning = path_of_tip[0].content if path_of_tip else ""
        yield Kept(path.stem, modified, history.model, len(path_of_tip), " ".join(beginning.split())[:80])


def last_model() -> str:
    """The model that the last conversation was held with; empty if there was none."""
    return next((kept.model for kept in sessions() if kept.model), "")


def drop_old_caches() -> None:
    """Leaves the caches of the last few sessions, and nothing of those that a kill kept from being written."""
    folder = find_home().sessions
    caches = sorted(folder.glob("*.kv"), key=lambda path: path.stat().st_mtime, reverse=True)
    torn = [path for path in folder.glob(".*.kv.*") if time.time() - path.stat().st_mtime > LONGEST_WRITE]
    for path in [*caches[KEPT_CACHES:], *torn]:
        path.unlink(missing_ok=True)
