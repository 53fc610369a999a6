"""Models that lie on this disk already: a GGUF file, the first of a split model's, or the folder of one."""

from __future__ import annotations

import re
from pathlib import Path

from llmasos.errors import BadInputError, ModelNotFoundError
from llmasos.formats.checkpoint_names import find_weights
from llmasos.formats.gguf import is_gguf
from llmasos.sources.checkpoints import choose_checkpoint_files
from llmasos.sources.source import SHARD, Advance, Fetched, Listing, RemoteFile, sort_shards
from llmasos.store.blobs import digest_of
from llmasos.store.references import Reference


class LocalSource:
    def list_files(self, reference: Reference) -> Listing:
        path = Path(reference.target)
        if not path.exists():
            raise ModelNotFoundError(reference.text, message=f"there is no file {path}", hint="check the path")
        files = find_gguf_files(path)
        if not files:
            return _checkpoint_listing(path)
        return Listing(f"file:{path.resolve()}", tuple(_remote("weights", file.parent, file.name) for file in files))

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        path = Path(file.location)
        if file.role == "checkpoint":  # a GGUF is made of it, and nobody asks for its digest
            return Fetched(path, "", path.stat().st_size, is_ours=False)
        try:
            digest = digest_of(path, advance)
            return Fetched(path, digest, path.stat().st_size, is_ours=False)
        except OSError as error:
            raise BadInputError(f"can't read {path}: {error.strerror}") from error


def find_gguf_files(path: Path) -> list[Path]:
    """The GGUF files that a path means, a split model's in order; none for a checkpoint's folder.

    Raises BadInputError for a file that is no GGUF, and for a folder with several models in it.
    """
    if path.is_dir():
        found = sorted(each for each in path.glob("*.gguf") if "mmproj" not in each.name.lower())
        models = {match["stem"] if (match := SHARD.fullmatch(each.name)) else each.name for each in found}
        if len(models) > 1:
            raise BadInputError(
                f"{path} holds several models", hint=f"name one of them: {', '.join(sorted(models)[:5])}"
            )
        return [path / name for name in sort_shards([each.name for each in found])] if found else []
    if not is_gguf(path):
        raise BadInputError(f"{path} is not a GGUF file", hint="give a .gguf file or a folder with a checkpoint")
    if match := SHARD.fullmatch(path.name):
        names = [each.name for each in path.parent.iterdir() if _belong_together(match, SHARD.fullmatch(each.name))]
        return [path.parent / name for name in sort_shards(names)]
    return [path]


def _belong_together(one: re.Match[str], other: re.Match[str] | None) -> bool:
    return other is not None and (one["stem"], one["count"]) == (other["stem"], other["count"])


def find_checkpoint(path: Path) -> Listing | None:
    """The checkpoint in a folder, whatever GGUF files lie beside it; None if there is none.

    Raises BadInputError for one that lacks a part, and for a folder that can't be read.
    """
    names = _file_names(path) if path.is_dir() else []
    return _checkpoint_listing(path) if "config.json" in names and find_weights(names) else None


def _checkpoint_listing(folder: Path) -> Listing:
    chosen = choose_checkpoint_files(_file_names(folder), str(folder))
    files = tuple(_remote("checkpoint", folder, name) for name in chosen)
    return Listing(f"file:{folder.resolve()}", files, folder=folder)


def _file_names(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if each.is_file())
    except OSError as error:
        raise BadInputError(f"can't read {folder}: {error.strerror}") from error


def _remote(role: str, folder: Path, name: str) -> RemoteFile:
    path = folder / name
    return RemoteFile(role, name, str(path), size=path.stat().st_size)
