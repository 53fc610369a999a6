"""A stand-in for the places that models come from: the Hugging Face hub, the Ollama registry and plain web servers.

One HTTP/1.1 server on 127.0.0.1 speaks all three, as far as clients look, and misbehaves on request. Large files are
redirected to a second port, as the hubs redirect to their CDN: clients tell the two apart, and keep their token to
themselves there. By hand: `python -m tests.doubles.hub --folder DIR` serves DIR/organisation/name/* as repositories.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from urllib.parse import quote, unquote

from .answers import Answer, file_answer, text_answer
from .content import Content, content_of, contents_of
from .faults import Fault, FaultPlan
from .huggingface import HuggingFace, Repository, commit_of
from .ollama import OllamaRegistry
from .server import Exchange, Request, Server

__all__ = ["Fault", "Request", "StandInHub"]


class StandInHub:
    """Add models and faults before or while it runs; it runs inside its `with` block."""

    def __init__(self, port: int = 0) -> None:
        self._faults = FaultPlan()
        self._files: dict[str, Content] = {}
        self._cdn: dict[str, Content] = {}
        self._huggingface = HuggingFace(self._cdn_url)
        self._ollama = OllamaRegistry(self._cdn_url)
        self._exchanges: list[Exchange] = []
        self._port = port
        self._servers: list[Server] = []

    def __enter__(self) -> StandInHub:
        self._servers = [Server(port, self._answer, self._faults, self._exchanges) for port in (self._port, 0)]
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Refuses connections from now on, and cuts the ones there are."""
        for server in self._servers:
            server.close()

    @property
    def url(self) -> str:
        return self._servers[0].url

    @property
    def cdn_url(self) -> str:
        return self._servers[1].url

    def add_huggingface(
        self,
        name: str,
        files: Mapping[str, bytes | Path] | Path,
        *,
        revision: str = "main",
        license: str | None = None,
        private_token: str | None = None,
        gated: bool = False,
        granted_token: str | None = None,
        tags: Sequence[str] = (),
        gguf: Mapping[str, object] | None = None,
    ) -> str:
        """A repository, of a mapping or a folder; the commit's sha comes back. Again for the same name: a new commit.

        A private one exists for `private_token` only; of a gated one all see the list, `granted_token` the files.
        """
        commit = commit_of(contents_of(files))
        self._huggingface.add(
            Repository(
                name=name,
                commits={revision: commit, commit.sha: commit},
                license=license,
                private_token=private_token,
                gated=gated,
                granted_token=granted_token,
                tags=tuple(tags),
                gguf=gguf,
            )
        )
        return commit.sha

    def add_alias(self, alias: str, name: str) -> None:
        """What was called `alias` is redirected to `name`, as `gpt2` is to `openai-community/gpt2`."""
        self._huggingface.aliases[alias] = name

    def add_token(self, token: str) -> None:
        """A person who may read what is public. The hub refuses tokens that it does not know, even there."""
        self._huggingface.tokens.add(token)

    def add_ollama(
        self,
        name: str,
        tag: str = "latest",
        *,
        model: bytes | Path,
        projector: bytes | Path | None = None,
        adapter: bytes | Path | None = None,
        template: str | None = None,
        system: str | None = None,
        params: Mapping[str, object] | None = None,
        messages: Sequence[Mapping[str, str]] = (),
        license: str | Sequence[str] = (),
        config: Mapping[str, object] | None = None,
    ) -> str:
        """A model by `namespace/name`; the sha256 of its manifest comes back."""
        licenses = [license] if isinstance(license, str) else license
        texts = [("template", template), ("system", system), *(("license", text) for text in licenses)]
        layers: list[tuple[str, bytes | Path | None]] = [
            ("model", model),
            ("projector", projector),
            ("adapter", adapter),
            *((kind, None if text is None else text.encode()) for kind, text in texts),
            ("params", json.dumps(params).encode() if params else None),
            ("messages", json.dumps(messages).encode() if messages else None),
        ]
        present = [(kind, source) for kind, source in layers if source is not None]
        return self._ollama.add(name, tag, present, config or {"model_format": "gguf", "model_family": "llama"})

    def add_file(self, path: str, source: bytes | Path) -> str:
        """A plain file below `/files/`; its address's path comes back. Again for the same path: a new version."""
        self._files[f"/files/{path}"] = content_of(source)
        return f"/files/{path}"

    def fault(
        self, pattern: str | re.Pattern[str], fault: Fault, times: int | None = 1, *, method: str | None = None
    ) -> None:
        """Lets `fault` happen to the next `times` requests (None: to all) whose path contains or matches `pattern`.

        The bytes of LFS files and blobs come from `/cdn/<sha256>`; what is asked for first answers with a redirect.
        """
        self._faults.add(pattern, fault, times, method)

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def requests(self) -> list[Request]:
        return [exchange.request for exchange in list(self._exchanges)]

    def reset_requests(self) -> None:
        self._exchanges.clear()

    def sent_bytes(self, name: str) -> int:
        """Bytes of content sent for addresses that contain this: a file's name or path, or the sha256 of a blob."""
        found = (each for each in self.requests if name in each.path or name in unquote(each.query))
        return sum(request.sent_bytes for request in found if request.status in (200, 206))

    def _answer(self, raw_path: str, query: str, token: str | None) -> Answer:
        path = unquote(raw_path)
        if path.startswith("/v2/"):
            return self._ollama.answer(path)
        content = self._files.get(path) or self._cdn.get(path)
        if content is not None:
            return file_answer(content, content.sha256)
        if path.startswith(("/files/", "/cdn/")):
            return text_answer(404, "Not Found")
        return self._huggingface.answer(raw_path, query, token)

    def _cdn_url(self, content: Content, filename: str) -> str:
        path = f"/cdn/{content.sha256}"
        self._cdn[path] = content
        return self.cdn_url + path + (f"?filename={quote(filename)}" if filename else "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves DIR/organisation/name/* as Hugging Face repositories.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with StandInHub(arguments.port) as hub, suppress(KeyboardInterrupt):
        for folder in sorted(path for path in arguments.folder.glob("*/*") if path.is_dir()):
            hub.add_huggingface(folder.relative_to(arguments.folder).as_posix(), folder)
        sys.stdout.write(f"{hub.url}\n")
        sys.stdout.flush()
        Event().wait()


if __name__ == "__main__":
    main()
