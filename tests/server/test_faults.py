"""What clients and machines do to a server: it goes on, others notice nothing, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles.clutter import random_request
from doubles.serving import Response, Served, served

pytestmark = pytest.mark.timeout(180)
CHAT, OLLAMAS_CHAT = "/v1/chat/completions", "/api/chat"
HELLO = [{"role": "user", "content": "Hello"}]
SHORT = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 4}
ENDLESS = {"model": "tiny", "messages": HELLO, "max_tokens": 1_000_000, "ignore_eos": True, "on_overflow": "shift"}


def until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def head(length: int, path: str = CHAT) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def request(body: Any, path: str = CHAT) -> bytes:
    content = json.dumps(body).encode()
    return head(len(content), path) + content


@contextlib.contextmanager
def connected(server: Served, sent: bytes = b"", *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with contextlib.closing(socket.socket()) as client:
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(30)
        client.connect(("127.0.0.1", server.port))
        client.sendall(sent)
        yield client


def is_closed(client: socket.socket) -> bool:
    """Reads to the end."""
    with contextlib.suppress(ConnectionError):
        while client.recv(2**16):
            pass
    return True


def test_a_killed_runner_is_told_in_ollama_s_way_too(server: Served):
    asked = {"model": "tiny", "messages": HELLO, "options": {"num_predict": -1, "on_overflow": "shift"}}
    with server.streaming(OLLAMAS_CHAT, **asked | {"options": {**asked["options"], "ignore_eos": True}}) as stream:
        stream.readline()
        server.runners[0].kill()
        last = json.loads(stream.read().splitlines()[-1])
    assert "was killed" in last["error"]
    assert server.post(OLLAMAS_CHAT, model="tiny", messages=HELLO, stream=False).json["done"] is True


@pytest.mark.real
def test_a_runner_that_hangs_is_replaced(served_home: Path):
    with served(patched={"llmasos.server.models.SECONDS_TO_REPLY": 2}) as server:
        with server.streaming(CHAT, **ENDLESS) as stream:
            stream.readline()
            [hanging] = server.runners
            hanging.suspend()
            assert "said nothing for 2 seconds and was ended" in stream.read().decode()
        assert server.post(CHAT, **SHORT).status == 200
        assert hanging not in server.runners


def test_clients_that_vanish_anywhere_leave_nothing_behind(server: Served):
    server.post(CHAT, **SHORT)
    before = server.open_files()
    for number in range(500):
        content = request(ENDLESS | {"stream": True})
        sent = (b"", head(10_000), head(10_000) + b'{"model": ', content)[number % 4]
        with connected(server, sent) as client:
            if number % 8 == 3:  # some in the middle of the stream
                client.recv(300)
            if number % 3 == 0:  # some with a reset
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: server.going_on() == [0])
    until(lambda: server.open_files() <= before + 2)
    assert server.post(CHAT, **SHORT).status == 200


def test_a_client_that_vanishes_after_asking_twice_at_once_leaves_nothing_behind(server: Served):
    with connected(server, request(ENDLESS | {"stream": True}) + request(SHORT)) as client:
        client.recv(300)
    until(lambda: server.going_on() == [0])


@pytest.mark.real
def test_who_does_not_read_holds_nobody_up_and_is_let_go(served_home: Path):
    with served(patched={"llmasos.server.protocol.SECONDS_TO_READ": 1}) as server, contextlib.ExitStack() as clients:
        server.post(CHAT, **SHORT)
        for _ in range(3):
            clients.enter_context(connected(server, request(ENDLESS | {"stream": True}), receive_buffer=4096))
        until(lambda: server.going_on() == [3])
        begun = time.monotonic()
        assert server.post(CHAT, **SHORT).status == 200
        assert time.monotonic() - begun < 10
        until(lambda: server.going_on() == [0], 60)


@pytest.mark.real
def test_who_does_not_ask_is_let_go(served_home: Path):
    with served(patched={"llmasos.server.protocol.SECONDS_TO_ASK": 1}) as server:
        asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for sent in (b"", b"POST /v1/chat", asked + b"GET"):
            with connected(server, sent) as client:
                assert is_closed(client)


@pytest.mark.real
def test_who_does_not_say_all_is_told(served_home: Path):
    patched = {"llmasos.server.relay.SECONDS_FOR_A_BODY": 1, "llmasos.server.making.SECONDS_FOR_A_PART": 1}
    with served(patched=patched) as server:
        for path in (CHAT, "/api/show", f"/api/blobs/sha256:{'0' * 64}"):
            with connected(server, head(1000, path) + b'{"model": ') as client:
                assert client.recv(300).startswith(b"HTTP/1.1 408")


def test_a_head_without_end_is_not_read(server: Served):
    with connected(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n") as client, contextlib.suppress(ConnectionError):
        for _ in range(5000):
            client.sendall(b"x: " + b"y" * 8190 + b"\r\n")
        pytest.fail("it was read")
    assert server.ask("GET", "/health").status == 200


@pytest.mark.real
def test_prompts_of_ten_megabytes_are_refused_while_others_are_answered(server: Served):
    with server.streaming(CHAT, **ENDLESS) as stream:
        stream.readline()
        pauses: list[float] = []
        answers: list[Response] = []
        huge = {"model": "tiny", "messages": [{"role": "user", "content": "a b " * 2_500_000}]}
        asking = threading.Thread(target=lambda: answers.append(server.post(CHAT, **huge)))
        asking.start()
        while asking.is_alive():
            begun = time.monotonic()
            stream.readline()
            pauses.append(time.monotonic() - begun)
        asking.join()
    [answer] = answers
    assert answer.status == 400
    assert "tokens long" in answer.json["error"]["message"]
    assert max(pauses) < 5


def test_garbage_at_every_route_leaves_it_as_it_was(server: Served):
    server.post(CHAT, **SHORT)
    chance, before = random.Random(3), server.open_files()
    for _ in range(400):
        with connected(server) as client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.sendall(random_request(chance, "tiny"))
            answer = client.recv(200)
            assert not answer.startswith(b"HTTP/1.1 500"), answer
    until(lambda: set(server.going_on()) <= {0})
    until(lambda: server.open_files() <= before + 3)
    assert server.post(CHAT, **SHORT).status == 200


def test_a_second_signal_ends_it_at_once(server: Served):
    with server.streaming(CHAT, **ENDLESS) as stream:
        stream.readline()
        runners = server.runners
        server.process.send_signal(signal.SIGTERM)
        assert all(stream.readline() for _ in range(50))
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 5
    until(lambda: not any(runner.is_running() for runner in runners))


def test_what_does_not_end_in_time_is_ended(served_home: Path):
    patched = {"llmasos.server.listen.SECONDS_TO_FINISH": 1}
    with served(patched=patched) as server, server.streaming(CHAT, **ENDLESS) as stream:
        stream.readline()
        begun = time.monotonic()
        assert server.stop() == 0
        assert 1 <= time.monotonic() - begun < 8


def test_a_pull_does_not_keep_it_from_ending(served_home: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with served() as server, connected(server, request({"model": "hf.co/org/name"}, "/api/pull")) as client:
            client.recv(300)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.stop(timeout=5) == 0


def test_a_model_that_leaves_gives_all_back(server: Served):
    server.post(CHAT, **SHORT, keep_alive=0)
    files, memory = server.open_files(), server.own_memory()
    for _ in range(3):
        server.post(CHAT, **SHORT)
        [runner] = server.runners
        assert server.post("/api/generate", model="tiny", keep_alive=0).json["done_reason"] == "unload"
        assert not runner.is_running()
    assert server.open_files() <= files + 1
    assert server.own_memory() < memory + 2**22
