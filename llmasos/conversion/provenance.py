"""Where a model comes from, as the metadata of its GGUF says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Hugging Face's cache: models--org--name/snapshots/<commit>
CACHED = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})$")


@dataclass(frozen=True, slots=True)
class Provenance:
    """`source` is a reference in full, with the commit: `hf:org/name@<commit>`, or `file:<path>`."""

    name: str
    source: str
    license: str | None = None

    def metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"general.type": "model", "general.name": self.name, "llmasos.source": self.source}
        if self.license:
            metadata["general.license"] = self.license
        if repository := re.match(r"hf:([^:@]+)", self.source):
            metadata["general.source.repo_url"] = f"https://huggingface.co/{repository[1]}"
        return metadata


def provenance_of(folder: Path) -> Provenance:
    """What a folder's own place tells: a repository and its commit in Hugging Face's cache, else its name."""
    folder = folder.resolve()
    if cached := CACHED.search(folder.as_posix()):
        return Provenance(cached["name"], f"hf:{cached['owner']}/{cached['name']}@{cached['commit']}")
    return Provenance(folder.name, f"file:{folder}")
