"""From an HTTP request to a model and back: whole responses, streams, and clients that go before the end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from llmasos.chat.messages import sound_json
from llmasos.errors import BadInputError, LlmasosError
from llmasos.openai.bodies import LOADED_WITH
from llmasos.server.manners import Manner, manner_at
from llmasos.server.models import Models, keep_alive_of, settings_of
from llmasos.settings import canonical_name

SECONDS_FOR_A_BODY = 60.0
TOO_SLOW = f"the request did not come within {SECONDS_FOR_A_BODY:.0f} seconds"
CLIENT_GONE = 499  # nobody reads it; logs do
UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # or a proxy would keep a stream back


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings. Raises BadInputError for what is none, TimeoutError if it never comes."""
    content = await asyncio.wait_for(request.body(), SECONDS_FOR_A_BODY)
    if not content:
        raise BadInputError("missing request body")
    try:
        body = sound_json(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadInputError("the body is no JSON object")
    return body


async def relay(models: Models, request: Request, *, needs_name: bool = True) -> Response:
    """The response of the model that the body names, to the path that was asked; a GET has its body in the query."""
    path, manner = request.url.path, manner_at(request.url.path)
    try:
        body: dict[str, Any] = dict(request.query_params) if request.method == "GET" else await read_body(request)
        if not needs_name and "model" not in body:
            body["model"] = models.usual()
        manifest = await models.find(body.get("model"))
        asked = {"path": path, "body": _asked(body), "key": secrets.token_hex(12), "model": body["model"]}
        pieces = models.ask(manifest, settings_of(body), asked, keep_alive_of(body))
        return await respond(pieces, request, is_streamed=_is_streamed(body, manner))
    except LlmasosError as error:
        return manner.failed(error)
    except asyncio.TimeoutError:
        return manner.told(408, TOO_SLOW)


async def respond(pieces: AsyncGenerator[Any], request: Request, *, is_streamed: bool) -> Response:
    """A response of one piece, or of all as they come. Raises what the first of them raises."""
    manner = manner_at(request.url.path)
    try:
        async with contextlib.AsyncExitStack() as unless_streamed:
            await unless_streamed.enter_async_context(contextlib.aclosing(pieces))
            first = await _unless_gone(anext(pieces), request)
            if not is_streamed:
                return JSONResponse(first)
            unless_streamed.pop_all()
            return StreamingResponse(_lines(first, pieces, manner), media_type=manner.media_type, headers=UNBUFFERED)
    except _GoneError:
        return Response(status_code=CLIENT_GONE)


def _is_streamed(body: Mapping[str, Any], manner: Manner) -> bool:
    asked = body.get("stream")
    return manner.streams if asked is None else bool(asked)


def _asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is asked: all but how it is loaded."""
    return {name: value for name, value in body.items() if canonical_name(name) not in LOADED_WITH}


class _GoneError(Exception):
    pass


async def _unless_gone(piece: Awaitable[Any], request: Request) -> Any:
    """The piece; raises _GoneError if the client goes before it is there."""
    answering = asyncio.ensure_future(piece)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise _GoneError
        return answering.result()
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _lines(first: Any, pieces: AsyncGenerator[Any], manner: Manner) -> AsyncGenerator[bytes]:
    """What is wrong after the first piece is told in the stream: its status has been sent."""
    async with contextlib.aclosing(pieces):
        try:
            yield manner.line(first)
            async for piece in pieces:
                yield manner.line(piece)
        except LlmasosError as error:
            yield manner.line(manner.failure(error)[1])
            return
    yield manner.ending
