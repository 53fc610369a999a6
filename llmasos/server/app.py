"""The server as an ASGI application: routes, the gate before them, and what begins and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmasos.errors import LlmasosError
from llmasos.openai.infill import INFILL
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS
from llmasos.openai.ranking import RERANK
from llmasos.server.access import Access
from llmasos.server.gate import Gate, Limits
from llmasos.server.manners import manner_at
from llmasos.server.models import Models
from llmasos.server.ollama_routes import ollama_routes
from llmasos.server.openapi.document import document
from llmasos.server.openapi.page import page
from llmasos.server.options import ServeOptions, largest_body
from llmasos.server.relay import TOO_SLOW, relay
from llmasos.server.tokens import DETOKENIZE, INFO, STATUS, TEMPLATE, TOKENIZE
from llmasos.store.manifests import Manifest

OWN_PAGES = r"https?://(localhost|127\.\d+\.\d+\.\d+|\[::1\]|[a-z0-9.-]+\.localhost)(:\d+)?"

NOTHING_ELSE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


def build_app(options: ServeOptions, access: Access, models: Models) -> ASGIApp:
    """All of it. `models` is closed when the application ends."""

    async def models_listed(request: Request) -> Response:
        found = [_described(manifest) for manifest in models.store.models() if manifest.weights]
        return JSONResponse({"object": "list", "data": found})

    async def model_described(request: Request) -> Response:
        return JSONResponse(_described(models.store.get(request.path_params["name"])))

    async def asked(request: Request) -> Response:
        return await relay(models, request)

    async def asked_unnamed(request: Request) -> Response:
        return await relay(models, request, needs_name=False)

    async def status(request: Request) -> Response:
        return JSONResponse({"models": await models.status()})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await models.close()

    limits = Limits(options.parallel + options.max_queue, options.max_requests_per_key, largest_body(options))
    return Starlette(
        routes=[
            Route("/health", _healthy),
            Route("/v1/health", _healthy),
            Route("/openapi.json", _described_to_programs),
            Route("/docs", _described_to_people),
            *(Route(path, asked, methods=["POST"]) for path in (CHAT, COMPLETIONS, EMBEDDINGS, RERANK)),
            *(Route(path, asked_unnamed, methods=["POST"]) for path in (INFILL, TOKENIZE, DETOKENIZE, TEMPLATE)),
            Route(INFO, asked_unnamed, methods=["GET", "POST"]),
            Route(STATUS, status),
            Route("/v1/models", models_listed),
            Route("/v1/models/{name:path}", model_described),
            *ollama_routes(models),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=list(options.allow_origin),
                allow_origin_regex=OWN_PAGES,
                allow_methods=["GET", "POST", "DELETE", "HEAD", "OPTIONS"],
                allow_headers=["*"],
            ),
            Middleware(Gate, access, limits),
        ],
        exception_handlers={
            404: _no_route,
            405: _no_method,
            LlmasosError: _failed,
            ClientDisconnect: _gone,
            asyncio.TimeoutError: _late,
            Exception: _fault,
        },
        lifespan=lifespan,
    )


async def _healthy(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _described_to_programs(request: Request) -> Response:
    return JSONResponse(document())


async def _described_to_people(request: Request) -> Response:
    return HTMLResponse(page(document()), headers=NOTHING_ELSE)


async def _no_route(request: Request, error: Exception) -> Response:
    return manner_at(request.url.path).told(404, f"there is nothing at {request.url.path}")


async def _no_method(request: Request, error: Exception) -> Response:
    return manner_at(request.url.path).told(405, f"{request.url.path} does not take {request.method}")


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, LlmasosError)
    return manner_at(request.url.path).failed(error)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _late(request: Request, error: Exception) -> Response:
    return manner_at(request.url.path).told(408, TOO_SLOW)


async def _fault(request: Request, error: Exception) -> Response:
    return manner_at(request.url.path).told(500, f"a fault in llmasos: {type(error).__name__}; please report it")


def _described(manifest: Manifest) -> dict[str, object]:
    return {
        "id": str(manifest.name),
        "object": "model",
        "created": int(manifest.created_at),
        "owned_by": manifest.name.namespace or "library",
    }
