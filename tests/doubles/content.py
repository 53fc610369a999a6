"""Bytes that the stand-in hub serves, from memory or from a file, with the digests that the hubs publish for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

READ_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """A file is read again for every answer: however large it is, it is never in memory as a whole."""

    source: bytes | Path
    size: int
    sha256: str
    git_blob: str  # the name git gives it, as `git hash-object` prints it

    def chunks(self, start: int, stop: int, chunk_size: int = READ_SIZE) -> Iterator[bytes]:
        with _open(self.source) as stream:
            stream.seek(start)
            while start < stop and (chunk := stream.read(min(chunk_size, stop - start))):
                start += len(chunk)
                yield chunk


def content_of(source: bytes | Path) -> Content:
    if isinstance(source, bytes):
        return _digested(source, len(source))
    status = source.stat()
    return _content_of_file(source.absolute(), status.st_size, status.st_mtime_ns)


def contents_of(files: Mapping[str, bytes | Path] | Path) -> dict[str, Content]:
    """Contents by name, of a mapping or of all files below a folder."""
    if isinstance(files, Path):
        files = {path.relative_to(files).as_posix(): path for path in files.rglob("*") if path.is_file()}
    return {name: content_of(source) for name, source in sorted(files.items())}


@cache  # size and time are there to notice that the file was written anew
def _content_of_file(path: Path, size: int, _modified_ns: int) -> Content:
    return _digested(path, size)


def _digested(source: bytes | Path, size: int) -> Content:
    sha256, git_blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with _open(source) as stream:
        while chunk := stream.read(READ_SIZE):
            sha256.update(chunk)
            git_blob.update(chunk)
    return Content(source, size, sha256.hexdigest(), git_blob.hexdigest())


def _open(source: bytes | Path) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else source.open("rb")
