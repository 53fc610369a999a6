"""A server under load that means it no good, with real models: it stays as it was."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import PROJECT
from doubles.checkpoints import write_checkpoint
from doubles.clutter import random_request
from doubles.serving import Served, served
from llmasos.convert import convert_to_store
from llmasos.pull import pull

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
REQUESTS, MOST_GROWTH = 10_000, 16 * 2**20  # bytes


@pytest.fixture
def models(home: Path, tmp_path: Path) -> None:
    pull("smollm2")
    convert_to_store(str(write_checkpoint(tmp_path / "bert", "bert")), "F32", name="vectors")


def test_a_minute_of_mixed_load(models: None):
    command = [sys.executable, "tools/soak_server.py", "--minutes", "1", "--vectors", "vectors"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ten_thousand_requests_of_garbage(models: None):
    with served() as server:
        server.post("/v1/completions", model="smollm2", prompt="a", max_tokens=1)
        send(server, 0, REQUESTS // 5)
        memory, [runner], files = server.own_memory(), server.runners, server.open_files()
        runner_memory = runner.memory_info().rss
        send(server, REQUESTS // 5, REQUESTS)
        assert server.runners[0].pid == runner.pid  # none has brought it down
        assert server.own_memory() < memory + MOST_GROWTH
        assert runner.memory_info().rss < runner_memory + 4 * MOST_GROWTH
        assert server.open_files() <= files + 8
        assert server.post("/v1/completions", model="smollm2", prompt="a", max_tokens=1).status == 200


def send(server: Served, first: int, last: int) -> None:
    """Requests number `first` to `last`, some at a time; all are over when this returns."""
    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(lambda number: answer_to(server, number), range(first, last))).count(b"500") == 0
    deadline = time.monotonic() + 60
    while any(server.going_on()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(server.going_on())


def answer_to(server: Served, seed: int) -> bytes:
    """The status, or nothing where none came."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as client:
        with contextlib.suppress(OSError):
            client.settimeout(2)
            client.sendall(random_request(random.Random(seed), "smollm2"))
            return client.recv(300)[9:12]
        return b""
