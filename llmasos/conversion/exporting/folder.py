"""A folder that fills all at once: nothing is seen in it before all its files are whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmasos.errors import BadInputError, BusyError
from llmasos.files import sync_file, sync_folder, write_whole

UNFINISHED = ".unfinished"  # in the folder itself, which may be a link, or one that is in use
FILES, MOVING = "files", "moving"  # in there: what is written, and the names of what then moves


def require_empty(folder: Path) -> None:
    """Refuses a place that holds something already, or that can't be written, before any work is done."""
    if folder.exists() and not folder.is_dir():
        raise BadInputError(f"{folder} is a file, and an export is a folder", hint="choose another folder")
    if folder.is_dir() and not set(folder.iterdir()) <= set(_ours(folder)):
        raise BadInputError(f"{folder} is not empty", hint="choose a folder that is new or empty")
    place = folder if folder.is_dir() else folder.resolve().parent
    if not place.is_dir():
        raise BadInputError(f"can't write {folder}: there is no folder {place}", hint="make it first")
    if not os.access(place, os.W_OK):
        raise BadInputError(f"can't write {folder}: that is not allowed", hint="choose a folder of your own")


@contextlib.contextmanager
def filled_whole(folder: Path, last: str) -> Iterator[Path]:
    """A place to write files in; as the block is left they are made durable and move to `folder`, `last` last of all.

    What an earlier run left when it was killed is replaced. If the block fails, or anything after it, the folder is as
    it was before. Raises BusyError if another process is filling it, and as `require_empty` does.
    """
    require_empty(folder)
    is_new = not folder.is_dir()
    folder.mkdir(exist_ok=True)
    try:
        with _alone_in(folder):
            require_empty(folder)  # another process may just have filled it
            yield from _filled(folder, last)
        sync_folder(folder)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless another process has begun to fill it
        raise


def _filled(folder: Path, last: str) -> Iterator[Path]:
    unfinished = folder / UNFINISHED
    _clear(folder)
    (unfinished / FILES).mkdir(parents=True)
    try:
        yield unfinished / FILES
        paths = sorted((unfinished / FILES).iterdir(), key=lambda path: (path.name == last, path.name))
        for path in paths:
            for file in filter(Path.is_file, (path, *path.rglob("*"))):
                sync_file(file)
        write_whole(unfinished / MOVING, "\n".join(path.name for path in paths))
        for path in paths:
            path.rename(folder / path.name)
    except BaseException:
        _clear(folder)
        raise
    shutil.rmtree(unfinished, ignore_errors=True)


def _ours(folder: Path) -> list[Path]:
    """What a run that did not come to its end has in the folder; the place where it worked is the last."""
    try:
        moving = (folder / UNFINISHED / MOVING).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        moving = []
    found = [path for path in folder.iterdir() if path.name in (UNFINISHED, *moving)]
    return sorted(found, key=lambda path: path.name == UNFINISHED)


def _clear(folder: Path) -> None:
    for path in _ours(folder):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another process is filling {folder}", hint="wait until it is done") from error
        yield
    finally:
        os.close(handle)
