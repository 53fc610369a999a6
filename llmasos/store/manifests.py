"""Manifests: which blobs make a model, and what is known of it, as small JSON files that are replaced whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from llmasos.errors import CorruptModelError, UsageError
from llmasos.formats.gguf import GgufHeader
from llmasos.formats.purpose import purpose_of
from llmasos.store.blobs import DIGEST
from llmasos.store.references import Name, parse_name

FORMAT_VERSION = 1
ROLES = (
    "weights", "projector", "adapter", "draft", "control_vector",
    "template", "system", "parameters", "messages", "license", "checkpoint",
)  # fmt: skip
PARTS = ("adapter", "control_vector")  # roles of what is stored by itself and used with a model


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One blob of a model: its purpose, digest (`sha256:` and 64 hex digits), bytes, and its name at the source."""

    role: str
    digest: str
    size: int
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the model's own header says; None or `unknown` where it says nothing."""

    architecture: str = "unknown"
    quantization: str = "unknown"
    parameters: int | None = None
    context_length: int | None = None
    has_template: bool = False
    purpose: str = "unknown"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A stored model. `files` of role `weights` stand in the order of the shards."""

    name: Name
    files: tuple[StoredFile, ...]
    source: str
    facts: Facts = Facts()
    license: str | None = None
    lineage: tuple[str, ...] = ()
    created_at: float = field(default_factory=time.time)

    @property
    def weights(self) -> tuple[StoredFile, ...]:
        return self.of_role("weights")

    @property
    def kind(self) -> str:
        """`model`; or `adapter` or `control_vector` for one by itself, which runs only with a model."""
        roles = {file.role for file in self.files}
        return "model" if "weights" in roles else next((each for each in PARTS if each in roles), "model")

    @property
    def is_adapter(self) -> bool:
        return self.kind == "adapter"

    def of_role(self, role: str) -> tuple[StoredFile, ...]:
        return tuple(file for file in self.files if file.role == role)

    @property
    def size(self) -> int:
        """In bytes, of all files."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """The digest of the first weights, or of the first file where there are none."""
        return (self.weights or self.files)[0].digest

    def named(self, name: Name) -> Manifest:
        return replace(self, name=name)


def facts_of(headers: Sequence[GgufHeader]) -> Facts:
    """What `list` and `show` say of a model, from the headers of its shards."""
    first = headers[0]
    return Facts(
        architecture=first.architecture,
        quantization=first.quantization,
        parameters=sum(header.parameter_count for header in headers),
        context_length=first.number("context_length"),
        has_template="tokenizer.chat_template" in first.metadata,
        purpose=purpose_of(headers).value,
    )


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON."""
    values = asdict(manifest) | {"format_version": FORMAT_VERSION, "name": str(manifest.name)}
    return json.dumps(values, indent=1) + "\n"  # ASCII: file names need not be text that UTF-8 can hold


def parse_manifest(text: str) -> Manifest:
    """JSON to manifest. Raises CorruptModelError for anything that is none."""
    try:
        return _manifest(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, UsageError) as error:
        raise CorruptModelError(
            f"a manifest can't be read: {error}", hint="`llmasos verify` names the broken ones"
        ) from error


def _manifest(values: Mapping[str, Any]) -> Manifest:
    if values["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format is version {values['format_version']}, this llmasos knows {FORMAT_VERSION}")
    files = tuple(_checked(StoredFile(**file)) for file in values["files"])
    if not files or any(file.role not in ROLES for file in files):
        raise ValueError("it names no files, or files of an unknown role")
    if not all(DIGEST.fullmatch(file.digest) and file.size >= 0 for file in files):
        raise ValueError("it names a file by what is no digest, or of no size")
    manifest = Manifest(
        name=parse_name(values["name"]),
        files=files,
        source=values["source"],
        facts=_checked(Facts(**values["facts"])),
        license=values["license"],
        lineage=tuple(values["lineage"]),
        created_at=float(values["created_at"]),
    )
    return _checked(manifest)


Value = TypeVar("Value", StoredFile, Facts, Manifest)
FIELDS = {kind: get_type_hints(kind) for kind in (StoredFile, Facts, Manifest)}


def _checked(value: Value) -> Value:
    """The dataclass, if its fields are of their types: what a JSON file holds can be anything."""
    for name, hint in FIELDS[type(value)].items():
        found = getattr(value, name)
        kind, items = (get_args(hint)[0], found) if get_origin(hint) is tuple else (hint, (found,))
        if not all(isinstance(item, kind) and isinstance(item, bool) == (kind is bool) for item in items):
            raise TypeError(f"its {name} can't be {found!r}")
    return value
