"""Manifests: which blobs make a model, and what is known of it, as small JSON files that are replaced whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from llmasos.errors import CorruptModelError
from llmasos.store.references import Name, parse_name

FORMAT_VERSION = 1
ROLES = (
    "weights", "projector", "adapter", "draft", "control_vector",
    "template", "system", "parameters", "messages", "license", "checkpoint",
)  # fmt: skip


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


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON."""
    values = asdict(manifest) | {"format_version": FORMAT_VERSION, "name": str(manifest.name)}
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def parse_manifest(text: str) -> Manifest:
    """JSON to manifest. Raises CorruptModelError for anything that is none."""
    try:
        return _manifest(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptModelError(
            f"a manifest can't be read: {error}", hint="`llmasos verify` names the broken ones"
        ) from error


def _manifest(values: Mapping[str, Any]) -> Manifest:
    if values["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format is version {values['format_version']}, this llmasos knows {FORMAT_VERSION}")
    files = tuple(StoredFile(**file) for file in values["files"])
    if not files or any(file.role not in ROLES for file in files):
        raise ValueError("it names no files, or files of an unknown role")
    return Manifest(
        name=parse_name(values["name"]),
        files=files,
        source=str(values["source"]),
        facts=Facts(**values["facts"]),
        license=values["license"],
        lineage=tuple(values["lineage"]),
        created_at=float(values["created_at"]),
    )
