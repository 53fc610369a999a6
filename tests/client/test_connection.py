"""Connections to servers that do as they like: what breaks off, what is no stream, what takes its time."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from llmasos.client.address import Address, parse_address
from llmasos.client.connection import Connection, proxy_for, whole_lines
from llmasos.errors import LlmasosError, StoppedError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORD = 'data: {"text": "a\u2028\u0085b"}\n\n'.encode()  # which hold line separators of Unicode
Reaction = Callable[[socket.socket], None]


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def read_request(accepted: socket.socket) -> None:
    with accepted.makefile("rb") as file:
        head = list(iter(file.readline, b"\r\n"))
        length = next((int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:")), 0)
        file.read(length)


@pytest.fixture
def connect() -> Iterator[Callable[[Reaction], Connection]]:
    """A connection to a server that reacts so to whatever comes."""
    opened: list[Connection | socket.socket] = []

    def connected(react: Reaction) -> Connection:
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listening.accept()
                except OSError:
                    return
                read_request(accepted)  # or closing would be a reset, which may overtake what was sent
                react(accepted)
                accepted.close()

        threading.Thread(target=serve, daemon=True).start()
        place = f"http://127.0.0.1:{listening.getsockname()[1]}"
        opened.extend([Connection(Address(place, place)), listening])
        return opened[-2]  # type: ignore[return-value]

    yield connected
    for each in opened:
        each.close()


async def all_of(connection: Connection) -> list[dict]:
    return [event async for event in connection.events("/v1/completions", {"model": "x"})]


def resets(accepted: socket.socket) -> None:
    accepted.sendall(HEAD + chunk(WORD))
    time.sleep(0.1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "react",
    [
        lambda accepted: None,
        lambda accepted: accepted.sendall(HEAD + chunk(WORD)),
        lambda accepted: accepted.sendall(HEAD + chunk(WORD) + chunk(b"")),  # the end of the body, but no end of events
        lambda accepted: accepted.sendall(HEAD + chunk(WORD)[:-9]),
        resets,
    ],
    ids=["nothing", "a word", "no end", "half a word", "reset"],
)
def test_a_stream_that_breaks_off_is_an_error_to_try_again_after(connect, react: Reaction):
    connection = connect(react)
    with pytest.raises(StoppedError, match="ended in the middle"):
        connection.wait(all_of(connection))


def test_words_may_hold_any_separator_and_come_in_any_parts(connect):
    def drip(accepted: socket.socket) -> None:
        accepted.sendall(HEAD)
        for byte in WORD + b": a comment\n\ndata: [DONE]\n\n":
            accepted.sendall(chunk(bytes([byte])))
        accepted.sendall(chunk(b""))

    connection = connect(drip)
    assert connection.wait(all_of(connection)) == [{"text": "a\u2028\u0085b"}]


def test_an_error_within_a_stream_is_raised(connect):
    told = b'data: {"error": {"message": "it was killed", "exit_code": 75}}\n\n'
    connection = connect(lambda accepted: accepted.sendall(HEAD + chunk(WORD) + chunk(told) + chunk(b"")))
    with pytest.raises(LlmasosError, match="it was killed") as raised:
        connection.wait(all_of(connection))
    assert raised.value.exit_code == 75


@pytest.mark.parametrize("answer", [b"hello", b"<html>", b"\xff", b"[1", b"[]", b"{}"])
def test_what_is_no_json_is_from_no_server_of_ours(connect, answer: bytes):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
    connection = connect(lambda accepted: accepted.sendall(head + answer))
    with pytest.raises(LlmasosError, match="no llmasos server"):
        connection.get("/api/ps", "models")


def test_leaving_a_request_closes_its_connection(connect):
    closed = threading.Event()

    def waits(accepted: socket.socket) -> None:
        accepted.sendall(HEAD + chunk(WORD))
        assert not accepted.recv(1)
        closed.set()

    connection = connect(waits)
    future = connection.start(all_of(connection))
    time.sleep(0.3)
    future.cancel()
    assert closed.wait(10)


def test_proxies_lead_to_other_machines_alone(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    monkeypatch.setenv("no_proxy", "near.example")
    led = {host: proxy_for(parse_address(host, 7)) for host in ("far.example", "near.example", "localhost", "[::1]")}
    assert led == {"far.example": "http://proxy:1", "near.example": None, "localhost": None, "[::1]": None}
    assert proxy_for(parse_address("https://far.example", 7)) is None
    monkeypatch.setenv("ALL_PROXY", "http://other:2")
    assert proxy_for(parse_address("https://far.example", 7)) == "http://other:2"


def test_a_line_is_whole_when_its_newline_is_there():
    async def lines(parts: list[bytes]) -> list[bytes]:
        async def given():
            for part in parts:
                yield part

        return [line async for line in whole_lines(given())]

    assert asyncio.run(lines([b"a", b"b\n", b"\r", b"c\nd"])) == [b"ab", b"\rc", b"d"]
