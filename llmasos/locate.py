"""Locating: from what a person types to files on this disk, pulling them if they are not here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import BadInputError, ModelNotFoundError
from llmasos.progress import Progress
from llmasos.store.manifests import Manifest
from llmasos.store.references import is_name, looks_like_path, parse_name, parse_reference
from llmasos.store.store import ModelStore


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this disk: its weights' files in order, and its manifest if the store holds it."""

    paths: tuple[Path, ...]
    manifest: Manifest | None
    template: str | None = None  # in the source's own language, which need not be Jinja
    system: str | None = None
    parameters: str | None = None


def locate(
    text: str, *, store: ModelStore | None = None, progress: Progress | None = None, offline: bool = False
) -> Located:
    """Finds the model that a person names: a file, a stored model, or one that is pulled now.

    Raises what `pull` raises, and BadInputError for a stored checkpoint, which has no GGUF yet.
    """
    store = store or ModelStore()
    if looks_like_path(text):
        return _locate_path(Path(parse_reference(text).target))
    manifest = store.find(parse_name(text)) if is_name(text) else None
    if manifest is None:
        from llmasos.pull import pull  # a model that is here needs no sources: 30 ms of its first token

        manifest = pull(text, store=store, progress=progress, offline=offline)
    if not manifest.weights:
        raise BadInputError(
            f"{manifest.name} is a checkpoint ({manifest.facts.quantization}); running needs a GGUF file",
            hint="look for a GGUF of it: a repository whose name ends in -GGUF, as org/name-GGUF:Q4_K_M",
        )
    if manifest.of_role("adapter"):
        raise BadInputError(f"{manifest.name} comes with an adapter (LoRA), and llmasos can't run those yet")
    return _locate_stored(manifest, store)


def _locate_path(path: Path) -> Located:
    if not path.exists():
        raise ModelNotFoundError(str(path), message=f"there is no file {path}", hint="check the path")
    from llmasos.sources.local import find_gguf_files

    paths = tuple(find_gguf_files(path))
    if not paths:
        raise BadInputError(f"{path} holds no GGUF file", hint="running needs a GGUF file")
    return Located(paths, None)


def _locate_stored(manifest: Manifest, store: ModelStore) -> Located:
    return Located(
        paths=tuple(store.paths(manifest)),
        manifest=manifest,
        template=store.text(manifest, "template"),
        system=store.text(manifest, "system"),
        parameters=store.text(manifest, "parameters"),
    )
