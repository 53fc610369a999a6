"""The models that a server offers: those of the store, and those that it may pull."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import fields
from typing import Any

from llmasos.engine.options import LoadOptions
from llmasos.errors import BadInputError, DoesNotFitError, ModelNotFoundError, StoppedError, UsageError
from llmasos.formats.gguf import read_header
from llmasos.hardware.machine import Machine, read_memory, usable_cores
from llmasos.hardware.plan import Wishes, plan_offload
from llmasos.hardware.shape import read_shape
from llmasos.locate import locate
from llmasos.openai.bodies import LOADED_WITH
from llmasos.runner.runner import Patience, Runner
from llmasos.server.making import require_public
from llmasos.server.options import ServeOptions, seconds_of
from llmasos.server.pool import Held, Pool
from llmasos.server.threads import in_own_thread
from llmasos.server.tokens import STATUS
from llmasos.settings import accepted, canonical_name, without_foreign_meaning
from llmasos.store.manifests import Manifest
from llmasos.store.references import is_name, parse_name
from llmasos.store.store import ModelStore

SERVING = "llmasos.server.serving:make"
SECONDS_FOR_A_STATUS = 2.0
SECONDS_TO_REPLY = 60.0  # of a runner, which says at once that it is there
USED_SHARE = 9  # of ten parts of the memory


class Models:
    """Finds, loads and asks models."""

    def __init__(self, options: ServeOptions, store: ModelStore | None = None) -> None:
        self._options, self.store = options, store or ModelStore()
        self.pool = Pool(
            self._start,
            self._need,
            _room,
            keep_alive=seconds_of(options.keep_alive),
            most=options.max_models,
            load_seconds=options.max_load_seconds,
        )

    async def find(self, text: Any) -> Manifest:
        """The stored model of that name, pulled if the server may. Raises ModelNotFoundError."""
        if not isinstance(text, str) or not text:
            raise UsageError("the request names no model", hint='such as "model": "smollm2"')
        if is_name(text) and (manifest := self.store.find(parse_name(text))):
            if manifest.weights:
                return manifest
        elif self._options.pull:
            require_public(text)
            located = await in_own_thread(lambda: locate(text, store=self.store))
            if located.manifest:
                return located.manifest
        if not is_name(text):
            raise ModelNotFoundError(text, message=f"there is no model `{text}`", hint="GET /v1/models lists them")
        return self.store.get(text)

    def usual(self) -> str | None:
        """The model that a request means which names none: the one last used, or the only one that is here."""
        if held := self.pool.held():
            return held[0].name
        names = [str(each.name) for each in self.store.models() if each.weights]
        return names[0] if len(names) == 1 else None

    async def ask(
        self, manifest: Manifest, settings: Mapping[str, Any], request: Mapping[str, Any], keep_alive: float | None
    ) -> AsyncGenerator[bytes]:
        """The pieces of what a model answers, as JSON; it is loaded for it if need be."""
        begun = time.perf_counter()
        async with self.using(str(manifest.name), settings, keep_alive=keep_alive) as held:
            load_seconds, seconds = time.perf_counter() - begun, self._options.max_request_seconds
            asked = {**request, "load_seconds": load_seconds, "seconds": seconds}
            async with contextlib.aclosing(held.runner.ask(asked)) as pieces:
                async for piece in pieces:
                    yield piece

    @contextlib.asynccontextmanager
    async def using(self, name: str, settings: Mapping[str, Any], *, keep_alive: float | None) -> AsyncIterator[Held]:
        """`Pool.use`; a model that is too large as the request wants it loaded is the fault of the request."""
        async with contextlib.AsyncExitStack() as used:
            try:
                held = await used.enter_async_context(self.pool.use(name, settings, keep_alive=keep_alive))
            except DoesNotFitError as error:
                if not settings:
                    raise
                raise BadInputError(error.message, hint=error.hint) from error
            yield held

    async def status(self) -> list[dict[str, Any]]:
        """Of each model in memory: its process, who uses it, and what it works on (null if it does not say so soon)."""
        return [
            {"model": held.name, "pid": held.runner.pid, "requests": held.users, **await _work_of(held)}
            for held in self.pool.held()
        ]

    async def close(self) -> None:
        await self.pool.close()

    async def _start(self, name: str, settings: Mapping[str, Any]) -> Runner:
        setup = {"model": name, "loading": dict(settings), "parallel": self._options.parallel}
        return await Runner.start(SERVING, setup, name=name, patience=Patience(reply=SECONDS_TO_REPLY))

    def _need(self, name: str, settings: Mapping[str, Any]) -> int:
        """Bytes for the weights, a cache for as long a context as is planned, and computing, as if all were here."""
        shape = read_shape([read_header(path) for path in self.store.paths(self.store.get(name))])
        total, _ = read_memory()
        wishes = Wishes(context_length=settings.get("context_length"), batch_size=settings.get("batch_size") or 512)
        return plan_offload(shape, Machine(total, total, usable_cores()), wishes).total_bytes


async def _work_of(held: Held) -> dict[str, Any]:
    try:
        async with contextlib.aclosing(held.runner.ask({"path": STATUS})) as pieces:
            found: dict[str, Any] = json.loads(await asyncio.wait_for(anext(pieces), SECONDS_FOR_A_STATUS))
            return found
    except (StoppedError, asyncio.TimeoutError):
        return {"sequences": None}


def settings_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a body, or Ollama's `options` in it, says of how the model is to be loaded, by our names.

    Raises UsageError for what can't be.
    """
    known = {each.name: each for each in fields(LoadOptions)}
    options = body.get("options")
    given: dict[str, Any] = {}
    for name, value in {**body, **(options if isinstance(options, Mapping) else {})}.items():
        ours = canonical_name(name)
        if ours in LOADED_WITH and (meant := without_foreign_meaning(ours, value)) is not None:
            given[ours] = accepted(LoadOptions, known[ours], meant, name)
    return given


def keep_alive_of(body: Mapping[str, Any]) -> float | None:
    value = body.get("keep_alive")
    return None if value is None else seconds_of(value)


def _room() -> int:
    return read_memory()[0] * USED_SHARE // 10
