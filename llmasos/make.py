"""Making: what is converted or quantized becomes a stored model. The joint between the store and what makes models."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmasos.conversion.provenance import Provenance
from llmasos.engine.trial import require_trial
from llmasos.formats.gguf import read_header
from llmasos.progress import Progress
from llmasos.quantization.prepared import Prepared
from llmasos.store.blobs import digest_of
from llmasos.store.manifests import Facts, Manifest, StoredFile, facts_of
from llmasos.store.references import Name
from llmasos.store.store import ModelStore, incoming_lock

Judge = Callable[[Path], None]  # looks at a file that was made, and raises if it is not to be kept


@dataclass(frozen=True, slots=True)
class Origin:
    """What a model is made of, as the manifest will tell it: `name` as its last deed names it, `lineage` those before.

    `companions` are stored files that the model keeps, such as a template.
    """

    name: str
    source: str
    license: str | None = None
    lineage: tuple[str, ...] = ()
    companions: tuple[StoredFile, ...] = ()


def store_converted(
    prepared: Prepared,
    name: Name,
    provenance: Provenance,
    *,
    store: ModelStore,
    progress: Progress,
    replace: bool = False,
    judge: Judge | None = None,
) -> Manifest:
    """Writes what was prepared of a checkpoint, tries it, and stores it under a name. Raises as `store_prepared`."""
    origin = Origin(provenance.source, provenance.source, provenance.license)
    return store_prepared(
        prepared, name, origin, "converted", store=store, progress=progress, replace=replace, judge=judge
    )


def store_prepared(
    prepared: Prepared,
    name: Name,
    origin: Origin,
    deed: str,
    *,
    store: ModelStore,
    progress: Progress,
    replace: bool = False,
    judge: Judge | None = None,
) -> Manifest:
    """Writes what was prepared, tries it, and stores it under a name; `deed` is what was done, such as `quantized`.

    Raises what `Prepared.write`, the trial and `judge` raise, NameTakenError if another model has the name, unless
    `replace`.
    """
    with made_in(f"{name} {origin.source} {prepared.type_name}", store) as folder:
        [path] = prepared.write(folder / f"{name.name}.gguf", progress=progress)
        progress.note("trying the file")
        require_trial([path], store.home.trials)
        if judge:
            judge(path)
        facts = facts_of([read_header(path)])
        return store_file(
            path,
            name,
            source=origin.source,
            facts=facts,
            license=origin.license,
            lineage=(*origin.lineage, f"{deed} to {facts.quantization} from {origin.name}"),
            companions=origin.companions,
            store=store,
            replace=replace,
        )


def store_file(
    path: Path,
    name: Name,
    *,
    source: str,
    facts: Facts,
    store: ModelStore,
    role: str = "weights",
    license: str | None = None,
    lineage: tuple[str, ...] = (),
    companions: tuple[StoredFile, ...] = (),
    replace: bool = False,
) -> Manifest:
    """Moves a file that was made into the store and gives it a name; `companions` are there already.

    Raises NameTakenError if another model has it, unless `replace`.
    """
    file = StoredFile(role, digest_of(path), path.stat().st_size, path.name)
    manifest = Manifest(name, (file, *companions), source, facts, license, lineage, created_at=time.time())
    with store.changing():
        store.blobs.adopt(path, file.digest)
        return store.add(manifest, replace=replace)


@contextlib.contextmanager
def made_in(what: str, store: ModelStore) -> Iterator[Path]:
    """A folder of one's own in `incoming` to make a model in, gone afterwards; what a kill leaves, `prune` finds."""
    key = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()
    with store.lock(incoming_lock(key)):
        folder = store.home.incoming / key
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
