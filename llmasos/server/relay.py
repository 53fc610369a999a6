"""From an HTTP request to a model and back: whole responses, streams, and clients that go before the end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmasos.chat.messages import sound_json
from llmasos.errors import BadInputError, LlmasosError
from llmasos.openai.bodies import LOADED_WITH
from llmasos.runner.frames import as_json
from llmasos.server.manners import Manner, manner_at
from llmasos.server.models import Models, keep_alive_of, settings_of
from llmasos.settings import canonical_name

SECONDS_FOR_A_BODY = 60.0
TOO_SLOW = f"the request did not come within {SECONDS_FOR_A_BODY:.0f} seconds"
A_LONG_BODY = 2**18  # bytes: reading more would hold up streams
UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # or a proxy would keep a stream back

Result = TypeVar("Result")


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings. Raises BadInputError for what is none, TimeoutError if it never comes.

    Raises ClientDisconnect if the client goes before it is there.
    """
    content = await asyncio.wait_for(request.body(), SECONDS_FOR_A_BODY)
    if not content:
        raise BadInputError("missing request body")
    return await asyncio.to_thread(_object_in, content) if len(content) > A_LONG_BODY else _object_in(content)


async def relay(models: Models, request: Request, *, needs_name: bool = True) -> Response:
    """The response of the model that the body names, to the path that was asked; a GET has its body in the query."""
    path, manner = request.url.path, manner_at(request.url.path)
    body: dict[str, Any] = dict(request.query_params) if request.method == "GET" else await read_body(request)
    if not needs_name and "model" not in body:
        body["model"] = models.usual()
    manifest = await models.find(body.get("model"))
    asked = {"path": path, "body": _asked(body), "key": secrets.token_hex(12), "model": body["model"]}
    pieces = models.ask(manifest, settings_of(body), asked, keep_alive_of(body))
    return await respond(pieces, request, is_streamed=_is_streamed(body, manner))


async def respond(pieces: AsyncGenerator[bytes], request: Request, *, is_streamed: bool) -> Response:
    """A response of one piece, or of all as they come; pieces are JSON. Raises what the first of them raises.

    Raises ClientDisconnect if the client goes before there is one.
    """
    async with contextlib.AsyncExitStack() as unless_streamed:
        await unless_streamed.enter_async_context(contextlib.aclosing(pieces))
        first = await _unless_gone(anext(pieces), request.receive)
        if not is_streamed:
            return Response(first, media_type="application/json")
        unless_streamed.pop_all()
        return _Streamed(first, pieces, manner_at(request.url.path))


class _Streamed(Response):
    """Pieces as they come. If the client goes, or the server ends, the work on them ends."""

    def __init__(self, first: bytes, pieces: AsyncGenerator[bytes], manner: Manner) -> None:
        super().__init__(media_type=manner.media_type, headers=UNBUFFERED)
        del self.headers["content-length"]
        self._first, self._pieces, self._manner = first, pieces, manner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._pieces):
            with contextlib.suppress(ClientDisconnect):
                await _unless_gone(self._send(send), receive)

    async def _send(self, send: Send) -> None:
        """What is wrong after the first piece is told in the stream: its status has been sent."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        line, ending = self._manner.line, self._manner.ending
        try:
            await send({"type": "http.response.body", "body": line(self._first), "more_body": True})
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": line(piece), "more_body": True})
        except LlmasosError as error:
            ending = line(as_json(self._manner.failure(error)[1]))
        await send({"type": "http.response.body", "body": ending, "more_body": False})


def _object_in(content: bytes) -> dict[str, Any]:
    try:
        body = sound_json(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadInputError("the body is no JSON object")
    return body


def _is_streamed(body: Mapping[str, Any], manner: Manner) -> bool:
    asked = body.get("stream")
    return manner.streams if asked is None else bool(asked)


def _asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is asked: all but how it is loaded."""
    return {name: value for name, value in body.items() if canonical_name(name) not in LOADED_WITH}


async def _unless_gone(work: Awaitable[Result], receive: Receive) -> Result:
    """What comes of the work; raises ClientDisconnect if the client goes before."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
