"""Creating: a stored model by a recipe, with the weights of another one. The joint between recipes and the store."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmasos.convert import convert_adapter_to_store, convert_to_store
from llmasos.errors import BadInputError, ModelNotFoundError
from llmasos.locate import locate
from llmasos.make import made_in
from llmasos.modelfile import Recipe, is_go_template
from llmasos.progress import Progress
from llmasos.pull import pull
from llmasos.quantization.choices import make_choices
from llmasos.quantize import quantize_to_store
from llmasos.sources.local import find_gguf_files
from llmasos.store.blobs import digest_of
from llmasos.store.manifests import Manifest, StoredFile
from llmasos.store.references import Name, is_name, looks_like_path, parse_name
from llmasos.store.store import ModelStore, name_taken

DEED = "created"
PARTS = "-parts"  # ends the tags of what is made on the way
IGNORED = "{} of the Modelfile has no meaning here: the model's own file says it"
KEPT_TEMPLATE = (
    "the TEMPLATE is in Go's language: it is kept and shown, and makes the prompts if the file itself has no template"
)


def create(
    name: str,
    recipe: Recipe,
    *,
    folder: Path,
    quantization: str | None = None,
    store: ModelStore | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> Manifest:
    """Stores a model by a recipe; paths in it are taken from `folder`. What was created by that name is replaced.

    Raises NameTakenError for the name of a model that was not created, and what `locate`, `pull`, `convert_to_store`
    and `quantize_to_store` raise.
    """
    store, progress = store or ModelStore(), progress or Progress()
    wanted = parse_name(name)
    with store.lock(
        f"pull {wanted}", waiting=lambda: progress.note(f"another llmasos is making {wanted}; waiting for it")
    ):
        present = store.find(wanted)
        if present and not _was_created(present):
            raise name_taken(present)
        for command in recipe.ignored:
            progress.note(IGNORED.format(command))
        if recipe.template and is_go_template(recipe.template):
            progress.note(KEPT_TEMPLATE)
        with contextlib.ExitStack() as made:
            base = made.enter_context(_base(recipe.base, wanted, folder, quantization, store, progress, offline))
            adapter = made.enter_context(_adapter(recipe.adapter, wanted, base, folder, store, progress))
            return _store(wanted, recipe, base, adapter, store)


def recipe_of(manifest: Manifest, store: ModelStore) -> Recipe:
    """The recipe by which a stored model could be made of itself."""
    parameters = _json(store.text(manifest, "parameters"), {})
    messages = _json(store.text(manifest, "messages"), [])
    licenses = [path.read_text(encoding="utf-8", errors="replace") for path in store.paths(manifest, "license")]
    return Recipe(
        str(manifest.name),
        parameters,
        template=store.text(manifest, "template"),
        system=store.text(manifest, "system"),
        licenses=tuple(licenses),
        messages=tuple((str(each.get("role")), str(each.get("content"))) for each in messages),
    )


@contextlib.contextmanager
def _base(
    text: str,
    wanted: Name,
    folder: Path,
    quantization: str | None,
    store: ModelStore,
    progress: Progress,
    offline: bool,
) -> Iterator[Manifest]:
    """The stored model that a recipe begins with. One that has to be made for it has a name only until it is used."""
    text, passing = _meant(text, folder, store), replace(wanted, tag=f"{wanted.tag}{PARTS}")
    is_path = looks_like_path(text)
    if quantization is not None:
        choices = make_choices(quantization)
        made = quantize_to_store(text, choices, name=str(passing), store=store, progress=progress, offline=offline)
    elif is_path and not find_gguf_files(Path(text)):
        made = convert_to_store(text, name=str(passing), store=store, progress=progress)
    elif is_path:
        made = pull(text, name=str(passing), store=store, progress=progress)
    else:
        manifest = locate(text, store=store, progress=progress, offline=offline).manifest
        assert manifest is not None  # it is no file
        yield manifest
        return
    try:
        yield made
    finally:
        store.remove(made.name)


@contextlib.contextmanager
def _adapter(
    text: str | None, wanted: Name, base: Manifest, folder: Path, store: ModelStore, progress: Progress
) -> Iterator[tuple[StoredFile, ...]]:
    """The files of the adapter that a recipe names: a stored one, a GGUF file, or a folder that PEFT wrote."""
    if text is None:
        yield ()
        return
    text, passing = _meant(text, folder, store), replace(wanted, tag=f"{wanted.tag}-adapter{PARTS}")
    if not looks_like_path(text):
        yield _adapter_files(store.get(text))
        return
    if Path(text).is_file():
        made = pull(text, name=str(passing), store=store, progress=progress)
    else:
        made = convert_adapter_to_store(Path(text), str(base.name), name=str(passing), store=store, progress=progress)
    try:
        yield _adapter_files(made)
    finally:
        store.remove(made.name)


def _adapter_files(manifest: Manifest) -> tuple[StoredFile, ...]:
    if not manifest.is_adapter:
        raise BadInputError(f"{manifest.name} is a model, no adapter", hint="ADAPTER names an adapter (LoRA)")
    return manifest.of_role("adapter")


def _meant(text: str, folder: Path, store: ModelStore) -> str:
    """A path from the recipe's folder, where a path is meant: also by the name of a folder that no model has."""
    if looks_like_path(text):
        path = folder.resolve() / Path(text).expanduser()
        if not path.exists():
            raise ModelNotFoundError(text, message=f"there is no file {path}", hint="check the path in the Modelfile")
        return str(path)
    is_stored = is_name(text) and store.find(parse_name(text)) is not None
    is_there = "://" not in text and (folder / text).exists()
    return str(folder.resolve() / text) if is_there and not is_stored else text


def _store(
    wanted: Name, recipe: Recipe, base: Manifest, adapter: tuple[StoredFile, ...], store: ModelStore
) -> Manifest:
    """The manifest: files of the base, those that the recipe replaces left out, and the recipe's own."""
    texts = {role: found for role, found in _texts(recipe, base, store).items() if found is not None}
    replaced = {*texts, *(["adapter"] if adapter else [])}
    kept = [file for file in base.files if file.role not in replaced]
    with made_in(f"{DEED} {wanted}", store) as folder:
        written = [_write(folder, role, text) for role, found in texts.items() for text in found]
        files = (*kept, *adapter, *(file for file, _ in written))
        name = recipe.base if base.name.tag.endswith(PARTS) else base.name
        manifest = Manifest(
            wanted,
            files,
            base.source,
            replace(base.facts, has_template=base.facts.has_template or recipe.template is not None),
            base.license,
            (*base.lineage, f"{DEED} from {name}"),
            created_at=time.time(),
        )
        with store.changing():
            for file, path in written:
                store.blobs.adopt(path, file.digest)
            return store.add(manifest, replace=True)


def _texts(recipe: Recipe, base: Manifest, store: ModelStore) -> Mapping[str, list[str] | None]:
    """What is to be stored beside the weights, by role; None where that of the base stays."""
    messages = [{"role": role, "content": text} for role, text in recipe.messages]
    parameters = {**_json(store.text(base, "parameters"), {}), **recipe.parameters}
    return {
        "template": None if recipe.template is None else [recipe.template],
        "system": None if recipe.system is None else [recipe.system],
        "parameters": [json.dumps(parameters)] if recipe.parameters else None,
        "messages": [json.dumps(messages)] if messages else None,
        "license": list(recipe.licenses) or None,
    }


def _write(folder: Path, role: str, text: str) -> tuple[StoredFile, Path]:
    path = folder / f"{role}-{len(list(folder.iterdir()))}.txt"
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    return StoredFile(role, digest_of(path), path.stat().st_size, path.name), path


def _was_created(manifest: Manifest) -> bool:
    return bool(manifest.lineage) and manifest.lineage[-1].startswith(f"{DEED} ")


def _json(text: str | None, empty: Any) -> Any:
    """What was stored as JSON; `empty` for what is none, or is of another kind: nobody vouches for it."""
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return empty
    return found if isinstance(found, type(empty)) else empty
