"""The gate before all routes: who comes in, how many at a time, and how much each may bring."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmasos.server.access import Access, key_of
from llmasos.server.manners import manner_at

BLOBS = "/api/blobs/"


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so many `requests` are inside at a time, of one key or address `per_key`; None: as many."""

    requests: int
    per_key: int | None
    body_bytes: int


class _TooLargeError(Exception):
    pass


class Gate:
    """ASGI middleware. Requests are counted from their first byte to the last of their response."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self._app, self._access, self._limits = app, access, limits
        self._inside: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        headers = dict(request.headers)
        who = key_of(headers) or (request.client.host if request.client else "")
        if refusal := self._refusal(request, headers, who):
            await refusal(scope, receive, send)
            return
        self._inside[who] += 1
        try:
            await self._let_in(scope, receive, send)
        finally:
            self._inside[who] -= 1
            self._inside += Counter()  # forgets who has nothing inside any more

    def _refusal(self, request: Request, headers: dict[str, str], who: str) -> Response | None:
        manner = manner_at(request.url.path)
        if refusal := self._access.refuse(request.method, request.url.path, headers):
            return manner.told(refusal.status, refusal.message)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most_bytes(request):
            return self._too_large(request)
        if request.method != "POST":
            return None  # whoever watches over the server is always answered
        if self._inside.total() >= self._limits.requests:
            return manner.told(503, "the server is busy: too many requests wait already")
        if self._limits.per_key is not None and self._inside[who] >= self._limits.per_key:
            return manner.told(429, "too many requests of this key are being answered already")
        return None

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        read, has_begun, most = 0, False, self._most_bytes(Request(scope))

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLargeError
            return message

        async def send_noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_noted)
        except _TooLargeError:
            if not has_begun:
                await self._too_large(Request(scope))(scope, receive, send)

    def _most_bytes(self, request: Request) -> float:
        """Of a body; a model's file may be as long as the disk has room."""
        return math.inf if request.url.path.startswith(BLOBS) else self._limits.body_bytes

    def _too_large(self, request: Request) -> Response:
        return manner_at(request.url.path).told(413, f"the request is longer than {self._limits.body_bytes:,} bytes")
