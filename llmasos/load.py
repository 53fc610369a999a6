"""Loading: from a reference to an engine that answers. The other joint between store, sources, hardware and engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.engine.options import LoadOptions
from llmasos.errors import BadInputError, ModelNotFoundError
from llmasos.formats.gguf import GgufHeader, read_header
from llmasos.hardware.machine import Machine, read_machine
from llmasos.hardware.plan import Plan, Wishes, plan_offload
from llmasos.hardware.shape import ModelShape, read_shape
from llmasos.progress import Progress
from llmasos.pull import pull
from llmasos.sources.local import find_gguf_files
from llmasos.store.manifests import Manifest
from llmasos.store.references import is_name, looks_like_path, parse_name
from llmasos.store.store import ModelStore


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this disk: its weights' files in order, and its manifest if the store holds it."""

    paths: tuple[Path, ...]
    manifest: Manifest | None
    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Any] | None = None


def locate(
    text: str, *, store: ModelStore | None = None, progress: Progress | None = None, offline: bool = False
) -> Located:
    """Finds the model that a person names: a file, a stored model, or one that is pulled now.

    Raises what `pull` raises, and BadInputError for a stored checkpoint, which has no GGUF yet.
    """
    store = store or ModelStore()
    if looks_like_path(text) or (Path(text).exists() and not _is_stored(text, store)):
        return _locate_path(Path(text).expanduser())
    manifest = store.find(parse_name(text)) if is_name(text) else None
    if manifest is None:
        manifest = pull(text, store=store, progress=progress, offline=offline)
    if not manifest.weights:
        raise BadInputError(
            f"{manifest.name} is a checkpoint ({manifest.facts.quantization}); running needs a GGUF file",
            hint="look for a GGUF of it: a repository whose name ends in -GGUF, as org/name-GGUF:Q4_K_M",
        )
    return _locate_stored(manifest, store)


def _is_stored(text: str, store: ModelStore) -> bool:
    return is_name(text) and store.find(parse_name(text)) is not None


def _locate_path(path: Path) -> Located:
    if not path.exists():
        raise ModelNotFoundError(str(path), message=f"there is no file {path}", hint="check the path")
    paths = tuple(find_gguf_files(path))
    if not paths:
        raise BadInputError(f"{path} holds no GGUF file", hint="running needs a GGUF file")
    return Located(paths, None)


def _locate_stored(manifest: Manifest, store: ModelStore) -> Located:
    parameters = store.text(manifest, "parameters")
    return Located(
        paths=tuple(store.paths(manifest)),
        manifest=manifest,
        system=store.text(manifest, "system"),
        parameters=json.loads(parameters) if parameters else None,
    )


class Loaded:
    """A model in memory and the plan by which it got there; `start` gives the engine once the prompt is known."""

    def __init__(self, located: Located, options: LoadOptions, *, answer_tokens: int, prompt_bytes: int) -> None:
        from llmasos.engine.devices import list_devices
        from llmasos.engine.model import ModelOptions, load_model

        headers = [read_header(path) for path in located.paths]
        _refuse_what_is_no_model(headers, located)
        self.located = located
        self.options = options
        self.shape: ModelShape = read_shape(headers)
        self.machine: Machine = read_machine(list_devices())
        self.answer_tokens = answer_tokens
        self.plan: Plan = self._plan(prompt_bytes // 3 + answer_tokens)
        if located.manifest is None:
            self._try_first()
        self.model = load_model(located.paths, ModelOptions(self.plan.gpu_layers, options.mmap, options.mlock))

    def start(self, prompt_tokens: int) -> Any:
        """An engine whose context has room for that prompt and an answer, as far as the model and the memory allow."""
        from llmasos.engine.context import Context, ContextOptions
        from llmasos.engine.engine import Engine

        self.plan = self._plan(prompt_tokens + self.answer_tokens, self.plan.gpu_layers)
        context = ContextOptions(
            self.plan.context_length,
            self.plan.threads,
            self.options.batch_size,
            self.plan.kv_type,
            self.options.flash_attention,
        )
        return Engine(self.model, Context(self.model, context))

    def _plan(self, wanted_tokens: int, gpu_layers: int | None = None) -> Plan:
        wishes = Wishes(
            context_length=self.options.context_length,
            gpu_layers=self.options.gpu_layers if gpu_layers is None else gpu_layers,
            kv_type=self.options.kv_type,
            threads=self.options.threads,
            batch_size=self.options.batch_size,
            wanted_tokens=wanted_tokens,
        )
        return plan_offload(self.shape, self.machine, wishes)

    def _try_first(self) -> None:
        from llmasos.engine.trial import require_trial

        require_trial(self.located.paths, ModelStore().home.trials)


def _refuse_what_is_no_model(headers: list[GgufHeader], located: Located) -> None:
    """Some GGUF files are adapters, projectors or vocabularies: llama.cpp would crash over them, or say little."""
    first = headers[0]
    kind = first.metadata.get("general.type", "model")
    if kind != "model" or not any(header.tensors for header in headers):
        raise BadInputError(
            f"{located.paths[0].name} is not a model to run but {kind if kind != 'model' else 'a file without weights'}"
        )
    if first.shard_count != len(located.paths):
        raise BadInputError(
            f"{located.paths[0].name} is one of {first.shard_count} parts and {len(located.paths)} are here"
        )
