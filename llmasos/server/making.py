"""Models that come to be by a request: pulled, or created of others. Each step is told as Ollama tells it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from starlette.requests import Request

from llmasos.create import create
from llmasos.errors import BadInputError, UsageError
from llmasos.files import disk_full_is_an_error
from llmasos.modelfile import Recipe, read_modelfile
from llmasos.progress import Progress
from llmasos.pull import pull
from llmasos.runner.frames import as_json
from llmasos.server.threads import in_own_thread
from llmasos.store.blobs import DIGEST
from llmasos.store.catalogue import find_entry
from llmasos.store.manifests import Manifest
from llmasos.store.references import is_name, looks_like_path, parse_reference
from llmasos.store.store import ModelStore

HUB = ("hf.co/", "huggingface.co/")
Line = dict[str, Any]
SECONDS_BETWEEN_LINES = 0.1
SECONDS_FOR_A_PART = 60.0  # of a file that is sent


async def pulled(text: str, store: ModelStore) -> AsyncGenerator[Line]:
    """The lines of `/api/pull`. Short names that the catalogue lacks are meant as Ollama's own registry has them."""
    reference, name = _meant(text, store)
    yield {"status": "pulling manifest"}
    async for line in _told(lambda progress: pull(reference, name=name, store=store, progress=progress)):
        yield line
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        yield {"status": status}


async def written(lines: AsyncGenerator[Line]) -> AsyncGenerator[bytes]:
    """The lines as JSON."""
    async with contextlib.aclosing(lines):
        async for line in lines:
            yield as_json(line)


async def created(body: Mapping[str, Any], store: ModelStore) -> AsyncGenerator[Line]:
    """The lines of `/api/create`."""
    name = body.get("model") or body.get("name")
    if not isinstance(name, str):
        raise UsageError("the request names no model")
    recipe, kind = recipe_in(body, store), body.get("quantize") or body.get("quantization")

    def make(progress: Progress) -> Manifest:
        return create(name, recipe, folder=store.home.blobs, quantization=kind, store=store, progress=progress)

    async for line in _told(make):
        yield line
    for status in ("writing manifest", "success"):
        yield {"status": status}


def recipe_in(body: Mapping[str, Any], store: ModelStore) -> Recipe:
    """The recipe that a body is, in fields or, of older clients, as a Modelfile. Files are blobs that were sent before.

    No path is taken from a request: it could name any file of this machine.
    """
    if isinstance(text := body.get("modelfile"), str):
        recipe = read_modelfile(text)
        if not is_name(recipe.base) or (recipe.adapter and not is_name(recipe.adapter)):
            raise UsageError("a Modelfile in a request begins with an installed model, not with a file")
        return recipe
    licenses, messages = body.get("license") or [], body.get("messages") or []
    base = _blob_of(body, "files", store) or body.get("from")
    if not isinstance(base, str) or not (base.startswith(str(store.home.blobs)) or is_name(base)):
        raise UsageError("neither 'from' or 'files' was specified")
    try:
        return Recipe(
            base,
            dict(body.get("parameters") or {}),
            template=_text(body, "template"),
            system=_text(body, "system"),
            adapter=_blob_of(body, "adapters", store),
            licenses=(licenses,) if isinstance(licenses, str) else tuple(map(str, licenses)),
            messages=tuple((str(each["role"]), str(each["content"])) for each in messages),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise BadInputError(f"the recipe can't be read: {error}") from error


async def take_blob(request: Request, digest: str, store: ModelStore) -> None:
    """Stores what a request sends under its digest. BadInputError if it has another, TimeoutError if it stops."""
    if not DIGEST.fullmatch(digest):
        raise BadInputError(f"invalid digest format: {digest[:100]}")
    store.home.incoming.mkdir(parents=True, exist_ok=True)
    place = store.home.incoming / f"{digest.removeprefix('sha256:')}.{secrets.token_hex(4)}"
    found = hashlib.sha256()
    try:
        with disk_full_is_an_error(place), place.open("wb") as file:
            parts = aiter(request.stream())
            while (part := await asyncio.wait_for(anext(parts, None), SECONDS_FOR_A_PART)) is not None:
                found.update(part)
                await asyncio.to_thread(file.write, part)
        if f"sha256:{found.hexdigest()}" != digest:
            raise BadInputError("digest does not match the content")
        with store.changing():
            store.blobs.adopt(place, digest)
    finally:
        place.unlink(missing_ok=True)


def _meant(text: str, store: ModelStore) -> tuple[str, str | None]:
    """The reference, and the name to store it under. Raises UsageError for one that requests may not use."""
    for host in HUB:
        if text.startswith(host):
            return f"hf:{text.removeprefix(host)}", None
    require_public(text)
    is_short = is_name(text) and "/" not in text
    if is_short and not find_entry(text) and not any(str(each.name) == text for each in store.models()):
        return f"ollama:{text}", text
    return text, None


def require_public(text: str) -> None:
    """Refuses files and addresses, by which a request could have this machine read what is not meant for it."""
    if looks_like_path(text) or parse_reference(text).scheme in ("path", "url"):
        raise UsageError(f"`{text[:200]}` can't be pulled by a request", hint="llmasos pull takes files and addresses")


def _blob_of(body: Mapping[str, Any], field: str, store: ModelStore) -> str | None:
    """The path of the one file that a body names by its digest; None if it names none."""
    files = body.get(field)
    if not files:
        return None
    if not isinstance(files, Mapping) or len(files) != 1:
        raise UsageError(f"{field} names one GGUF file by its digest", hint="checkpoints are converted by llmasos pull")
    [digest] = files.values()
    if not isinstance(digest, str) or not store.blobs.has(digest):
        raise BadInputError("the file's digest is of no blob that was sent", hint="POST it to /api/blobs/DIGEST first")
    return str(store.blobs.path(digest))


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if not isinstance(value, str | None):
        raise UsageError(f"{name} takes a text")
    return value or None


class _Lines(Progress):
    """Reports as lines, from the thread that makes them."""

    def __init__(self, lines: queue.SimpleQueue[Line]) -> None:
        self._lines, self._label, self._total = lines, "", 0

    def start(self, label: str, total: int | None) -> None:
        self._label, self._total = label, total or 0

    def update(self, done: int) -> None:
        self._lines.put({"status": self._label, "total": self._total, "completed": done})

    def note(self, text: str) -> None:
        self._lines.put({"status": text})


async def _told(make: Callable[[Progress], Any]) -> AsyncGenerator[Line]:
    """Does it in a thread, and tells of its progress: of many numbers the last of each tenth of a second.

    It goes on to its end if nobody listens any more: what was fetched is of use the next time.
    """
    lines = queue.SimpleQueue[Line]()
    making = in_own_thread(lambda: make(_Lines(lines)))
    while not making.done() or not lines.empty():
        await asyncio.wait([making], timeout=SECONDS_BETWEEN_LINES)
        for line in _latest(lines):
            yield line
    making.result()


def _latest(lines: queue.SimpleQueue[Line]) -> list[Line]:
    """What has come; of numbers that follow one another the last."""
    found: list[Line] = []
    while not lines.empty():
        line = lines.get()
        if found and "completed" in line and found[-1].get("status") == line["status"]:
            found.pop()
        found.append(line)
    return found
