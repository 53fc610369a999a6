"""The Ollama registry's side of the stand-in hub: manifests by name and tag, blobs by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .answers import Answer, json_answer, redirect, text_answer
from .content import Content, content_of

_MANIFEST = re.compile(r"/v2/([^/]+/[^/]+)/manifests/([^/]+)")
_BLOB = re.compile(r"/v2/[^/]+/[^/]+/blobs/sha256:([0-9a-f]{64})")


class OllamaRegistry:
    def __init__(self, cdn_url: Callable[[Content, str], str]) -> None:
        self._cdn_url = cdn_url  # where a content can be had, under a file's name
        self._manifests: dict[tuple[str, str], str] = {}
        self._blobs: dict[str, Content] = {}

    def add(self, name: str, tag: str, layers: Sequence[tuple[str, bytes | Path]], config: Mapping[str, object]) -> str:
        """Layers are (kind, source) in the manifest's order; the manifest's digest comes back."""
        contents = [(kind, content_of(source)) for kind, source in layers]
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{content.sha256}" for _, content in contents]}
        configuration = content_of(json.dumps({**config, "rootfs": rootfs}).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": _descriptor("application/vnd.docker.container.image.v1+json", configuration),
            "layers": [_descriptor(f"application/vnd.ollama.image.{kind}", content) for kind, content in contents],
        }
        self._blobs.update({content.sha256: content for _, content in [*contents, ("config", configuration)]})
        self._manifests[name, tag] = json.dumps(manifest)
        return content_of(self._manifests[name, tag].encode()).sha256

    def answer(self, path: str) -> Answer:
        if asked := _MANIFEST.fullmatch(path):
            return self._manifest(asked[1], asked[2])
        if (asked := _BLOB.fullmatch(path)) and asked[1] in self._blobs:
            return redirect(307, self._cdn_url(self._blobs[asked[1]], ""))
        return _error("BLOB_UNKNOWN" if "/blobs/" in path else "NAME_UNKNOWN", {})

    def _manifest(self, name: str, tag: str) -> Answer:
        manifest = self._manifests.get((name, tag))
        if manifest is None:
            return _error("MANIFEST_UNKNOWN", {"Tag": tag})
        return text_answer(200, manifest)  # as plain text, which is what the registry says (ollama#6470)


def _descriptor(media_type: str, content: Content) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{content.sha256}", "size": content.size}


def _error(code: str, detail: Mapping[str, str]) -> Answer:
    message = code.replace("_", " ").lower()
    return json_answer(404, {"errors": [{"code": code, "message": message, "detail": dict(detail)}]})
