"""The catalogue: short names that people type, and where each model can be had. The data stand in `catalogue.toml`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmasos.settings import read_toml
from llmasos.store.references import Reference, parse_name, parse_reference

CATALOGUE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True, slots=True)
class CatalogueSource:
    """One place to have a model from. `size` is in bytes, `digest` `sha256:` and 64 hex digits; None where unknown."""

    reference: Reference
    quantization: str | None = None
    file: str | None = None
    size: int | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A short name and what it stands for; `sources` in order of preference."""

    name: str
    description: str
    kind: str
    license: str
    sources: tuple[CatalogueSource, ...]
    parameters: int | None = None
    context_length: int | None = None
    aliases: tuple[str, ...] = ()


@cache
def read_catalogue() -> Mapping[str, CatalogueEntry]:
    """Every entry by its name; aliases are not keys."""
    return {name: _entry(name, fields) for name, fields in read_toml(CATALOGUE).items()}


def find_entry(name: str) -> CatalogueEntry | None:
    """The entry of that name or alias, whatever the case; `smollm2:latest` is `smollm2`."""
    wanted = str(parse_name(name))
    for entry in read_catalogue().values():
        if wanted == entry.name or wanted in entry.aliases:
            return entry
    return None


def near_names(text: str, candidates: Iterable[str]) -> list[str]:
    """At most three candidates that look like `text`, the likeliest first."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    return [by_lower[match] for match in difflib.get_close_matches(text.lower(), by_lower, n=3, cutoff=0.6)]


def _entry(name: str, fields: dict[str, Any]) -> CatalogueEntry:
    sources = tuple(_source(source) for source in fields.pop("sources"))
    return CatalogueEntry(name=name, sources=sources, aliases=tuple(fields.pop("aliases", ())), **fields)


def _source(fields: dict[str, Any]) -> CatalogueSource:
    return CatalogueSource(parse_reference(fields.pop("reference")), **fields)
