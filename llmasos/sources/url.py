"""Models from an address: one GGUF file, or the first of a split model's."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from llmasos.errors import BadInputError
from llmasos.sources.download import download, make_client
from llmasos.sources.source import SHARD, Advance, Fetched, Listing, RemoteFile, checked_file_name
from llmasos.store.references import Reference, address_identity


class UrlSource:
    def __init__(self, *, hurried: bool = False) -> None:
        self._hurried = hurried

    def list_files(self, reference: Reference) -> Listing:
        address = urlsplit(reference.target)
        folder, _, last = address.path.rpartition("/")
        name = unquote(last)
        if not name.lower().endswith(".gguf"):
            raise BadInputError(f"{reference} is not a GGUF file by its name", hint="give the address of a .gguf file")
        if not (match := SHARD.fullmatch(checked_file_name(name))):
            return Listing(address_identity(reference.target), (RemoteFile("weights", name, reference.target),))
        names = [_shard_name(match, index) for index in range(1, int(match["count"]) + 1)]
        if name not in names:
            raise BadInputError(f"{name} is no part of {int(match['count'])}, whatever its name says")
        places = [urlunsplit(address._replace(path=f"{folder}/{quote(each)}")) for each in names]
        return Listing(
            address_identity(reference.target),
            tuple(RemoteFile("weights", *each) for each in zip(names, places, strict=True)),
        )

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        with make_client(hurried=self._hurried) as client:
            return download(file, incoming, advance, client)


def _shard_name(match: re.Match[str], index: int) -> str:
    before, after = match.string[: match.start("index")], match.string[match.end("index") :]
    return f"{before}{index:05}{after}"
