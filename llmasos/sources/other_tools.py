"""Where Ollama, LM Studio and the Hugging Face libraries keep models on this disk; files in there by digest."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from llmasos.sources.source import Advance, Fetched, RemoteFile
from llmasos.store.blobs import digest_of

SHARED_OLLAMA = Path("/usr/share/ollama/.ollama/models")  # of the service that Ollama's installer sets up on Linux


def ollama_folders() -> list[Path]:
    """Folders with `blobs` and `manifests`; the one in use first."""
    chosen = os.environ.get("OLLAMA_MODELS")
    return [*([Path(chosen).expanduser()] if chosen else []), Path.home() / ".ollama" / "models", SHARED_OLLAMA]


def hub_cache() -> Path:
    """Hugging Face's cache, by the rules of huggingface_hub, which reads the environment only while it is imported."""
    for variable, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if chosen := os.environ.get(variable):
            return Path(os.path.expandvars(chosen)).expanduser() / below
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def lm_studio_folders() -> list[Path]:
    """Folders of `user/repository/file.gguf`: those of every home that LM Studio has had, and the one set by hand."""
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if pointed := (Path.home() / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip():
            homes.insert(0, Path(pointed).expanduser())
    folders: list[Path] = []
    for home in homes:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if chosen := json.loads((home / "settings.json").read_text(encoding="utf-8")).get("downloadsFolder"):
                folders.append(Path(str(chosen)))
        folders.append(home / "models")
    return list(dict.fromkeys(folders))


def take_from_other_tools(file: RemoteFile, advance: Advance) -> Fetched | None:
    """The file as another tool holds it already, its content checked; None if none does or its digest isn't known."""
    if file.digest is None:
        return None
    for path in _blobs_of_other_tools(file.digest):
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            if file.size in (None, size) and digest_of(path, advance) == file.digest:
                return Fetched(path, file.digest, size, is_ours=False)
    return None


def _blobs_of_other_tools(digest: str) -> Iterator[Path]:
    yield from (folder / "blobs" / digest.replace(":", "-") for folder in ollama_folders())
    with contextlib.suppress(OSError):
        yield from sorted(hub_cache().glob(f"models--*/blobs/{digest.removeprefix('sha256:')}"))
