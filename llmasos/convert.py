"""Converting on request: a checkpoint, in a folder or a repository, to a stored model or to a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmasos.conversion.adapter import Base, base_of_folder, base_of_gguf, convert_adapter, prepare_adapter
from llmasos.conversion.convert import prepare
from llmasos.conversion.provenance import Provenance, provenance_of
from llmasos.conversion.types import AUTO, as_choices, find_type
from llmasos.errors import BadInputError, ModelNotFoundError
from llmasos.files import replaceable
from llmasos.formats.gguf import read_header
from llmasos.importance import YET_TO_BE_MADE, find_importance, make_importance, require_quantized
from llmasos.make import Judge, made_in, store_converted, store_file
from llmasos.progress import Progress
from llmasos.pull import fetched_checkpoint
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Importance
from llmasos.resolve import resolve, source_for
from llmasos.sources.local import find_checkpoint, find_gguf_files
from llmasos.sources.source import Listing, Source
from llmasos.store.blobs import digest_of
from llmasos.store.catalogue import near_names
from llmasos.store.manifests import Manifest, facts_of
from llmasos.store.references import (
    Name,
    Reference,
    is_name,
    looks_like_path,
    parse_name,
    parse_reference,
    suggested_name,
)
from llmasos.store.store import ModelStore, name_taken

ADAPTER_TYPE = "F32"  # adapters are small, and this loses nothing


@dataclass(frozen=True, slots=True)
class ListedCheckpoint:
    """A checkpoint that a source offers; nothing of it is here yet, unless it lies on this disk."""

    reference: Reference
    source: Source
    listing: Listing

    @property
    def provenance(self) -> Provenance:
        return Provenance(suggested_name(self.reference).name, self.listing.source, self.listing.license)


def convert_to_store(
    text: str,
    wanted_type: str | Choices = AUTO,
    *,
    imatrix: str | None = None,
    name: str | None = None,
    store: ModelStore | None = None,
    progress: Progress | None = None,
    judge: Judge | None = None,
) -> Manifest:
    """Stores the GGUF of a checkpoint, under `name` or one made of the checkpoint's and the type's.

    What is wanted is a type, or choices of types in full; `imatrix` is the file of an importance matrix, or `auto` for
    one that the model makes. An earlier conversion of the same checkpoint is replaced.
    Raises NameTakenError if another model has the name, and what `conversion.convert` and the source raise.
    """
    store, progress = store or ModelStore(), progress or Progress()
    reference = _reference(text, store)
    choices = _wanted_choices(reference, wanted_type)
    wanted = parse_name(name) if name else _name_for(reference, choices.mix)
    with store.lock(
        f"pull {wanted}", waiting=lambda: progress.note(f"another llmasos is making {wanted}; waiting for it")
    ):
        listed = _list_files(reference)
        present = store.find(wanted)
        if present and _without_revision(present.source) != _without_revision(listed.listing.source):
            raise name_taken(present)
        with _fetched(listed, choices.mix, store, progress) as folder:
            importance = _importance(imatrix, choices, folder, store, progress)
            prepared = prepare(folder, choices, importance, provenance=listed.provenance)
            return store_converted(
                prepared,
                wanted,
                listed.provenance,
                store=store,
                progress=progress,
                replace=present is not None,
                judge=judge,
            )


def convert_to_file(
    text: str,
    output: Path,
    wanted_type: str | Choices = AUTO,
    *,
    imatrix: str | None = None,
    split_max_bytes: int = 0,
    store: ModelStore | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Writes the GGUF of a checkpoint, in parts if it is to be split, and returns the files. Raises as above."""
    store, progress = store or ModelStore(), progress or Progress()
    reference = _reference(text, store)
    choices = _wanted_choices(reference, wanted_type)
    replaceable(output)  # told before anything is fetched
    listed = _list_files(reference)
    with _fetched(listed, choices.mix, store, progress) as folder:
        importance = _importance(imatrix, choices, folder, store, progress)
        prepared = prepare(folder, choices, importance, provenance=listed.provenance)
        return prepared.write(output, split_max_bytes=split_max_bytes, progress=progress)


@contextlib.contextmanager
def converted_for_now(text: str, store: ModelStore, progress: Progress) -> Iterator[Sequence[Path]]:
    """The GGUF of a checkpoint in 16 bits for as long as something is done with it. Raises as above."""
    listed = _list_files(_reference(text, store))
    with _fetched(listed, AUTO, store, progress) as folder, _in_sixteen_bits(folder, store, progress) as paths:
        yield paths


@contextlib.contextmanager
def _in_sixteen_bits(folder: Path, store: ModelStore, progress: Progress) -> Iterator[Sequence[Path]]:
    with made_in(f"{folder.resolve()} for now", store) as place:
        yield prepare(folder).write(place / f"{folder.resolve().name}.gguf", progress=progress)


def _importance(
    wanted: str | None, choices: Choices, folder: Path, store: ModelStore, progress: Progress
) -> Importance | None:
    if wanted is None:
        return None
    require_quantized(choices)
    identity = _identity(folder) if wanted == AUTO else ""
    if found := find_importance(wanted, identity, store.home):
        return found
    prepare(folder, choices, YET_TO_BE_MADE)  # what is in the way is told before the model reads for minutes
    with _in_sixteen_bits(folder, store, progress) as paths:
        return make_importance(paths, identity, store.home, progress)


def _identity(folder: Path) -> str:
    """What stands for the bytes of a checkpoint."""
    return " ".join(f"{path.name} {digest_of(path)}" for path in sorted(folder.iterdir()) if path.is_file())


def convert_adapter_to_store(
    folder: Path,
    base: str,
    type_name: str = ADAPTER_TYPE,
    *,
    name: str | None = None,
    store: ModelStore | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Stores the GGUF of an adapter that PEFT wrote to a folder, for the model `base`, under `name` or the folder's.

    An earlier conversion of the same folder is replaced. Raises what `find_base` and `conversion.adapter` raise, and
    NameTakenError if another model has the name.
    """
    store, progress = store or ModelStore(), progress or Progress()
    wanted = parse_name(name) if name else suggested_name(parse_reference(str(folder.resolve())))
    source = provenance_of(folder).source
    with store.lock(f"pull {wanted}"):
        present = store.find(wanted)
        if present and present.source != source:
            raise name_taken(present)
        prepared = prepare_adapter(folder, find_base(base, store), type_name)
        with made_in(f"{wanted} {source} {prepared.type_name}", store) as place:
            [path] = prepared.write(place / f"{wanted.name}.gguf", progress=progress)
            return store_file(
                path,
                wanted,
                source=source,
                facts=facts_of([read_header(path)]),
                role="adapter",
                lineage=(f"converted to {prepared.type_name} from {source} for {base}",),
                store=store,
                replace=present is not None,
            )


def convert_adapter_to_file(
    folder: Path,
    base: str,
    output: Path,
    type_name: str = ADAPTER_TYPE,
    *,
    store: ModelStore | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes the GGUF of an adapter that PEFT wrote to a folder, for the model `base`. Raises as above."""
    return convert_adapter(folder, find_base(base, store or ModelStore()), output, type_name, progress=progress)


def find_base(text: str, store: ModelStore) -> Base:
    """The model that an adapter is for: a stored one, a GGUF file or a checkpoint's folder.

    Raises ModelNotFoundError if it is not here, BadInputError if it is no model that llmasos knows the tensors of.
    """
    stored = store.find(parse_name(text)) if is_name(text) and not looks_like_path(text) else None
    if stored:
        return _base_of_files(store.paths(stored), text)
    path = Path(parse_reference(text).target if looks_like_path(text) else text)
    if not path.exists():
        raise ModelNotFoundError(
            text,
            near=near_names(text, [str(each.name) for each in store.models()]),
            message=f"there is no model `{text}` here",
            hint="--base takes a stored model, a GGUF file or a checkpoint's folder",
        )
    return base_of_folder(path) if (path / "config.json").exists() else _base_of_files(find_gguf_files(path), text)


def _base_of_files(paths: Sequence[Path], text: str) -> Base:
    if not paths:
        raise BadInputError(f"{text} is no model: it has neither GGUF files nor a config.json")
    return base_of_gguf(paths)


def _reference(text: str, store: ModelStore) -> Reference:
    """What a person names; a short name stands for its first source. Raises ModelNotFoundError for an unknown one."""
    is_short = is_name(text) and "/" not in text and not looks_like_path(text)
    return resolve(text, store).sources[0].reference if is_short else parse_reference(text)


def _list_files(reference: Reference) -> ListedCheckpoint:
    source = source_for(reference, hurried=False)
    here = find_checkpoint(Path(reference.target)) if reference.scheme == "path" else None
    listing = here or source.list_files(reference)
    if not listing.is_checkpoint:
        raise BadInputError(f"{reference} holds a GGUF already", hint="only checkpoints are converted")
    return ListedCheckpoint(reference, source, listing)


def _fetched(
    listed: ListedCheckpoint, mix: str, store: ModelStore, progress: Progress
) -> contextlib.AbstractContextManager[Path]:
    return fetched_checkpoint(listed.source, listed.listing, mix, store, progress, f"fetching {listed.reference}")


def _wanted_choices(reference: Reference, wanted: str | Choices) -> Choices:
    """What was asked for, by an option or in the reference: `org/name:Q4_K_M`."""
    choices = as_choices(wanted)
    if choices.mix != AUTO or not reference.quantization:
        return choices
    return replace(choices, mix=find_type(reference.quantization))


def _name_for(reference: Reference, mix: str) -> Name:
    """`smol` for ./smol, `smol:q4_k_m` if a type was asked for."""
    name = suggested_name(reference)
    return name if mix == AUTO else replace(name, tag=mix.lower())


def _without_revision(source: str) -> str:
    return source.partition("@")[0]
