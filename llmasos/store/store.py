"""The store: models on this disk, by name. Nothing half-finished is ever visible in it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import BadInputError, BusyError, CorruptModelError, ModelNotFoundError, NameTakenError
from llmasos.files import write_whole
from llmasos.paths import Home, find_home
from llmasos.store.blobs import DIGEST, Blobs, bytes_held, digest_of
from llmasos.store.catalogue import near_names
from llmasos.store.manifests import Manifest, StoredFile, manifest_text, parse_manifest
from llmasos.store.references import Name, parse_name

NO_NAMESPACE = "_"


@dataclass(frozen=True, slots=True)
class Damage:
    """A stored file that is not what its manifest says: `problem` is `missing` or `changed`."""

    name: Name
    file: StoredFile
    problem: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` deleted, or would delete."""

    blobs: tuple[str, ...]
    partial_files: tuple[Path, ...]
    freed_bytes: int


class ModelStore:
    """Stored models. Reading takes no lock; whatever changes the store holds its lock while it does."""

    def __init__(self, home: Home | None = None) -> None:
        self.home = home or find_home()
        self.blobs = Blobs(self.home.blobs)

    def models(self) -> list[Manifest]:
        """All whole models, by name."""
        return sorted(
            (manifest for _, manifest in self._read_all() if self.is_whole(manifest)), key=lambda each: each.name
        )

    def find(self, name: Name) -> Manifest | None:
        """The model of that name, or None; one whose files are gone counts as not there."""
        manifest = self._readable(self.manifest_path(name))
        return manifest if manifest and self.is_whole(manifest) else None

    def get(self, text: str) -> Manifest:
        """The model that a person names. Raises ModelNotFoundError with names that look like it."""
        if manifest := self.find(name := self.held(text)):
            return manifest
        raise ModelNotFoundError(
            text,
            message=f"model `{text}` is damaged: {self._problem(self.manifest_path(name))}",
            hint=f"remove it with `llmasos rm {name}` and pull it again",
        )

    def held(self, text: str) -> Name:
        """The name of a model that is here, whole or damaged. Raises ModelNotFoundError with near names."""
        if self.manifest_path(name := parse_name(text)).exists():
            return name
        names = [str(manifest.name) for _, manifest in self._read_all()]
        raise ModelNotFoundError(text, near=near_names(text, names), message=f"model `{text}` is not installed")

    def paths(self, manifest: Manifest, role: str = "weights") -> list[Path]:
        return [self.blobs.path(file.digest) for file in manifest.of_role(role)]

    def text(self, manifest: Manifest, role: str) -> str | None:
        """The content of the first file of a role that holds text (template, system, license), or None."""
        paths = self.paths(manifest, role)
        return paths[0].read_text(encoding="utf-8", errors="replace") if paths else None

    def is_whole(self, manifest: Manifest) -> bool:
        """True if every file is there in its full length; does not read them."""
        return all(self.blobs.has(file.digest, file.size) for file in manifest.files)

    def add(self, manifest: Manifest, *, replace: bool = False) -> Manifest:
        """Makes a model visible whose blobs are all there. Call it under `changing`.

        Raises NameTakenError if another model has the name, unless `replace`.
        """
        present = self.find(manifest.name)
        if present and not replace and present.files != manifest.files:
            raise name_taken(present)
        write_whole(self.manifest_path(manifest.name), manifest_text(manifest))
        return manifest

    def copy(self, source: Name, target: Name) -> Manifest:
        """A second name for the same files."""
        with self.changing():
            return self.add(self.get(str(source)).named(target))

    def remove(self, name: Name) -> int:
        """Removes a model and every blob that no other model uses; returns the bytes that this freed."""
        with self.changing():
            path = self.manifest_path(self.held(str(name)))
            manifest = self._readable(path)
            path.unlink(missing_ok=True)
            _remove_empty_folders(path.parent, self.home.manifests)
            used = self._used_digests()
            gone = {file.digest for file in manifest.files} - used if manifest else set()
            return sum(map(self._remove_blob, gone))

    def verify(self, manifest: Manifest, advance: Callable[[int], None] = lambda done: None) -> list[Damage]:
        """Reads every file of a model again; `advance` is told of bytes read in all."""
        damages, done = [], 0
        for file in manifest.files:
            if not self.blobs.has(file.digest):
                damages.append(Damage(manifest.name, file, "missing"))
                continue
            before = done
            found = digest_of(self.blobs.path(file.digest), lambda part, before=before: advance(before + part))  # type: ignore[misc]
            done = before + file.size
            if found != file.digest:
                damages.append(Damage(manifest.name, file, "changed"))
        return damages

    def broken(self) -> list[tuple[Path, str]]:
        """Manifests that can't be read, or that name files which are not there, with the reason."""
        return [(path, problem) for path in self._manifest_paths() if (problem := self._problem(path))]

    def manifest_path(self, name: Name) -> Path:
        """Where the manifest of that name is, or would be."""
        return self.home.manifests / (name.namespace or NO_NAMESPACE) / name.name / f"{name.tag}.json"

    def prune(self, *, older_than_seconds: float = 0.0, dry_run: bool = False) -> Pruned:
        """Deletes blobs that no model uses and downloads that nobody goes on with."""
        with self.changing():
            used = self._used_digests()
            blobs = [digest for digest in self.blobs.all() if digest not in used and not self._is_pulled(digest)]
            partials, torn = list(self._partial_files(older_than_seconds)), list(self._torn_files())
            freed = sum(map(bytes_held, [*map(self.blobs.path, blobs), *partials, *torn]))
            if not dry_run:
                for digest in blobs:
                    self._remove_blob(digest)
                for path in partials:
                    self._remove_partial(path)
                for path in torn:
                    path.unlink()
            return Pruned(tuple(blobs), (*partials, *torn), freed)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Held while blobs and manifests change, so that no pull loses a blob to a prune. Never over a download."""
        with self.lock("store", wait_seconds=600):
            yield

    @contextlib.contextmanager
    def lock(self, what: str, *, wait_seconds: float = -1, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """A lock among processes for one thing; `waiting` is called once if somebody else holds it.

        The system frees it when its holder dies. Raises BusyError after `wait_seconds`; -1 waits for ever.
        """
        import filelock  # takes 40 ms, which reading, that takes no lock, need not wait for

        self.home.locks.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.home.locks / f"{_safe_file_name(what)}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if waiting:
                waiting()
            try:
                lock.acquire(timeout=wait_seconds)
            except filelock.Timeout as error:
                raise BusyError(f"another llmasos is busy with {what}", hint="try again in a while") from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """A lock of that name that a person chose. Raises BusyError at once if another process holds it."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self.lock(f"by-name.{name}", wait_seconds=0))
            except BusyError as error:
                raise BusyError(f"another run holds the lock `{name}`") from error
            yield

    def _partial_files(self, older_than_seconds: float) -> Iterator[Path]:
        """What downloads that nobody goes on with have left."""
        for path in sorted(self.home.incoming.rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # a running one may have moved it away
                is_old = time.time() - path.lstat().st_mtime >= older_than_seconds
                if not path.is_dir() and is_old and not self._is_pulled(self._key(path)):
                    yield path

    def _torn_files(self) -> Iterator[Path]:
        """What a kill left of files that were being copied or written. Whoever holds the store's lock writes none."""
        yield from sorted(self.blobs.folder.glob(".sha256-*"))
        yield from sorted(self.home.manifests.glob("*/*/.*.json.*"))

    def _is_pulled(self, key: str) -> bool:
        """True if a running pull brings in, or counts on, the file of that key or digest."""
        try:
            with self.lock(incoming_lock(key.removeprefix("sha256:")), wait_seconds=0):
                return False
        except BusyError:
            return True

    def _remove_blob(self, digest: str) -> int:
        """Returns the bytes that this frees: none while a running pull counts on the blob."""
        with contextlib.suppress(BusyError), self.lock(incoming_lock(digest.removeprefix("sha256:")), wait_seconds=0):
            return self.blobs.remove(digest)
        return 0

    def _remove_partial(self, path: Path) -> None:
        with contextlib.suppress(BusyError), self.lock(incoming_lock(self._key(path)), wait_seconds=0):
            path.unlink(missing_ok=True)
            _remove_empty_folders(path.parent, self.home.incoming)

    def _key(self, path: Path) -> str:
        """Of a file in `incoming`: what its name, or that of its folder, begins with."""
        return path.relative_to(self.home.incoming).parts[0]

    def _problem(self, path: Path) -> str:
        """What is wrong with a manifest; empty if nothing is."""
        manifest = self._readable(path)
        if manifest is None:
            return "it can't be read"
        return "" if self.is_whole(manifest) else f"files of `{manifest.name}` are missing or cut off"

    def _manifest_paths(self) -> list[Path]:
        return sorted(self.home.manifests.glob("*/*/*.json"))

    def _readable(self, path: Path) -> Manifest | None:
        try:
            return parse_manifest(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, CorruptModelError):
            return None

    def _read_all(self) -> Iterator[tuple[Path, Manifest]]:
        for path in self._manifest_paths():
            if manifest := self._readable(path):
                yield path, manifest

    def _used_digests(self) -> set[str]:
        """Every digest that any manifest names, also one that only a newer llmasos can read."""
        used: set[str] = set()
        for path in self._manifest_paths():
            try:
                used.update(DIGEST.findall(path.read_text(encoding="utf-8", errors="replace")))
            except OSError as error:
                raise BadInputError(f"can't read {path}, which may name files in use: {error.strerror}") from error
        return used


def name_taken(present: Manifest) -> NameTakenError:
    """The refusal to give the name of a stored model to another one."""
    return NameTakenError(
        f"the name `{present.name}` belongs to a model from {present.source}",
        hint=f"give another with --as NAME, or remove it with `llmasos rm {present.name}`",
    )


def incoming_lock(key: str) -> str:
    """The name of the lock that a download holds whose files in `incoming/` begin with `key`."""
    return f"incoming-{key.split('.')[0]}"


def _safe_file_name(text: str) -> str:
    """A file name for any text: readable where it can be, and never another text's."""
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in text)[:80]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _remove_empty_folders(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
