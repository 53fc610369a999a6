"""A conversation and the file that it is kept in: one event a line, written as it happens, for its owner's eyes only.

Whatever ends the program, the file holds all that was said: a last line that is torn is dropped when it is read again,
and a damaged one is left out and told.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from llmasos.chat.sessions.history import Event, History
from llmasos.errors import BadInputError, BusyError, NameTakenError
from llmasos.files import disk_full_is_an_error

FORMAT = 1
TOLD_TROUBLES = 3


class Session:
    """A History that is written down. Nothing is written before the first message, so an empty chat leaves no file.

    `with` closes the file. Without a `path` nothing is kept, until `keep` gives it one.
    """

    def __init__(self, path: Path | None, history: History | None = None, file: BinaryIO | None = None) -> None:
        """Use `open_session` for one that there is already."""
        self.history = history or History()
        self.path = path
        self._file = file
        self._pending: list[bytes] = [_line(_header())]

    @property
    def name(self) -> str:
        return self.path.stem if self.path else ""

    def record(self, event: Event) -> None:
        """Lets the event happen and writes it down. Raises DiskFullError; then it has happened all the same."""
        self.history.apply(event)
        self._pending.append(_line(event))
        if self._file or event["event"] == "message":
            self._write()

    def keep(self, path: Path) -> None:
        """Gives the session another name, or its first one. Raises NameTakenError."""
        if path.exists():
            raise NameTakenError(f"there is a session `{path.stem}` already", hint="choose another name")
        if self._file and self.path:
            self.path.rename(path)
            if _companion(self.path).exists():
                _companion(self.path).rename(_companion(path))
        self.path = path
        if self._file is None:
            self._write()

    @property
    def cache(self) -> Path | None:
        """Where what the engine has read of it may be kept."""
        return _companion(self.path) if self.path else None

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        if self.path is None:
            return
        if self._file is None:
            self._file = _create(self.path)
        size = os.fstat(self._file.fileno()).st_size
        with disk_full_is_an_error(self.path):
            try:
                self._file.write(b"".join(self._pending))
                self._file.flush()
            except OSError:
                os.truncate(self._file.fileno(), size)  # what follows is not to stand behind half a line
                raise
        self._pending.clear()


def open_session(path: Path) -> tuple[Session, list[str]]:
    """A session from its file, and what was wrong with that. An answer that was cut off is kept as far as it came.

    Raises BadInputError for a file that can't be read or a newer llmasos wrote, BusyError if another one has it open.
    """
    try:
        file = path.open("r+b", buffering=0)
    except OSError as error:
        raise BadInputError(f"can't read the session {path}: {error.strerror}") from error
    try:
        _lock(file, path)
        content = file.read()
        history, troubles, whole = parse(content)
        if whole < len(content):
            file.truncate(whole)
        file.seek(0, os.SEEK_END)
        if whole and not content[:whole].endswith(b"\n"):
            file.write(b"\n")
        session = Session(path, history, file)
        session._pending.clear()
        if whole == 0:
            session._pending.append(_line(_header()))
        if event := history.unfinished():
            session.record(event)
    except BaseException:
        file.close()
        raise
    return session, troubles


def read_history(path: Path) -> tuple[History, list[str]]:
    """What a session's file holds, without opening it for more."""
    try:
        history, troubles, _ = parse(path.read_bytes())
    except OSError as error:
        raise BadInputError(f"can't read the session {path}: {error.strerror}") from error
    return history, troubles


def parse(content: bytes) -> tuple[History, list[str], int]:
    """The history in a file's content, what was wrong with it, and how many of its bytes are worth keeping.

    A last line without its end is dropped unless it is whole. Raises BadInputError for a format that is not known.
    """
    history, damaged, position = History(), [], 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        is_last = position + len(line) >= len(content)
        if line.strip() and not _take(history, line):
            if is_last:
                break
            damaged.append(number)
        position = min(position + len(line) + 1, len(content))
    return history, _told(damaged), position


def _take(history: History, line: bytes) -> bool:
    """Whether the line was an event, which has happened now."""
    try:
        event = json.loads(line)
        if not isinstance(event, dict):
            return False
        if event.get("event") == "session":
            _require_known_format(event)
            return True
        history.apply(event)
    except (ValueError, RecursionError):
        return False
    except BadInputError as error:
        if error.hint:  # a format that is not known
            raise
        return False
    return True


def _require_known_format(header: Event) -> None:
    if header.get("format") != FORMAT:
        raise BadInputError(
            f"the session has format {header.get('format')}, and this llmasos knows {FORMAT}",
            hint="a newer llmasos reads it",
        )


def _told(damaged: Sequence[int]) -> list[str]:
    if not damaged:
        return []
    shown = ", ".join(map(str, damaged[:TOLD_TROUBLES])) + (", …" if len(damaged) > TOLD_TROUBLES else "")
    return [f"line{'s' if len(damaged) > 1 else ''} {shown} of the session can't be read and {_is(damaged)} left out"]


def _is(many: Sequence[int]) -> str:
    return "are" if len(many) > 1 else "is"


def _header() -> Event:
    return {"event": "session", "format": FORMAT, "created": datetime.now(timezone.utc).isoformat(timespec="seconds")}


def _line(event: Event) -> bytes:
    """Half a surrogate pair, which is no UTF-8, is written as JSON's escape."""
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    file: Any = os.fdopen(descriptor, "ab", buffering=0)
    _lock(file, path)
    return file  # type: ignore[no-any-return]


def _lock(file: Any, path: Path) -> None:
    """Two programs that write into one conversation would make none of it. The system frees the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise BusyError(f"the session `{path.stem}` is open in another llmasos", hint="leave it there first") from error


def _companion(path: Path) -> Path:
    return path.with_suffix(".kv")
