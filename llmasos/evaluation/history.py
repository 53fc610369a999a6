"""What was measured, kept: one small JSON file a result under the home's history/, which no later run changes."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmasos import __version__
from llmasos.engine.build import VERSION
from llmasos.errors import BadInputError
from llmasos.files import write_whole
from llmasos.formats.gguf import read_header
from llmasos.locate import Located
from llmasos.paths import find_home
from llmasos.store.blobs import digest_of
from llmasos.store.manifests import facts_of

FORMAT_VERSION = 1
IDENTIFIER = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Record:
    """One result. `kind` is the subcommand that made it, `date` in seconds since 1970; the rest is JSON's.

    `model` has name, digest, size in bytes, quantization and architecture; `engine` the version of its build;
    `settings` and `result` are as the subcommand's `--json` shows them.
    """

    id: str
    kind: str
    date: float
    model: Mapping[str, Any]
    engine: Mapping[str, Any]
    settings: Mapping[str, Any]
    result: Mapping[str, Any]
    format_version: int = FORMAT_VERSION


def save(kind: str, model: Located, settings: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Keeps a result and returns its id. Raises DiskFullError."""
    now = time.time()
    identifier = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{secrets.token_hex(2)}"
    engine = {"llmasos": __version__, "llama_cpp_python": VERSION}
    record = Record(identifier, kind, now, describe_model(model), engine, settings, result)
    write_whole(_path(identifier), json.dumps(asdict(record), ensure_ascii=False, indent=1) + "\n")
    return identifier


def records() -> Iterator[Record]:
    """All results that can be read, the oldest first."""
    for path in sorted(find_home().history.glob("*.json")):
        if record := _read(path):
            yield record


def find(identifier: str) -> Record:
    """The result of that id, of which the end is enough if no other has the same; `last` is the latest.

    Raises BadInputError if there is none.
    """
    known = list(records())
    found = known[-1:] if identifier == "last" else [each for each in known if each.id.endswith(identifier)]
    if len(found) != 1 or not identifier:
        fault = "several results are" if len(found) > 1 else "there is no result"
        raise BadInputError(f"{fault} `{identifier}`", hint="`llmasos eval list` shows all")
    return found[0]


def describe_model(model: Located) -> dict[str, Any]:
    """Name, digest, size and type of a model; of one in several files the digests, joined by commas."""
    facts = facts_of(list(map(read_header, model.paths))) if model.manifest is None else model.manifest.facts
    return {
        "name": model.name,
        "digest": ",".join(_digests(model)),
        "size": sum(path.stat().st_size for path in model.paths),
        "architecture": facts.architecture,
        "quantization": facts.quantization,
    }


def _digests(model: Located) -> list[str]:
    if model.manifest is not None:
        return [file.digest for file in model.manifest.weights]
    return [digest_of(path) for path in model.paths]


def _path(identifier: str) -> Path:
    return find_home().history / f"{identifier}.json"


def _read(path: Path) -> Record | None:
    """None for a file that is no result, or of a version that is still to come."""
    try:
        told = json.loads(path.read_bytes())
        record = Record(**told)
    except (OSError, ValueError, TypeError):
        return None
    is_ours = record.format_version == FORMAT_VERSION and IDENTIFIER.fullmatch(str(record.id))
    return record if is_ours and isinstance(record.model, dict) else None
