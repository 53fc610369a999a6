"""A connection, as uvicorn speaks HTTP over it, with an end to the patience with whoever is at its other end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

SECONDS_TO_ASK = 30.0  # for the head of a request
SECONDS_TO_READ = 60.0  # until there is room again for what is answered
MOST_HEAD_BYTES = 2**19  # the pieces in which it comes are up to half as long, and may hold the beginning of a body


class Protocol(HttpToolsProtocol):
    """Who connects and does not ask, or asks and does not read, is let go."""

    _running: RequestResponseCycle | None = None
    _asking: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the response that goes on: uvicorn tells it to the last of several requests that came at once."""
        for timer in filter(None, (self._asking, self._reading)):
            timer.cancel()
        super().connection_lost(exc)
        if self._running and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.abort()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._is_in_head, self._head_bytes = False, 0
        if self._asking:
            self._asking.cancel()
            self._asking = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_head = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self._reading or self.loop.call_later(SECONDS_TO_READ, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading:
            self._reading.cancel()
            self._reading = None

    def _expect_head(self) -> None:
        self._asking = self._asking or self.loop.call_later(SECONDS_TO_ASK, self.transport.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)
