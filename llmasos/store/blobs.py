"""Blobs: files by the sha256 of their content, and the four ways of bringing one in: move, hard link, reflink, copy."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from llmasos.errors import BadInputError
from llmasos.files import disk_full_is_an_error, sync_file, sync_folder

CHUNK_BYTES = 1024 * 1024
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
FICLONE = 0x40049409  # linux/fs.h: share another file's blocks


class Blobs:
    """The folder of blobs. Files in it are whole, never changed, and named `sha256-<hex>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise BadInputError(f"`{digest}` is not a sha256 digest")
        return self.folder / digest.replace(":", "-")

    def has(self, digest: str, size: int | None = None) -> bool:
        """True if the blob is there (and has that many bytes)."""
        try:
            found = self.path(digest).stat().st_size
        except OSError:
            return False
        return size is None or found == size

    def all(self) -> Iterator[str]:
        """The digests of all blobs on this disk."""
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if DIGEST.fullmatch(digest := path.name.replace("-", ":", 1)):
                    yield digest

    def adopt(self, path: Path, digest: str) -> None:
        """Moves a finished file in, under a digest that the caller has checked. One that is damaged here is healed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() and self.has(digest):  # two files of a model had the same content
            return
        sync_file(path)
        path.replace(self.path(digest))
        sync_folder(self.folder)

    def link(self, path: Path, digest: str) -> str:
        """Brings in a file that stays where it is; says how: `hard link`, `reflink`, `symlink` or `copy`.

        A symlink is taken only across file systems, where the other two can't be.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target, source = self.path(digest), path.resolve()
        if not source.is_file():
            raise BadInputError(f"{path} has gone")
        if self.has(digest, source.stat().st_size):
            return "present"
        target.unlink(missing_ok=True)  # it was cut off, or a symlink whose file has gone
        ways: list[tuple[str, Callable[[Path, Path], None]]] = [
            ("hard link", _hard_link),
            ("reflink", _reflink),
            ("symlink", _symlink),
            ("copy", _copy),
        ]
        for way, bring in ways:
            with contextlib.suppress(_NotPossibleError):
                bring(source, target)
                sync_folder(self.folder)
                return way
        raise BadInputError(f"{path} can neither be linked nor copied into {self.folder}")

    def remove(self, digest: str) -> int:
        """Deletes a blob; returns the bytes that this frees."""
        path = self.path(digest)
        freed = bytes_held(path)
        path.unlink(missing_ok=True)
        return freed


class _NotPossibleError(Exception):
    """This way of bringing a file in does not work here; the next may."""


def bytes_held(path: Path) -> int:
    """The room that deleting a file would free: none if it is not there, or if another name or tool holds it too."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0


def digest_of(path: Path, advance: Callable[[int], None] = lambda done: None) -> str:
    """The sha256 of a file's content; `advance` is told how many bytes have been read."""
    state, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            state.update(chunk)
            done += len(chunk)
            advance(done)
    return f"sha256:{state.hexdigest()}"


def _hard_link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        raise _NotPossibleError from error


def _reflink(source: Path, target: Path) -> None:
    """Shares the blocks of the source (btrfs, xfs, APFS): costs no room and survives the source's deletion."""
    if sys.platform == "darwin":
        _clone_on_macos(source, target)
        return
    import fcntl

    temporary = target.with_name(f".{target.name}.reflink")
    try:
        with source.open("rb") as old, temporary.open("wb") as new:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _NotPossibleError from error


def _clone_on_macos(source: Path, target: Path) -> None:
    import ctypes

    if ctypes.CDLL(None).clonefile(os.fsencode(source), os.fsencode(target), 0) != 0:
        raise _NotPossibleError


def _symlink(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError as error:
        raise _NotPossibleError from error


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.copy")
    try:
        with disk_full_is_an_error(target):
            shutil.copyfile(source, temporary)
        sync_file(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
