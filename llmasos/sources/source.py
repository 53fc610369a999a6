"""What every source gives: a listing of a model's files, and the files themselves. Values and one protocol."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from llmasos.errors import BadInputError
from llmasos.store.references import Reference

Advance = Callable[[int], None]  # told how many bytes of a file are there


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that a source offers. `digest` is `sha256:` and 64 hex digits where the source names it.

    `location` is an address or a path, in the source's own sense; `headers` go with a request for it and hold secrets.
    """

    role: str
    file_name: str
    location: str
    size: int | None = None
    digest: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """The name under which what is there of the file stands in `incoming`: its digest, or its location's."""
        if self.digest:
            return self.digest.removeprefix("sha256:")
        return hashlib.sha256(self.location.encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Listing:
    """A model as a source offers it. `source` is the reference in full, with the revision that was found.

    Of a checkpoint a GGUF is made, of `wanted_type`: a mix such as `Q4_K_M`, or `auto` for the checkpoint's own. One
    that lies on this disk already is read where it lies, in `folder`.
    """

    source: str
    files: tuple[RemoteFile, ...]
    license: str | None = None
    wanted_type: str = "auto"
    folder: Path | None = None

    @property
    def is_checkpoint(self) -> bool:
        return any(file.role == "checkpoint" for file in self.files)

    @property
    def size(self) -> int | None:
        """In bytes of all files, or None if one is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this disk with the digest of its content. `is_ours`: it may be moved; else it stays and is linked."""

    path: Path
    digest: str
    size: int
    is_ours: bool = True


class Source(Protocol):
    """One kind of place that models come from."""

    def list_files(self, reference: Reference) -> Listing:
        """What the reference names. Raises ModelNotFoundError, AccessDeniedError, NetworkError or BadInputError."""

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        """Brings one file to this disk, going on with what an earlier try left in `incoming`.

        The digest is checked where the source names one. Raises NetworkError, DiskFullError or BadInputError.
        """


def checked_file_name(name: str) -> str:
    """A file name from outside, if it stays inside its folder. Raises BadInputError for all that tries to leave it."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or re.search(r"[\x00-\x1f\x7f]", name):
        raise BadInputError(f"the file name {name!r} is refused: it leads out of the model's folder")
    return name


SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


def sort_shards(names: list[str]) -> list[str]:
    """The files of one split model in order. Raises BadInputError if one is missing."""
    matches = (match for name in names if (match := SHARD.fullmatch(name)))
    shards = sorted(matches, key=lambda match: int(match["index"]))
    if not shards:
        return sorted(names)
    indices = [int(match["index"]) for match in shards]
    if indices != list(range(1, int(shards[0]["count"]) + 1)):
        stem, count = shards[0]["stem"], int(shards[0]["count"])
        raise BadInputError(f"the split model {stem} is not complete: parts {indices} of {count}")
    return [match.string for match in shards]
