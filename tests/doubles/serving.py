"""`llmasos serve` in a process of its own, and a client that speaks plain HTTP to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

START = re.compile(r"llmasos serves at (?P<address>\S+);")


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """What a stream said; its end as the text."""
        lines = [line.removeprefix(b"data: ") for line in self.body.split(b"\n\n") if line]
        return [json.loads(line) if line.startswith(b"{") else line.decode() for line in lines]


class Served:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = 60
    ) -> Response:
        """A body that is no text, no bytes and no iterator of these is sent as JSON."""
        content = body if isinstance(body, bytes | str | None | Iterator) else json.dumps(body)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            return Response(
                response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
            )

    def post(self, path: str, **body: Any) -> Response:
        return self.ask("POST", path, body)

    @contextlib.contextmanager
    def streaming(self, path: str, **body: Any) -> Iterator[http.client.HTTPResponse]:
        """A stream whose first byte is there; it is left with the context."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", path, json.dumps({**body, "stream": True}))
            yield connection.getresponse()

    @property
    def runners(self) -> list[psutil.Process]:
        return [child for child in psutil.Process(self.process.pid).children() if _is_runner(child)]

    def largest_runner(self) -> int:
        """Bytes of the largest of them. How many there are says nothing: for a while an old one stands beside a new."""
        sizes = [0]
        for runner in self.runners:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
                sizes.append(runner.memory_info().rss)
        return max(sizes)

    def going_on(self) -> list[int | None]:
        """How many sequences each model in memory works on."""
        return [each["sequences"] for each in self.ask("GET", "/status").json["models"]]

    def open_files(self) -> int:
        return psutil.Process(self.process.pid).num_fds()

    def own_memory(self) -> int:
        """Bytes of the server itself, without its runners."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout)


def _is_runner(process: psutil.Process) -> bool:
    try:
        return "runner" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it ends just now
        return False


PATCHED = """
import importlib, sys
for place, seconds in {patched}.items():
    module, _, name = place.rpartition(".")
    setattr(importlib.import_module(module), name, seconds)
from llmasos_cli.__main__ import main
main()
"""


@contextlib.contextmanager
def served(*options: str, patched: Mapping[str, float] | None = None) -> Iterator[Served]:
    """Starts a server at a free port, with the environment of the test, and ends it. It may leave no traceback.

    `patched` are times that it waits, by their names in modules, which a test can't wait as long.
    """
    program = ["-c", PATCHED.format(patched=dict(patched))] if patched else ["-m", "llmasos_cli"]
    command = [sys.executable, *program, "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            match = START.search(line)
            assert match, line + process.stderr.read()
            yield Served(process, int(match["address"].rpartition(":")[2]) if "http" in line else 0)
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()
        said = process.stderr.read()
        assert "Traceback" not in said, said
