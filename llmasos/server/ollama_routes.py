"""Ollama's interface to the store and the models in memory: `/api/*`, and what its clients look for at `/`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from llmasos import __version__
from llmasos.errors import UsageError
from llmasos.ollama.asked import now, timestamp
from llmasos.ollama.bodies import CHAT, EMBED, EMBEDDINGS, GENERATE
from llmasos.ollama.described import described, details_of, shown
from llmasos.server.making import created, pulled, take_blob, written
from llmasos.server.models import Models, keep_alive_of, settings_of
from llmasos.server.pool import Held
from llmasos.server.relay import read_body, relay, respond
from llmasos.store.blobs import DIGEST
from llmasos.store.manifests import Manifest
from llmasos.store.references import parse_name

Endpoint = Callable[[Request], Awaitable[Response]]


def ollama_routes(models: Models) -> list[Route]:
    routes = _Routes(models)
    posts: dict[str, Endpoint] = {
        GENERATE: routes.generate,
        CHAT: routes.chat,
        EMBED: routes.relayed,
        EMBEDDINGS: routes.relayed,
        "/api/show": routes.show,
        "/api/copy": routes.copy,
        "/api/pull": routes.pull,
        "/api/push": routes.push,
        "/api/create": routes.create,
        "/api/blobs/{digest}": routes.take_blob,
    }
    gets: dict[str, Endpoint] = {
        "/": routes.root,
        "/api/version": routes.version,
        "/api/tags": routes.tags,
        "/api/ps": routes.ps,
    }
    return [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        *(Route(path, endpoint, methods=["GET", "HEAD"]) for path, endpoint in gets.items()),
        Route("/api/delete", routes.delete, methods=["DELETE"]),
        Route("/api/blobs/{digest}", routes.has_blob, methods=["HEAD"]),
    ]


class _Routes:
    def __init__(self, models: Models) -> None:
        self._models = models

    async def root(self, request: Request) -> Response:
        return PlainTextResponse("Ollama is running")  # the words that its clients look for

    async def version(self, request: Request) -> Response:
        return JSONResponse({"version": __version__})

    async def relayed(self, request: Request) -> Response:
        return await relay(self._models, request)

    async def generate(self, request: Request) -> Response:
        """Without a prompt the model is only loaded, or unloaded."""
        body = await read_body(request)
        if body.get("prompt") or body.get("suffix"):
            return await relay(self._models, request)
        return await self._only_loaded(body, {"response": ""})

    async def chat(self, request: Request) -> Response:
        body = await read_body(request)
        if body.get("messages"):
            return await relay(self._models, request)
        return await self._only_loaded(body, {"message": {"role": "assistant", "content": ""}})

    async def _only_loaded(self, body: Mapping[str, Any], nothing: Mapping[str, Any]) -> Response:
        manifest, keep_alive = await self._models.find(body.get("model")), keep_alive_of(body)
        if keep_alive == 0:
            await self._models.pool.unload(str(manifest.name))
        else:
            async with self._models.using(str(manifest.name), settings_of(body), keep_alive=keep_alive):
                pass
        reason = "unload" if keep_alive == 0 else "load"
        return JSONResponse(
            {"model": body["model"], "created_at": now(), **nothing, "done": True, "done_reason": reason}
        )

    async def tags(self, request: Request) -> Response:
        """The newest first."""
        store = self._models.store
        found = sorted((each for each in store.models() if each.weights), key=lambda each: -each.created_at)
        return JSONResponse({"models": [described(each) for each in found]})

    async def show(self, request: Request) -> Response:
        body = await read_body(request)
        manifest = await self._models.find(_name_in(body))
        return JSONResponse(
            await asyncio.to_thread(shown, manifest, self._models.store, is_verbose=bool(body.get("verbose")))
        )

    async def ps(self, request: Request) -> Response:
        """Those that were removed from the disk meanwhile are left out."""
        present = [(each, self._models.store.find(parse_name(each.name))) for each in self._models.pool.held()]
        return JSONResponse({"models": [self._held(each, manifest) for each, manifest in present if manifest]})

    def _held(self, held: Held, manifest: Manifest) -> dict[str, Any]:
        facts = held.runner.facts
        layers = int(facts.get("layer_count", 0)) + 1
        on_card = held.byte_count * min(int(facts.get("gpu_layers", 0)), layers) // layers
        return {
            "name": manifest.name.with_tag,
            "model": manifest.name.with_tag,
            "size": held.byte_count,
            "digest": manifest.digest.removeprefix("sha256:"),
            "details": details_of(manifest),
            "expires_at": timestamp(time.time() + held.seconds_left),
            "size_vram": on_card,
            "context_length": facts.get("context_length", 0),
        }

    async def copy(self, request: Request) -> Response:
        body = await read_body(request)
        source, target = body.get("source"), body.get("destination")
        if not isinstance(source, str) or not isinstance(target, str):
            raise UsageError("source and destination are names of models")
        await asyncio.to_thread(self._models.store.copy, parse_name(source), parse_name(target))
        return Response()

    async def delete(self, request: Request) -> Response:
        """Taken out of memory first."""
        text = _name_in(await read_body(request))
        name = self._models.store.held(text)
        await self._models.pool.unload(str(name))
        await asyncio.to_thread(self._models.store.remove, name)
        return Response()

    async def push(self, request: Request) -> Response:
        raise UsageError("llmasos gives no models away: there is nowhere to push them to")

    async def pull(self, request: Request) -> Response:
        body = await read_body(request)
        return await _made(written(pulled(_name_in(body), self._models.store)), body, request)

    async def create(self, request: Request) -> Response:
        body = await read_body(request)
        return await _made(written(created(body, self._models.store)), body, request)

    async def has_blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        is_here = DIGEST.fullmatch(digest) is not None and self._models.store.blobs.has(digest)
        return Response(status_code=200 if is_here else 404)

    async def take_blob(self, request: Request) -> Response:
        await take_blob(request, request.path_params["digest"], self._models.store)
        return Response(status_code=201)


async def _made(lines: AsyncGenerator[bytes], body: Mapping[str, Any], request: Request) -> Response:
    is_streamed = body.get("stream") is not False
    return await respond(lines if is_streamed else _last_of(lines), request, is_streamed=is_streamed)


async def _last_of(lines: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    last = b""
    async for line in lines:
        last = line
    yield last


def _name_in(body: Mapping[str, Any]) -> str:
    """Of the model; older clients call it `name`."""
    name = body.get("model") or body.get("name")
    if not isinstance(name, str):
        raise UsageError("the request names no model")
    return name
