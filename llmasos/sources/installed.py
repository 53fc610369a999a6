"""Models that other tools hold on this disk already: Ollama's, those in the Hugging Face cache, and LM Studio's.

Nothing here is changed, and nothing that is broken stops the search: it is told beside what was found.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llmasos.errors import BadInputError, LlmasosError, UsageError
from llmasos.formats.checkpoint_names import find_weights
from llmasos.formats.gguf import is_gguf
from llmasos.sources.checkpoints import choose_checkpoint_files
from llmasos.sources.local import LocalSource
from llmasos.sources.ollama import parse_manifest, source_text
from llmasos.sources.other_tools import hub_cache, lm_studio_folders, ollama_folders
from llmasos.sources.quantizations import find_variants, pick_variant, read_label
from llmasos.sources.source import Advance, Fetched, Listing, RemoteFile
from llmasos.store.references import LATEST, Reference, parse_reference, suggested_name

SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_HOSTS = ("hf.co", "huggingface.co")  # Ollama pulls from there too
OLLAMA_HOST = "registry.ollama.ai"
CARD_BYTES = 64 * 1024  # a model card states its licence at its beginning


@dataclass(frozen=True, slots=True)
class Found:
    """A model that another tool holds. `name` is the one it gets here unless the user gives another."""

    tool: str
    name: str
    source: str
    files: tuple[RemoteFile, ...]
    license: str | None = None

    @property
    def size(self) -> int:
        """In bytes, of all files."""
        return sum(file.size or 0 for file in self.files)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in a tool's folder that could not be used, and why."""

    path: Path
    reason: str


class InstalledSource:
    """Gives a model that was found as if it came from elsewhere: its files stay where they are."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def list_files(self, reference: Reference) -> Listing:
        return Listing(self._found.source, self._found.files, self._found.license)

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        fetched = LocalSource().fetch(file, incoming, advance)
        if file.digest not in (None, fetched.digest):
            raise BadInputError(
                f"{file.location} was changed or damaged since {self._found.tool} fetched it",
                hint=f"pull it again, here or with {self._found.tool}",
            )
        return fetched


def find_installed(tool: str) -> tuple[list[Found], list[Skipped]]:
    """The models of `ollama`, `huggingface` or `lmstudio`, one of each name, and what could not be used.

    Raises UsageError for another tool. A tool that is not here has no models.
    """
    if tool not in TOOLS:
        raise UsageError(f"`{tool}` is no tool that models can be taken from; {', '.join(TOOLS)} are")
    skipped: list[Skipped] = []
    found: dict[str, Found] = {}
    for model in TOOLS[tool](skipped):
        found.setdefault(model.name, model)
    return list(found.values()), skipped


def _find_ollama(skipped: list[Skipped]) -> list[Found]:
    found = []
    for folder in ollama_folders():
        manifests = folder / "manifests"
        for path in _files_below(manifests, skipped):
            place = path.relative_to(manifests).parts
            if len(place) == 4 and not path.name.startswith("."):
                with _noting(path, skipped):
                    found.append(_ollama_model(path, place, folder / "blobs"))
    return found


def _ollama_model(path: Path, place: tuple[str, ...], blobs: Path) -> Found:
    """`place` is host, namespace, name and tag."""
    host, namespace, model, tag = place
    content = path.read_bytes()
    files = parse_manifest(content, f"{model}:{tag}", lambda digest: str(blobs / digest.replace(":", "-")))
    for file in files:
        if Path(file.location).stat().st_size != file.size:
            raise BadInputError(f"the blob {file.location} is cut off")
        if file.role == "weights":
            _require_gguf(Path(file.location))
    if host in HUB_HOSTS:
        reference = parse_reference(f"hf:{namespace}/{model}" + ("" if tag == LATEST else f":{tag}"))
        return Found("ollama", str(suggested_name(reference)), reference.text, files)
    reference = parse_reference(f"ollama:{namespace}/{model}:{tag}")
    where = f"{'' if host == OLLAMA_HOST else f'{host}/'}{reference.target}:{tag}"
    return Found("ollama", str(suggested_name(reference)), source_text(where, content), files)


def _find_huggingface(skipped: list[Skipped]) -> list[Found]:
    found = []
    for folder in _entries(hub_cache(), skipped):
        if folder.name.startswith("models--"):
            for snapshot in _snapshots(folder, skipped):
                found += _snapshot_models(folder, snapshot, skipped)
    return found


def _snapshot_models(folder: Path, snapshot: Path, skipped: list[Skipped]) -> list[Found]:
    """The models of one commit of one repository: its GGUF files, or else its checkpoint."""
    repository = folder.name.removeprefix("models--").replace("--", "/")
    present = _readable_files(snapshot, skipped, inside=folder)
    license = _license_of_card(present.get("README.md"))
    found = _gguf_models("huggingface", repository, f"hf:{repository}", present, skipped, snapshot)
    with _noting(snapshot, skipped):
        if not found and "config.json" in present and find_weights(sorted(present)):
            names = choose_checkpoint_files(present, repository)
            files = tuple(_held_file("checkpoint", name, present[name]) for name in names)
            found = [Found("huggingface", _name(repository, None), f"hf:{repository}", files)]
    return [replace(each, source=f"{each.source}@{snapshot.name}", license=license) for each in found]


def _snapshots(folder: Path, skipped: list[Skipped]) -> list[Path]:
    """The commits of a repository that are here, `main` first."""
    current = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        current = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    return sorted(_entries(folder / "snapshots", skipped), key=lambda path: (path.name != current, path.name))


def _license_of_card(card: Path | None) -> str | None:
    """`license:` from the head of a model card."""
    with contextlib.suppress(OSError):
        if card and (text := card.read_bytes()[:CARD_BYTES].decode("utf-8", "replace")).startswith("---"):
            match = re.search(r"^license:\s*[\"']?([\w.-]+)", text.split("\n---")[0], re.MULTILINE)
            return match[1] if match else None
    return None


def _find_lmstudio(skipped: list[Skipped]) -> list[Found]:
    found = []
    for folder in lm_studio_folders():
        for user in _entries(folder, skipped):
            for repository in _entries(user, skipped):
                name, present = f"{user.name}/{repository.name}", _readable_files(repository, skipped)
                found += _gguf_models("lmstudio", name, f"lmstudio:{name}", present, skipped, repository)
    return found


def _gguf_models(
    tool: str, repository: str, source: str, present: Mapping[str, Path], skipped: list[Skipped], folder: Path
) -> list[Found]:
    """One model for each quantization among the files of a repository that are here."""
    found = []
    variants = find_variants(present)
    for label, names in variants.items():
        with _noting(folder / names[0], skipped):
            pick_variant({label: names}, None, repository)  # refuses a split model with a part missing
            for name in names:
                _require_gguf(present[name])
            files = tuple(_held_file("weights", name, present[name]) for name in names)
            tag = label if len(variants) > 1 or read_label(names[0]) else None
            found.append(Found(tool, _name(repository, tag), f"{source}{f':{tag}' if tag else ''}", files))
    return found


def _name(repository: str, tag: str | None) -> str:
    return str(suggested_name(Reference(repository, "hf", repository, quantization=tag)))


def _held_file(role: str, name: str, path: Path) -> RemoteFile:
    """A file of another tool, with its digest where the tool named it so."""
    named_so = path.parent.name == "blobs" and SHA256.fullmatch(path.name)
    return RemoteFile(role, name, str(path), path.stat().st_size, f"sha256:{path.name}" if named_so else None)


def _require_gguf(path: Path) -> None:
    if not is_gguf(path):
        raise BadInputError(f"{path} is not a GGUF file")


def _readable_files(folder: Path, skipped: list[Skipped], *, inside: Path | None = None) -> dict[str, Path]:
    """The files below a folder by their names in it, symlinks followed, but not out of `inside`."""
    present = {}
    for path in _files_below(folder, skipped):
        with _noting(path, skipped):
            actual = path.resolve(strict=True)
            if inside is not None and not actual.is_relative_to(inside.resolve()):
                raise BadInputError(f"it is a symlink that leads out of {inside}")
            present[path.relative_to(folder).as_posix()] = actual
    return present


def _files_below(folder: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Every file below a folder, in order; none if there is no such folder."""

    def note(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            skipped.append(Skipped(Path(error.filename), str(error.strerror)))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(names))


def _entries(folder: Path, skipped: list[Skipped]) -> list[Path]:
    """What stands in a folder; nothing if there is no such folder."""
    with _noting(folder, skipped), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


@contextlib.contextmanager
def _noting(path: Path, skipped: list[Skipped]) -> Iterator[None]:
    """Whatever goes wrong with `path` is noted, and the search goes on."""
    try:
        yield
    except LlmasosError as error:
        skipped.append(Skipped(path, error.message))
    except OSError as error:
        named = f": {error.filename}" if error.filename not in (None, str(path)) else ""
        skipped.append(Skipped(path, f"{error.strerror}{named}"))
    except RuntimeError as error:  # what a loop of symlinks is to Python before 3.13
        skipped.append(Skipped(path, str(error)))


TOOLS: Mapping[str, Callable[[list[Skipped]], list[Found]]] = {
    "ollama": _find_ollama,
    "huggingface": _find_huggingface,
    "lmstudio": _find_lmstudio,
}
