"""Models that lie on this disk already: a GGUF file, the first of a split model's, or the folder of one."""

from __future__ import annotations

import re
from pathlib import Path

from llmasos.errors import BadInputError, ModelNotFoundError
from llmasos.formats.gguf import is_gguf
from llmasos.sources.source import SHARD, Advance, Fetched, Listing, RemoteFile, sort_shards
from llmasos.store.blobs import digest_of
from llmasos.store.references import Reference

CHECKPOINT_SUFFIXES = (".safetensors", ".json", ".model", ".txt", ".jinja", ".tiktoken")


class LocalSource:
    def list_files(self, reference: Reference) -> Listing:
        path = Path(reference.target)
        if not path.exists():
            raise ModelNotFoundError(reference.text, message=f"there is no file {path}", hint="check the path")
        files = find_gguf_files(path)
        if not files:
            return Listing(f"file:{path.resolve()}", _checkpoint_files(path))
        return Listing(f"file:{path.resolve()}", tuple(_remote("weights", file) for file in files))

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        path = Path(file.location)
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


def _checkpoint_files(folder: Path) -> tuple[RemoteFile, ...]:
    if not (folder / "config.json").exists() or not any(folder.glob("*.safetensors")):
        raise BadInputError(f"{folder} holds neither a GGUF file nor a checkpoint (config.json and *.safetensors)")
    files = sorted(each for each in folder.iterdir() if each.suffix in CHECKPOINT_SUFFIXES and each.is_file())
    return tuple(_remote("checkpoint", each) for each in files)


def _remote(role: str, path: Path) -> RemoteFile:
    return RemoteFile(role, path.name, str(path), size=path.stat().st_size)
