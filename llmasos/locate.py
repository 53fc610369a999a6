"""Locating: from what a person types to files on this disk, pulling them if they are not here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import BadInputError, ModelNotFoundError, UsageError
from llmasos.formats.gguf import is_gguf
from llmasos.progress import Progress
from llmasos.store.catalogue import near_names
from llmasos.store.manifests import Manifest
from llmasos.store.references import is_name, looks_like_path, parse_name, parse_reference
from llmasos.store.store import ModelStore


@dataclass(frozen=True, slots=True)
class Part:
    """What is used with a model: its role in the store, what people call it, and how they ask for it."""

    role: str
    word: str
    called: str
    flag: str
    example: str
    hint_for_folder: str


ADAPTER = Part(
    "adapter",
    "adapter",
    "an adapter (LoRA)",
    "--lora",
    "ADAPTER",
    "make one of what PEFT wrote: llmasos convert --lora {path} --base MODEL --as NAME",
)
CONTROL_VECTOR = Part(
    "control_vector",
    "control vector",
    "a control vector",
    "--control-vector",
    "VECTOR",
    "make one: llmasos eval steer MODEL --as NAME",
)
PARTS = {part.role: part for part in (ADAPTER, CONTROL_VECTOR)}


@dataclass(frozen=True, slots=True)
class LocatedPart:
    """A GGUF file on this disk that is used with a model, and how strongly; `name` is what people know it by."""

    path: Path
    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this disk: its weights' files in order, and its manifest if the store holds it."""

    paths: tuple[Path, ...]
    manifest: Manifest | None
    template: str | None = None  # in the source's own language, which need not be Jinja
    system: str | None = None
    parameters: str | None = None
    messages: str | None = None  # that every conversation begins with, as JSON
    adapters: tuple[LocatedPart, ...] = ()  # that the model comes with

    @property
    def name(self) -> str:
        """What people know it by."""
        return str(self.manifest.name) if self.manifest else self.paths[0].name


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
    if manifest.kind != "model":
        part = PARTS[manifest.kind]
        raise BadInputError(
            f"{manifest.name} is {part.called}, which runs with the model that it was made for",
            hint=f'llmasos run MODEL {part.flag} {manifest.name} "PROMPT"',
        )
    if not manifest.weights:
        raise BadInputError(
            f"{manifest.name} is a checkpoint ({manifest.facts.quantization}); running needs a GGUF file",
            hint=f"version 0.1.0 stored it so; `llmasos rm {manifest.name}`, then pull it again: it will be converted",
        )
    if not all(map(is_gguf, store.paths(manifest, "adapter"))):
        raise BadInputError(f"{manifest.name} comes with an adapter (LoRA) that is no GGUF, which llmasos can't run")
    return _locate_stored(manifest, store)


def locate_adapter(text: str, *, store: ModelStore | None = None) -> LocatedPart:
    """Finds the adapter that a person names as NAME or NAME:SCALE, a stored one or a GGUF file.

    What follows the last colon is the scale if it is a number, and the whole is not the name of a stored adapter.
    Raises UsageError for a scale that can't be one, ModelNotFoundError, BadInputError for what is no adapter.
    """
    return _locate_part(text, ADAPTER, store or ModelStore())


def locate_control_vector(text: str, *, store: ModelStore | None = None) -> LocatedPart:
    """Finds a control vector as `locate_adapter` does an adapter."""
    return _locate_part(text, CONTROL_VECTOR, store or ModelStore())


def _locate_part(text: str, part: Part, store: ModelStore) -> LocatedPart:
    if is_name(text) and (manifest := store.find(parse_name(text))) and manifest.kind == part.role:
        return LocatedPart(store.paths(manifest, part.role)[0], str(manifest.name))
    name, scale = _split_scale(text, part)
    if looks_like_path(name):
        path = _file_of(part, Path(parse_reference(name).target))
        return LocatedPart(path, path.name, scale)
    found = store.find(parse_name(name)) if is_name(name) else None
    if found is None:
        names = [str(each.name) for each in store.models() if each.kind == part.role]
        raise ModelNotFoundError(
            name,
            near=near_names(name, names),
            message=f"there is no {part.word} `{name}`",
            hint=f"give the path of a GGUF {part.word}, or store it: llmasos import ./{part.example}.gguf --as NAME",
        )
    if found.kind != part.role:
        kind = PARTS[found.kind].called if found.kind in PARTS else "a model"
        raise BadInputError(
            f"{found.name} is {kind}, no {part.word}", hint=f"llmasos run MODEL {part.flag} {part.example}"
        )
    return LocatedPart(store.paths(found, part.role)[0], str(found.name), scale)


def _split_scale(text: str, part: Part) -> tuple[str, float]:
    name, colon, number = text.rpartition(":")
    try:
        scale = float(number)
    except ValueError:
        return text, 1.0
    if not colon or not name or not math.isfinite(scale):
        raise UsageError(f"{part.flag} can't be `{text}`", hint="NAME, or NAME:SCALE with a number such as 0.5")
    return name, scale


def _file_of(part: Part, path: Path) -> Path:
    if not path.exists():
        raise ModelNotFoundError(str(path), message=f"there is no file {path}", hint="check the path")
    if path.is_dir():
        raise BadInputError(f"{path} is a folder, no GGUF {part.word}", hint=part.hint_for_folder.format(path=path))
    if not is_gguf(path):
        raise BadInputError(f"{path} is not a GGUF file", hint=f"{part.flag} takes a GGUF {part.word}")
    return path


def _locate_path(path: Path) -> Located:
    if not path.exists():
        raise ModelNotFoundError(str(path), message=f"there is no file {path}", hint="check the path")
    from llmasos.sources.local import find_gguf_files

    paths = tuple(find_gguf_files(path))
    if not paths:
        is_checkpoint = path.is_dir() and (path / "config.json").exists()
        hint = f"it is a checkpoint: llmasos convert {path}" if is_checkpoint else "running needs a GGUF file"
        raise BadInputError(f"{path} holds no GGUF file", hint=hint)
    return Located(paths, None)


def _locate_stored(manifest: Manifest, store: ModelStore) -> Located:
    return Located(
        paths=tuple(store.paths(manifest)),
        manifest=manifest,
        template=store.text(manifest, "template"),
        system=store.text(manifest, "system"),
        parameters=store.text(manifest, "parameters"),
        messages=store.text(manifest, "messages"),
        adapters=tuple(
            LocatedPart(path, f"the adapter of {manifest.name}") for path in store.paths(manifest, "adapter")
        ),
    )
