"""Models from an address: one GGUF file, or the first of a split model's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from llmasos.errors import BadInputError
from llmasos.sources.download import download, make_client
from llmasos.sources.source import SHARD, Advance, Fetched, Listing, RemoteFile, checked_file_name
from llmasos.store.references import Reference


class UrlSource:
    def __init__(self, *, hurried: bool = False) -> None:
        self._hurried = hurried

    def list_files(self, reference: Reference) -> Listing:
        address = reference.target
        name = checked_file_name(unquote(urlsplit(address).path.rsplit("/", 1)[-1]))
        if not name.lower().endswith(".gguf"):
            raise BadInputError(
                f"{name or address} is not a GGUF file by its name", hint="give the address of a .gguf file"
            )
        match = SHARD.fullmatch(name)
        names = (
            [name]
            if match is None
            else [_shard_name(match["stem"], index, match["count"]) for index in range(1, int(match["count"]) + 1)]
        )
        files = tuple(RemoteFile("weights", each, address.replace(name, each)) for each in names)
        return Listing(source=address.split("?")[0], files=files)

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        with make_client(hurried=self._hurried) as client:
            return download(file, incoming, advance, client)


def _shard_name(stem: str, index: int, count: str) -> str:
    return f"{stem}-{index:05}-of-{count}.gguf"
