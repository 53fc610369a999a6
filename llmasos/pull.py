"""Pulling: from a reference to a stored model. One of the two joints between the store and the sources."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from llmasos.errors import (
    AccessDeniedError,
    BadInputError,
    CorruptModelError,
    LlmasosError,
    ModelNotFoundError,
    NetworkError,
    UnsuitableTypeError,
)
from llmasos.files import require_room
from llmasos.formats.checkpoint_names import is_weights
from llmasos.formats.control_vector import is_control_vector, require_control_vector
from llmasos.formats.gguf import read_header
from llmasos.formats.lora import is_adapter, require_adapter
from llmasos.progress import Monotone, Progress
from llmasos.resolve import Request, is_from, resolve, source_for
from llmasos.sources.source import Fetched, Listing, RemoteFile, Source
from llmasos.store.blobs import digest_of
from llmasos.store.catalogue import CatalogueSource, find_entry
from llmasos.store.manifests import Manifest, StoredFile, facts_of
from llmasos.store.references import (
    Name,
    is_name,
    looks_like_path,
    parse_name,
    parse_reference,
)
from llmasos.store.store import ModelStore, incoming_lock, name_taken


def pull(
    text: str,
    *,
    name: str | None = None,
    store: ModelStore | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> Manifest:
    """Brings a model into the store unless it is there, and returns it.

    Raises ModelNotFoundError (also when `offline` forbids to look), NetworkError, AccessDeniedError, DiskFullError,
    BadInputError for files that are not what was promised, NameTakenError if another model has the name.
    """
    store, progress = store or ModelStore(), progress or Progress()
    if stored := _stored_alone(text, store):
        return stored if name is None else store.copy(stored.name, parse_name(name))
    request = resolve(text, store)
    if name is not None:
        request = replace(request, name=parse_name(name))
    if present := _present(request, store):
        return present
    if offline and not all(source.reference.scheme == "path" for source in request.sources):
        raise ModelNotFoundError(
            text,
            message=f"model `{parse_reference(text)}` is not installed, and the network is off limits",
            hint="--offline, LLMASOS_OFFLINE, HF_HUB_OFFLINE or `offline` in config.toml forbids to pull it",
        )
    with store.lock(
        f"pull {request.name}",
        waiting=lambda: progress.note(f"another llmasos is pulling {request.name}; waiting for it"),
    ):
        return _present(request, store) or _pull_from_first(request, store, progress)


def import_listing(
    source: Source, listing: Listing, name: str, *, store: ModelStore | None = None, progress: Progress | None = None
) -> Manifest:
    """Stores what a source lists, such as a model that another tool holds; returns it, also if it was here.

    Raises NameTakenError if a model from elsewhere has the name, BadInputError for files that are not sound.
    """
    store, progress = store or ModelStore(), progress or Progress()
    request = Request(parse_name(name), ())
    with store.lock(f"pull {request.name}"):
        present = store.find(request.name)
        if present is None:
            return _bring_in(source, listing, request, store, progress, label=f"importing {request.name}")
        if present.source != listing.source:
            raise name_taken(present)
        return present


def _stored_alone(text: str, store: ModelStore) -> Manifest | None:
    """The stored model of a name that means nothing but it: no catalogue and no hub could give the same."""
    if not is_name(text) or looks_like_path(text) or "/" in text or find_entry(text):
        return None
    return store.find(parse_name(text))


def _present(request: Request, store: ModelStore) -> Manifest | None:
    """The stored model of that name, if it is the one asked for."""
    manifest = store.find(request.name)
    if manifest is None:
        return None
    if not any(is_from(manifest, source.reference) for source in request.sources):
        raise name_taken(manifest)
    return manifest


def _pull_from_first(request: Request, store: ModelStore, progress: Progress) -> Manifest:
    """Tries the sources in turn; only a source that can't be reached or lacks the model lets the next one serve."""
    failures: list[LlmasosError] = []
    for index, wanted in enumerate(request.sources):
        is_last = index == len(request.sources) - 1
        try:
            manifest = _pull_from(wanted, request, store, progress, hurried=not is_last)
        except (NetworkError, ModelNotFoundError, AccessDeniedError) as error:
            failures.append(error)
            if not is_last:
                progress.note(f"{wanted.reference}: {error.message}; trying {request.sources[index + 1].reference}")
            continue
        _tell_another_quantization(request, manifest, progress)
        return manifest
    raise failures[0] if len(failures) == 1 else _all_failed(request.name, failures)


def _all_failed(name: Name, failures: Sequence[LlmasosError]) -> LlmasosError:
    """One error for all sources: worth another try if one of them could not be reached."""
    reasons = "; ".join(dict.fromkeys(error.message for error in failures))
    kind = NetworkError if any(isinstance(error, NetworkError) for error in failures) else LlmasosError
    return kind(f"no source of {name} serves: {reasons}", hint="`llmasos pull --help` shows other places to pull from")


def _tell_another_quantization(request: Request, manifest: Manifest, progress: Progress) -> None:
    if request.preferred_quantization not in (None, manifest.facts.quantization):
        progress.note(
            f"{request.name} is {manifest.facts.quantization} here; "
            f"at its first source it is {request.preferred_quantization}"
        )


def _pull_from(
    wanted: CatalogueSource, request: Request, store: ModelStore, progress: Progress, *, hurried: bool
) -> Manifest:
    source = source_for(wanted.reference, hurried=hurried)
    listing = _with_pinned_facts(source.list_files(wanted.reference), wanted)
    label = f"pulling {request.name} from {wanted.reference}"
    return _bring_in(source, listing, request, store, progress, label=label, pinned=wanted.digest)


def _bring_in(
    source: Source,
    listing: Listing,
    request: Request,
    store: ModelStore,
    progress: Progress,
    *,
    label: str,
    pinned: str | None = None,
) -> Manifest:
    """Fetches, checks and stores what a source lists. `pinned` is a digest that somebody vouches for."""
    if listing.is_checkpoint:
        return _bring_in_checkpoint(source, listing, request, store, progress, label)
    with alone_with(listing.files, store, progress):
        with progress.work(label, listing.size):
            fetched = _fetch_all(source, listing.files, store, Monotone(progress))
        try:
            manifest = _describe(request, listing, fetched)
            if manifest.weights and manifest.digest != pinned:
                _try(manifest, fetched, store, progress)
        except CorruptModelError:
            _drop(fetched)  # or the next try would find it again
            raise
        return _commit(manifest, fetched, store, progress)


def _bring_in_checkpoint(
    source: Source, listing: Listing, request: Request, store: ModelStore, progress: Progress, label: str
) -> Manifest:
    """Fetches a checkpoint and stores the GGUF that is made of it; the checkpoint itself is dropped."""
    from llmasos.conversion.convert import prepare  # NumPy, which other pulls do without
    from llmasos.conversion.provenance import Provenance
    from llmasos.conversion.types import find_type
    from llmasos.make import store_converted

    wanted_type = find_type(listing.wanted_type)  # told before anything is fetched
    provenance = Provenance(request.name.name, listing.source, request.license or listing.license)
    with fetched_checkpoint(source, listing, wanted_type, store, progress, label) as folder:
        prepared = prepare(folder, wanted_type, provenance=provenance)
        return store_converted(prepared, request.name, provenance, store=store, progress=progress)


@contextlib.contextmanager
def fetched_checkpoint(
    source: Source, listing: Listing, wanted_type: str, store: ModelStore, progress: Progress, label: str
) -> Iterator[Path]:
    """The folder of a checkpoint while something is made of it; dropped when that is done, or can't be done.

    Whether it can be converted is looked at before its weights are fetched, as far as the small files tell.
    """
    from llmasos.conversion.convert import examine_companions
    from llmasos.make import made_in

    if listing.folder is not None:
        yield listing.folder
        return
    weights = [file for file in listing.files if is_weights(file.file_name)]
    companions = [file for file in listing.files if not is_weights(file.file_name)]
    fetched: list[Fetched] = []
    with alone_with(listing.files, store, progress), made_in(listing.source, store) as folder:
        try:
            with progress.work(label, listing.size):
                total = Monotone(progress)
                fetched += _lay_out(folder, companions, _fetch_all(source, companions, store, total))
                examine_companions(folder)
                room = _room_for(folder, weights, wanted_type, store)
                require_room(store.home.incoming, room, "the model")
                fetched += _lay_out(folder, weights, _fetch_all(source, weights, store, total))
            yield folder
        except BadInputError as error:
            if not isinstance(error, UnsuitableTypeError):  # with another type the same weights may serve
                _drop(fetched)
            error.rename(str(folder), listing.source)  # it is gone by the time that somebody reads this
            raise
        _drop(fetched)


def _lay_out(folder: Path, files: Sequence[RemoteFile], fetched: list[Fetched]) -> list[Fetched]:
    """Links with the names that the files have at their source: together they are the checkpoint's folder."""
    for file, got in zip(files, fetched, strict=True):
        place = folder / file.file_name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(got.path.resolve())
    return fetched


def _room_for(folder: Path, weights: Sequence[RemoteFile], wanted_type: str, store: ModelStore) -> int:
    """Bytes that are still to come: of the weights, and about those of the GGUF that will be made of them."""
    from llmasos.conversion.config import read_config
    from llmasos.conversion.types import estimated_size

    dtype = read_config(folder).get("dtype", "torch_dtype")
    result = estimated_size(sum(file.size or 0 for file in weights), dtype, wanted_type)
    return result + sum(_still_to_come(file, store) for file in weights)


def _still_to_come(file: RemoteFile, store: ModelStore) -> int:
    """Bytes of a file that are not on this disk yet; 0 if nobody knows how many there are."""
    if file.size is None or (file.digest and store.blobs.has(file.digest, file.size)):
        return 0
    return file.size - sum(part.stat().st_size for part in store.home.incoming.glob(f"{file.key}*") if part.is_file())


def _drop(fetched: Sequence[Fetched]) -> None:
    for each in fetched:
        if each.is_ours:
            each.path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone_with(files: Sequence[RemoteFile], store: ModelStore, progress: Progress) -> Iterator[None]:
    """Lets two pulls of one file take turns, and nobody take it away, until it is stored.

    The locks are taken in the order of the keys, so that no two pulls wait for each other.
    """

    def waiting() -> None:
        progress.note("another llmasos is fetching a file of this model; waiting for it")

    with contextlib.ExitStack() as locks:
        for key in sorted({file.key for file in files}):
            locks.enter_context(store.lock(incoming_lock(key), waiting=waiting))
        yield


def _with_pinned_facts(listing: Listing, wanted: CatalogueSource) -> Listing:
    """The listing with the catalogue's digest and size, which the source must then keep to."""
    weights = [file for file in listing.files if file.role == "weights"]
    if len(weights) != 1 or wanted.digest is None:
        return listing
    pinned = replace(
        weights[0],
        digest=wanted.digest,
        size=wanted.size or weights[0].size,
        file_name=wanted.file or weights[0].file_name,
    )
    return replace(listing, files=tuple(pinned if file is weights[0] else file for file in listing.files))


def _fetch_all(source: Source, files: Sequence[RemoteFile], store: ModelStore, total: Monotone) -> list[Fetched]:
    fetched = []
    for file in files:
        fetched.append(_fetch(source, file, store, total))
        total.finish_part(fetched[-1].size)
    return fetched


def _fetch(source: Source, file: RemoteFile, store: ModelStore, total: Monotone) -> Fetched:
    """One file, unless its blob is there."""
    if file.digest and store.blobs.has(file.digest, file.size):
        path = store.blobs.path(file.digest)
        if file.size is not None or digest_of(path, total.part) == file.digest:
            return Fetched(path, file.digest, path.stat().st_size, is_ours=False)
    return _checked(file, source.fetch(file, store.home.incoming, total.part))


def _checked(file: RemoteFile, fetched: Fetched) -> Fetched:
    """The file, if it has the digest that was promised; else it is deleted."""
    if file.digest in (None, fetched.digest):
        return fetched
    if fetched.is_ours:
        fetched.path.unlink(missing_ok=True)
    raise BadInputError(f"{file.file_name} is not what was promised: its digest is {fetched.digest}, not {file.digest}")


def _describe(request: Request, listing: Listing, fetched: Sequence[Fetched]) -> Manifest:
    """The manifest; reading the headers here is what refuses a file that is no model."""
    files = tuple(
        StoredFile(file.role, got.digest, got.size, file.file_name)
        for file, got in zip(listing.files, fetched, strict=True)
    )
    headers = [
        read_header(got.path) for file, got in zip(listing.files, fetched, strict=True) if file.role == "weights"
    ]
    role = "weights"
    if is_adapter(headers[0]):
        require_adapter(headers[0], files[0].file_name)
        role = "adapter"
    elif is_control_vector(headers[0]):
        require_control_vector(headers[0], files[0].file_name)
        role = "control_vector"
    files = tuple(replace(file, role=role) if file.role == "weights" else file for file in files)
    stated = headers[0].metadata.get("general.license")
    license = request.license or listing.license or (stated if isinstance(stated, str) else None)
    return Manifest(request.name, files, listing.source, facts_of(headers), license, created_at=time.time())


def _try(manifest: Manifest, fetched: Sequence[Fetched], store: ModelStore, progress: Progress) -> None:
    from llmasos.engine.trial import require_trial  # a pull from the catalogue needs no engine

    progress.note("trying the file, since nobody vouches for it")
    paths = [got.path for file, got in zip(manifest.files, fetched, strict=True) if file.role == "weights"]
    require_trial(paths, store.home.trials)


def _commit(manifest: Manifest, fetched: Sequence[Fetched], store: ModelStore, progress: Progress) -> Manifest:
    """Files first, then the manifest: a kill between them leaves blobs for the next pull, never a broken model."""
    with store.changing():
        for got in fetched:
            if got.is_ours:
                store.blobs.adopt(got.path, got.digest)
            elif not store.blobs.has(got.digest, got.size):
                progress.note(f"{got.path.name}: {store.blobs.link(got.path, got.digest)}")
        return store.add(manifest)
