"""Quantizing on request: a model, wherever and whatever it is, to a stored model or to a file of another type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from llmasos.conversion.convert import prepare
from llmasos.convert import convert_to_file, convert_to_store, converted_for_now
from llmasos.errors import LlmasosError, ModelNotFoundError, UsageError
from llmasos.files import replaceable
from llmasos.formats.gguf import GgufHeader, read_header
from llmasos.importance import (
    AUTO,
    YET_TO_BE_MADE,
    Calibration,
    collect,
    find_importance,
    make_importance,
    require_quantized,
)
from llmasos.locate import Located, locate
from llmasos.make import Judge, Origin, store_prepared
from llmasos.progress import Progress
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Importance, read_importance, write_importance
from llmasos.quantization.prepared import Prepared
from llmasos.quantization.requantize import prepare_quantization
from llmasos.resolve import resolve, source_for
from llmasos.sources.local import find_gguf_files
from llmasos.store.blobs import digest_of
from llmasos.store.catalogue import find_entry
from llmasos.store.manifests import Manifest, facts_of
from llmasos.store.references import (
    Name,
    is_name,
    looks_like_path,
    parse_name,
    parse_reference,
    suggested_name,
)
from llmasos.store.store import ModelStore, name_taken

DEED = "quantized"
FITTED = ("adapter", "control_vector")  # companions that name layers by their numbers


def quantize_to_store(
    text: str,
    choices: Choices,
    *,
    imatrix: str | None = None,
    name: str | None = None,
    store: ModelStore | None = None,
    progress: Progress | None = None,
    offline: bool = False,
    judge: Judge | None = None,
) -> Manifest:
    """Stores a model in the chosen type, under `name` or its own with the type as its tag.

    `imatrix` is the file of an importance matrix, or `auto` for one that the model makes. What was quantized from the
    same model before is replaced. A checkpoint is converted and quantized in one pass. `judge` looks at the file before
    it is kept.
    Raises NameTakenError if another model has the name, and what `locate`, `prepare_quantization` and `convert` raise.
    """
    store, progress = store or ModelStore(), progress or Progress()
    text = _meant(text, store)
    if _is_checkpoint(text, store, offline=offline):
        return convert_to_store(text, choices, imatrix=imatrix, name=name, store=store, progress=progress, judge=judge)
    located = locate(text, store=store, progress=progress, offline=offline)
    origin = _origin(located, choices)
    wanted = parse_name(name) if name else replace(_own_name(located), tag=choices.tag)
    with store.lock(
        f"pull {wanted}", waiting=lambda: progress.note(f"another llmasos is making {wanted}; waiting for it")
    ):
        present = store.find(wanted)
        if present and not _was_quantized_from(present, located, origin):
            raise name_taken(present)
        prepared = prepare_located(located, choices, imatrix=imatrix, store=store, progress=progress)
        return store_prepared(
            prepared, wanted, origin, DEED, store=store, progress=progress, replace=present is not None, judge=judge
        )


def quantize_to_file(
    text: str,
    output: Path,
    choices: Choices,
    *,
    imatrix: str | None = None,
    keep_split: bool = False,
    store: ModelStore | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> list[Path]:
    """Writes a model in the chosen type, in as many parts as it has with `keep_split`, and returns the files.

    Raises as above, and UsageError for a file that is a part of the model itself.
    """
    store, progress = store or ModelStore(), progress or Progress()
    replaceable(output)  # told before anything is fetched
    text = _meant(text, store)
    if _is_checkpoint(text, store, offline=offline):
        _require_no_parts(text, keep_split=keep_split)
        return convert_to_file(text, output, choices, imatrix=imatrix, store=store, progress=progress)
    located = locate(text, store=store, progress=progress, offline=offline)
    prepared = prepare_located(located, choices, imatrix=imatrix, keep_split=keep_split, store=store, progress=progress)
    _require_others(prepared.paths(output), located.paths)
    for adapter in located.adapters:
        progress.note(f"{adapter.name} is left out: only the model itself is written")
    return prepared.write(output, progress=progress)


def plan_quantization(
    text: str,
    choices: Choices,
    *,
    imatrix: str | None = None,
    keep_split: bool = False,
    store: ModelStore | None = None,
) -> Prepared:
    """What would be written of a model that is here; nothing is fetched and nothing written. Raises as above.

    An importance matrix that has yet to be made counts as one that knows every tensor.
    """
    store = store or ModelStore()
    text = _meant(text, store)
    if not looks_like_path(text) and not (is_name(text) and store.find(parse_name(text))):
        raise ModelNotFoundError(
            text,
            message=f"model `{text}` is not installed, and a dry run fetches nothing",
            hint=f"get it with `llmasos pull {text}`",
        )
    if _is_checkpoint(text, store, offline=True):
        _require_no_parts(text, keep_split=keep_split)
        return prepare(Path(parse_reference(text).target), choices, _planned_importance(imatrix, choices))
    located, importance = locate(text, store=store, offline=True), _planned_importance(imatrix, choices)
    return _prepare(located, choices, importance, keep_split=keep_split)


def collect_to_file(
    text: str,
    output: Path,
    calibration: Calibration,
    *,
    store: ModelStore | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> Importance:
    """Writes the importance matrix that a model makes of a text. Raises as above, and what `collect` raises."""
    store, progress = store or ModelStore(), progress or Progress()
    output = replaceable(output)
    with source_of(text, store=store, progress=progress, offline=offline) as source:
        importance = collect(source.paths, calibration, store.home, progress)
    write_importance(output, importance)
    return importance


@contextlib.contextmanager
def source_of(text: str, *, store: ModelStore, progress: Progress, offline: bool = False) -> Iterator[Located]:
    """A model as it is before it is quantized; a checkpoint in 16 bits, for as long as something is done with it.

    Raises as above.
    """
    text = _meant(text, store)
    if _is_checkpoint(text, store, offline=offline):
        with converted_for_now(text, store, progress) as paths:
            yield Located(tuple(paths), None)
    else:
        yield locate(text, store=store, progress=progress, offline=offline)


def prepare_located(
    located: Located,
    choices: Choices,
    *,
    imatrix: str | None = None,
    keep_split: bool = False,
    store: ModelStore,
    progress: Progress,
) -> Prepared:
    """What is to be written of a model. Raises as above."""
    importance = None
    if imatrix is not None:
        require_quantized(choices)
        _prepare(located, choices, YET_TO_BE_MADE)  # what is in the way is told before the model reads for minutes
        importance = importance_of(located, imatrix, store, progress)
    return _prepare(located, choices, importance, keep_split=keep_split)


def importance_of(located: Located, wanted: str, store: ModelStore, progress: Progress) -> Importance:
    """The importance matrix in the file `wanted`, or with `auto` one that the model makes, if it has not before."""
    identity = " ".join(_digests(located)) if wanted == AUTO else ""
    if found := find_importance(wanted, identity, store.home):
        return found
    return make_importance(located.paths, identity, store.home, progress)


def _digests(located: Located) -> list[str]:
    if located.manifest:
        return [file.digest for file in located.manifest.weights]
    return [digest_of(path) for path in located.paths]


def _planned_importance(wanted: str | None, choices: Choices) -> Importance | None:
    if wanted is None:
        return None
    require_quantized(choices)
    return read_importance(Path(wanted), called=wanted) if wanted != AUTO else YET_TO_BE_MADE


def _prepare(
    located: Located, choices: Choices, importance: Importance | None = None, *, keep_split: bool = False
) -> Prepared:
    """What is wrong with a stored model is told with its name."""
    try:
        return prepare_quantization(located.paths, choices, importance, keep_split=keep_split)
    except LlmasosError as error:
        for path in located.paths if located.manifest else ():
            error.rename(str(path), located.name)
            error.rename(path.name, located.name)
        raise


def _meant(text: str, store: ModelStore) -> str:
    """A folder's name counts as its path, unless a stored model has it."""
    is_stored = is_name(text) and store.find(parse_name(text)) is not None
    return f"./{text}" if not looks_like_path(text) and not is_stored and Path(text).is_dir() else text


def _is_checkpoint(text: str, store: ModelStore, *, offline: bool) -> bool:
    """True for a checkpoint's folder, and for a repository that holds one and of which nothing is stored."""
    if looks_like_path(text):
        path = Path(parse_reference(text).target)
        return path.is_dir() and not find_gguf_files(path)
    if offline or (is_name(text) and (store.find(parse_name(text)) or find_entry(text))):
        return False
    request = resolve(text, store)
    if store.find(request.name):
        return False
    references = [source.reference for source in request.sources]
    return all(source_for(each, hurried=False).list_files(each).is_checkpoint for each in references)


def _origin(located: Located, choices: Choices) -> Origin:
    headers = [read_header(path) for path in located.paths]
    quantization = facts_of(headers).quantization
    manifest = located.manifest
    if manifest is None:
        source = f"file:{located.paths[0].resolve()}"
        return Origin(f"{source} ({quantization})", source, _stated_license(headers[0]))
    companions = tuple(
        file
        for file in manifest.files
        if file.role != "weights" and not (choices.pruned_layers and file.role in FITTED)
    )
    name = f"{manifest.name} ({quantization}, {manifest.digest[:19]})"
    return Origin(name, manifest.source, manifest.license, manifest.lineage, companions)


def _stated_license(header: GgufHeader) -> str | None:
    stated = header.metadata.get("general.license")
    return stated if isinstance(stated, str) else None


def _own_name(located: Located) -> Name:
    if located.manifest:
        return located.manifest.name
    return suggested_name(parse_reference(str(located.paths[0].resolve())))


def _was_quantized_from(present: Manifest, located: Located, origin: Origin) -> bool:
    """True for what an earlier run made of the same model: only that may be replaced."""
    if located.manifest and present.name == located.manifest.name:
        return False
    *before, last = present.lineage or ("",)
    return last.startswith(f"{DEED} ") and (present.source, tuple(before)) == (origin.source, origin.lineage)


def _require_no_parts(text: str, *, keep_split: bool) -> None:
    if keep_split:
        raise UsageError(f"{text} is a checkpoint, whose parts are not a GGUF's", hint="leave out --keep-split")


def _require_others(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    for path in outputs:
        if path.exists() and any(path.samefile(each) for each in inputs):
            raise UsageError(f"{path} is the model itself", hint="write another file")
