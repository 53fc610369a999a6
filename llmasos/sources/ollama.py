"""Models from an Ollama registry: the GGUF file, and what belongs to it (projector, template, system prompt, …).

`LLMASOS_OLLAMA_REGISTRY` names another registry than Ollama's own. Models that ask for a login are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from llmasos.errors import AccessDeniedError, BadInputError, ModelNotFoundError
from llmasos.sources.download import (
    TEMPORARY,
    RetryError,
    asked_wait,
    download,
    keep_asking,
    make_client,
    network_trouble,
    refuse_bad_status,
)
from llmasos.sources.other_tools import take_from_other_tools
from llmasos.sources.source import Advance, Fetched, Listing, RemoteFile
from llmasos.store.blobs import DIGEST
from llmasos.store.references import LATEST, Reference

REGISTRY = "https://registry.ollama.ai"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.ollama.image."
# A layer's type -> the role of its file here, and how that file's name ends. Other types, such as `embed`, are ignored.
ROLES = {
    "model": ("weights", ".gguf"),
    "projector": ("projector", "-projector.gguf"),
    "adapter": ("adapter", "-adapter.gguf"),
    "draft": ("draft", "-draft.gguf"),
    "template": ("template", "-template.txt"),
    "prompt": ("template", "-template.txt"),  # its name in old models
    "system": ("system", "-system.txt"),
    "params": ("parameters", "-parameters.json"),
    "messages": ("messages", "-messages.json"),
    "license": ("license", "-license.txt"),
}


class OllamaSource:
    def __init__(self, *, hurried: bool = False) -> None:
        self._hurried = hurried

    def list_files(self, reference: Reference) -> Listing:
        """The source's text ends with the first 12 digits of the manifest's digest, which `ollama list` calls ID."""
        tag = reference.tag or LATEST
        manifest = keep_asking(lambda: self._ask(reference, tag), _registry())
        blobs = f"{_registry()}/v2/{reference.target}/blobs"
        files = parse_manifest(manifest, _short(reference, tag), lambda digest: f"{blobs}/{digest}")
        return Listing(source_text(f"{reference.target}:{tag}", manifest), files)

    def fetch(self, file: RemoteFile, incoming: Path, advance: Advance) -> Fetched:
        if present := take_from_other_tools(file, advance):
            return present
        with make_client(hurried=self._hurried) as client:
            return download(file, incoming, advance, client)

    def _ask(self, reference: Reference, tag: str) -> bytes:
        """The manifest as the registry sends it."""
        address = f"{_registry()}/v2/{reference.target}/manifests/{tag}"
        try:
            with make_client(hurried=self._hurried) as client:
                response = client.get(address, headers={"Accept": MANIFEST_TYPE})
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_trouble(error, _registry()) from error
        _refuse_bad_answer(response, _short(reference, tag))
        return response.content


def parse_manifest(content: bytes, name: str, location: Callable[[str], str]) -> tuple[RemoteFile, ...]:
    """The files of a model from its manifest, registry's or local; `location` is where the blob of a digest is.

    Raises BadInputError for a manifest that can't be read, and for models that are not in GGUF.
    """
    try:
        layers = [_layer(layer) for layer in json.loads(content)["layers"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"the manifest of {name} can't be read: {error}") from error
    if any(kind == "tensor" for kind, _, _ in layers):
        raise BadInputError(
            f"{name} is stored as single tensors (for MLX), not as GGUF", hint="try another tag, or a GGUF repository"
        )
    if all(kind != "model" for kind, _, _ in layers):
        raise BadInputError(
            f"{name} holds no weights; it may run in Ollama's cloud only", hint="try a tag without `cloud`"
        )
    seen: Counter[str] = Counter()
    files = []
    for kind, digest, size in layers:
        if kind in ROLES:
            role, ending = ROLES[kind]
            seen[role] += 1
            files.append(RemoteFile(role, _file_name(name, ending, seen[role]), location(digest), size, digest))
    return tuple(files)


def source_text(model: str, manifest: bytes) -> str:
    """`ollama:library/llama3.2:1b@sha256:baf6a787fdff`"""
    return f"ollama:{model}@sha256:{hashlib.sha256(manifest).hexdigest()[:12]}"


def _layer(layer: Mapping[str, Any]) -> tuple[str, str, int]:
    """The kind of a layer (empty for one that is not Ollama's), its digest and its size."""
    digest, size = layer["digest"], layer["size"]
    if not DIGEST.fullmatch(digest) or not isinstance(size, int) or size < 0:
        raise ValueError(f"a layer has the digest {digest!r} and the size {size!r}")
    kind = layer["mediaType"].split(";")[0].strip()
    return (kind.removeprefix(LAYER) if kind.startswith(LAYER) else ""), digest, size


def _registry() -> str:
    return (os.environ.get("LLMASOS_OLLAMA_REGISTRY") or REGISTRY).rstrip("/")


def _short(reference: Reference, tag: str) -> str:
    """As Ollama's users write it: `llama3.2:1b`."""
    return f"{reference.target.removeprefix('library/')}:{tag}"


def _file_name(name: str, ending: str, number: int) -> str:
    """`llama3.2-1b.gguf`, `llama3.2-1b-license-2.txt`: blobs have no names of their own."""
    stem, dot, suffix = ending.rpartition(".")
    return f"{name.replace('/', '-').replace(':', '-')}{stem}{f'-{number}' if number > 1 else ''}{dot}{suffix}"


def _refuse_bad_answer(response: httpx2.Response, name: str) -> None:
    if response.status_code in TEMPORARY:
        raise RetryError(f"the server answers {response.status_code}", asked_wait(response))
    if response.status_code in (401, 403):
        raise AccessDeniedError(
            f"{_registry()} asks for a login to show {name}",
            hint="only public models can be pulled from an Ollama registry",
        )
    if response.status_code == 404:
        raise ModelNotFoundError(
            name,
            message=f"{_registry()} has no model {name}",
            hint="check name and tag on https://ollama.com/library",
        )
    refuse_bad_status(response, name)
