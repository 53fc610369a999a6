"""Writing files so that nobody meets half of one, and what a full disk is called."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from llmasos.errors import BadInputError, DiskFullError
from llmasos.units import format_bytes

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, text: str) -> None:
    """Replaces a small file at once."""
    with replaced_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replaced_whole(path: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Gives an empty file that takes the path's place once it is filled.

    A reader, or a power cut, meets the old content or the new one. What is private, only its owner may read.
    """
    with disk_full_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            temporary.touch(0o600 if is_private else 0o666, exist_ok=False)
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def write_output(path: Path, text: str) -> None:
    """Writes what a person asked to have in a file, as `opened_output` does."""
    with opened_output(path) as file:
        file.write(text)


@contextlib.contextmanager
def opened_output(path: Path) -> Iterator[TextIO]:
    """A file that a person asked for, to be written: whole at the end, or left as it was if anything fails before.

    Links are followed, pipes and devices are written into.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            with target.open("w", encoding="utf-8") as file:
                yield file
            return
        mode = target.stat().st_mode if target.exists() else None
        with replaced_whole(target) as temporary:
            with temporary.open("w", encoding="utf-8") as file:
                yield file
            if mode is not None:
                temporary.chmod(mode)
    except OSError as error:
        raise BadInputError(f"can't write {path}: {error.strerror}") from error


def require_writable(path: Path) -> None:
    """Refuses a file that can't be written, before the work that it is to hold is done."""
    target = path.resolve()
    if target.is_dir():
        raise BadInputError(f"can't write {path}: it is a folder")
    if not target.parent.is_dir():
        raise BadInputError(f"can't write {path}: there is no folder {target.parent}")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise BadInputError(f"can't write {path}: that is not allowed")


def replaceable(path: Path) -> Path:
    """The file that a path means, links followed, which is to be replaced by a whole new one.

    Raises BadInputError for what can't be written, and for devices and pipes: they would be gone.
    """
    require_writable(path)
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise BadInputError(
            f"can't write {path}: it is not a file", hint="name a file; the result can't go into a pipe"
        )
    return target


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raises DiskFullError if so many bytes, those of `what`, can't come into a folder."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"{what} will take {format_bytes(needed)} more, and {format_bytes(free)} are free in {folder}",
            hint="free some room (`llmasos prune`), or use a larger disk (LLMASOS_HOME is where models are kept)",
        )


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power cut, where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def disk_full_is_an_error(place: Path) -> Iterator[None]:
    """Turns the system's word for a full disk, a quota or a file too large into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(
                f"the disk is full: {place.parent} takes no more",
                hint="free some room (`llmasos prune`) and run the same again",
            ) from error
        raise
