"""The stand-in hub's web server: sends answers as values over HTTP/1.1, spoiled by faults, and notes what it sent."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

from .answers import Answer, part_of
from .content import READ_SIZE, Content
from .faults import NEVER, Fault, FaultPlan

_POLL_SECONDS = 0.01
_CLOSING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was served. Bytes count the body, as handed to the kernel: more than a killed client has read."""

    method: str
    path: str
    query: str
    range: str | None
    authorization: str | None
    status: int = 0  # 0 where nothing was answered, or not yet
    sent_bytes: int = 0


@dataclass(slots=True)
class Exchange:
    """A request while it is served; only the thread that serves it changes it."""

    request: Request


class Server(ThreadingHTTPServer):
    """Serves from its making until `close`; `answer` takes the raw path, the query and the bearer token."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        answer: Callable[[str, str, str | None], Answer],
        faults: FaultPlan,
        exchanges: list[Exchange],
    ) -> None:
        self.answer, self.faults, self.exchanges = answer, faults, exchanges
        self.closing = Event()
        self._connections: set[socket.socket] = set()
        self._changed = Condition()
        super().__init__(("127.0.0.1", port), _Handler)
        Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own would ask the name server who we are
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # Any: socketserver's own types
        if not isinstance(sys.exc_info()[1], OSError):  # clients that hang up are what this is for
            super().handle_error(request, client_address)

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.add(connection)
            if self.closing.is_set():
                _cut(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def close(self) -> None:
        """Refuses connections from now on and cuts the ones there are, in the middle of an answer too."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                _cut(connection)
            self._changed.wait_for(lambda: not self._connections, _CLOSING_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold a body back for 40 ms behind its headers
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        super().finish()
        self.server.closed(self.connection)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the exchanges say it all."""

    def _serve(self) -> None:
        target = urlsplit(self.path)
        authorization, asked_range = self.headers["Authorization"], self.headers["Range"]
        exchange = Exchange(Request(self.command, unquote(target.path), target.query, asked_range, authorization))
        self.server.exchanges.append(exchange)
        fault = self.server.faults.take(exchange.request.method, exchange.request.path)
        if fault.stall_after is None:
            self._wait(fault.stall_seconds)
        if fault.drop_after != 0:
            token = (authorization or "").removeprefix("Bearer ") or None
            answer = fault.answer() or self.server.answer(target.path, target.query, token)
            self._send(answer if fault.ignore_range else self._part(answer), fault, exchange)
        if fault.hangs_up:
            self._hang_up(fault)

    do_GET = do_HEAD = _serve  # noqa: N815, the names that http.server calls

    def _part(self, answer: Answer) -> Answer:
        if self.command != "GET":
            return answer
        return part_of(answer, self.headers["Range"], self.headers["If-Range"])

    def _send(self, answer: Answer, fault: Fault, exchange: Exchange) -> None:
        exchange.request = replace(exchange.request, status=answer.status)
        self._send_headers(answer, fault)
        if self.command == "HEAD":
            return
        stop = min(answer.end, answer.start + fault.bytes_sent)
        pause = min(stop, answer.start + (NEVER if fault.stall_after is None else fault.stall_after))
        self._send_body(answer.content, answer.start, pause, fault, exchange)
        if pause < stop:
            self._wait(fault.stall_seconds)
            self._send_body(answer.content, pause, stop, fault, exchange)

    def _send_headers(self, answer: Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not fault.hide_length:
            length = answer.end - answer.start if fault.wrong_length is None else fault.wrong_length
            self.send_header("Content-Length", str(length))
        if fault.hangs_up:
            self.send_header("Connection", "close")  # or the client's next request may race with the end of this one
        self.end_headers()

    def _send_body(self, content: Content, start: int, stop: int, fault: Fault, exchange: Exchange) -> None:
        for chunk in self._paced(content, start, stop, fault):
            # Counted first, so that a client that has the bytes finds them counted.
            exchange.request = replace(exchange.request, sent_bytes=exchange.request.sent_bytes + len(chunk))
            self.wfile.write(chunk)

    def _paced(self, content: Content, start: int, stop: int, fault: Fault) -> Iterator[bytes]:
        begun, position = monotonic(), start
        size = READ_SIZE if fault.throttle is None else max(1, min(READ_SIZE, fault.throttle // 50))
        for chunk in content.chunks(start, stop, size):
            if fault.throttle is not None:
                self._wait(begun + (position + len(chunk) - start) / fault.throttle - monotonic())
            yield fault.spoil(chunk, position)
            position += len(chunk)

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self.server.closing.wait(seconds):
            raise ConnectionAbortedError("the stand-in hub is closing")

    def _hang_up(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()  # it holds the socket open
            self.connection.close()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
