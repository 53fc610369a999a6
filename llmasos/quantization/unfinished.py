"""Files that take their names when they are whole, and leave nothing behind if they never are."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path

from llmasos.errors import BadInputError, BusyError
from llmasos.files import sync_folder


def unfinished_path(path: Path) -> Path:
    """Where a file is written until it is whole: always the same, so that a later run replaces what a kill left."""
    return path.with_name(f".{path.name}.unfinished")


@contextlib.contextmanager
def written_whole(paths: Sequence[Path]) -> Iterator[list[FileIO]]:
    """Empty files to write; as the block is left they are made durable and take their names, the first one last.

    So where the first file of a split model is, the others are. If the block fails, or anything after it, all of them
    are removed. Raises BusyError if another process is writing one of them.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_alone_in(unfinished_path(path))) for path in paths]
        yield files
        for file in files:
            os.fsync(file.fileno())
        _name_all(paths)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def _name_all(paths: Sequence[Path]) -> None:
    try:
        for path in reversed(paths):
            unfinished_path(path).replace(path)
    except BaseException:
        for path in paths:
            if not unfinished_path(path).exists():
                path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _alone_in(path: Path) -> Iterator[FileIO]:
    """An empty file that this process alone writes, removed at the end if it still has this name."""
    file = _open_alone(path)
    try:
        file.truncate(0)
        yield file
    finally:
        if _is_at(path, file):
            path.unlink()
        file.close()


def _open_alone(path: Path) -> FileIO:
    while True:
        file = FileIO(_open(path), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, file):  # whoever had the lock may have given the file its name, or removed it
                return file
        except BlockingIOError as error:
            file.close()
            raise BusyError(
                f"another process is writing {path}", hint="wait until it is done, or choose another file to write"
            ) from error
        except BaseException:
            file.close()
            raise
        file.close()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:  # what it leads to is not ours to overwrite
            raise BadInputError(f"{path} is a link, and a file is to be written there", hint="remove it") from error
        raise


def _is_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
