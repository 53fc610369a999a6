"""Mixed load on `llmasos serve` for a while: whoever asks, leaves, or sends garbage, memory and open files stay flat.

    python tools/soak_server.py [--minutes 20] [--model smollm2] [--vectors minilm] [--seed 1]

Told every ten seconds: requests, memory of the server and of the largest process of a model, open files. Exits with 1
if any of them grew, if a request failed that should not have, or if anything is left at the end. Wants Linux, and both
models installed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.clutter import random_request  # noqa: E402
from doubles.serving import Served, served  # noqa: E402

CLIENTS, SECONDS_BETWEEN = 12, 10.0
SECONDS_TO_ANSWER = 300.0  # on a machine that has other things to do
MOST_GROWTH, BYTES_OF_NOISE, FILES_OF_NOISE = 1.1, 16 * 2**20, 4
HELLO = [{"role": "user", "content": "Say something about the sea."}]
SOUND = {200, 503}  # 503: all places are taken, and the client is told to come again


@dataclass
class Soak:
    """What goes on, and what came of it. `sizes` are bytes of the server and of a model, and its open files."""

    server: Served
    model: str
    vectors: str
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int, int]] = field(default_factory=list)

    def post(self, path: str, **body: Any) -> None:
        response = self.server.ask("POST", path, body, timeout=SECONDS_TO_ANSWER)
        if response.status not in SOUND or (response.status == 200 and b'"error"' in response.body.splitlines()[-1]):
            self.failures.append(f"{path} {body}: {response.status} {response.body[-300:]!r}")

    def measure(self) -> tuple[int, int, int]:
        return self.server.own_memory(), self.server.largest_runner(), self.server.open_files()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--vectors", default="minilm")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with served("--max-queue", "64") as server:
        soak = Soak(server, options.model, options.vectors)
        run(soak, 60 * options.minutes, options.seed)
        left = left_over(soak)
    print(dict(sorted(soak.counts.items())))
    for trouble in (*soak.failures[:20], *left, *grown(soak.sizes)):
        print(trouble)
    return 1 if soak.failures or left or grown(soak.sizes) else 0


def run(soak: Soak, seconds: float, seed: int) -> None:
    begun = time.monotonic()
    clients = [
        threading.Thread(target=work, args=(soak, random.Random(f"{seed} {number}"), begun + seconds))
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        time.sleep(min(SECONDS_BETWEEN, seconds / 10))
        soak.sizes.append(soak.measure())
        server, runners, files = soak.sizes[-1]
        done, passed = soak.counts.total(), time.monotonic() - begun
        print(f"{done} in {passed:.0f} s: {server >> 20} and {runners >> 20} MiB, {files} open files", flush=True)


def work(soak: Soak, chance: random.Random, until: float) -> None:
    """One client after another."""
    while time.monotonic() < until:
        kind = chance.choice(KINDS)
        try:
            kind(soak, chance)
        except (OSError, http.client.HTTPException, ValueError) as error:
            soak.failures.append(f"{kind.__name__}: {type(error).__name__}: {error}")
        soak.counts[kind.__name__] += 1


def chat(soak: Soak, chance: random.Random) -> None:
    is_streamed = chance.random() < 0.6
    soak.post("/v1/chat/completions", model=soak.model, messages=HELLO, max_tokens=_few(chance), stream=is_streamed)


def completion(soak: Soak, chance: random.Random) -> None:
    prompt = "The sea " * chance.choice((1, 20, 300))
    soak.post("/v1/completions", model=soak.model, prompt=prompt, n=chance.choice((1, 3)), max_tokens=_few(chance))


def shape(soak: Soak, chance: random.Random) -> None:
    asked = {"model": soak.model, "messages": HELLO, "regex": "(yes|no)", "max_tokens": _few(chance)}
    soak.post("/v1/chat/completions", **asked)


def embedding(soak: Soak, chance: random.Random) -> None:
    soak.post("/v1/embeddings", model=soak.vectors, input=["a cat"] * chance.choice((1, 10)))


def ollamas_chat(soak: Soak, chance: random.Random) -> None:
    soak.post("/api/chat", model=soak.model, messages=HELLO, options={"num_predict": _few(chance)})


def ollamas_vectors(soak: Soak, chance: random.Random) -> None:
    soak.post("/api/embed", model=soak.vectors, input="a cat")


def unload(soak: Soak, chance: random.Random) -> None:
    """Rarely: each costs a load."""
    if chance.random() < 0.1:
        soak.post("/api/generate", model=chance.choice((soak.model, soak.vectors)), keep_alive=0)


def other_settings(soak: Soak, chance: random.Random) -> None:
    if chance.random() < 0.05:
        options = {"num_batch": chance.choice((256, 512)), "num_predict": 2}
        soak.post("/api/generate", model=soak.model, prompt="The", options=options)


def vanishing(soak: Soak, chance: random.Random) -> None:
    """Asks for more than anybody would wait for, and is gone somewhere on the way."""
    asked = {"model": soak.model, "messages": HELLO, "max_tokens": 100_000, "ignore_eos": True, "stream": True}
    content = json.dumps({**asked, "on_overflow": "shift"}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    sent = head.encode() + content
    with contextlib.closing(socket.create_connection(("127.0.0.1", soak.server.port), timeout=120)) as client:
        client.sendall(sent[: chance.choice((0, 20, len(head) + 5, len(sent), len(sent)))])
        if chance.random() < 0.5:
            client.settimeout(chance.random())
            with contextlib.suppress(TimeoutError):
                client.recv(1000)


def garbage(soak: Soak, chance: random.Random) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", soak.server.port), timeout=120)) as client:
        client.settimeout(2)
        with contextlib.suppress(OSError):
            client.sendall(random_request(chance, soak.model))
            answer = client.recv(300)
            if answer.startswith(b"HTTP/1.1 500"):
                soak.failures.append(f"garbage: {answer!r}")


KINDS: tuple[Callable[[Soak, random.Random], None], ...] = (
    chat, chat, completion, shape, embedding, ollamas_chat, ollamas_vectors, unload, other_settings, vanishing, garbage,
    garbage,
)  # fmt: skip


def _few(chance: random.Random) -> int:
    return chance.choice((1, 4, 16, 40))


def left_over(soak: Soak) -> list[str]:
    """What should have gone by now and has not; the models are unloaded in the end."""
    deadline = time.monotonic() + 60
    while any(soak.server.going_on()) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = [f"sequences left over: {soak.server.going_on()}"] if any(soak.server.going_on()) else []
    for name in (soak.model, soak.vectors):
        soak.post("/api/generate", model=name, keep_alive=0)
    return [*left, f"processes left over: {soak.server.runners}"] if soak.server.runners else left


def grown(sizes: list[tuple[int, int, int]]) -> list[str]:
    """What was more in the last third than it ever was in the first."""
    third = max(1, len(sizes) // 3)
    first, last = sizes[:third], sizes[-third:]
    noise = (BYTES_OF_NOISE, 4 * BYTES_OF_NOISE, FILES_OF_NOISE + CLIENTS)
    names = ("memory of the server", "memory of a model", "open files")
    return [
        f"{name} grew from {before} to {after}"
        for place, name in enumerate(names)
        if (after := max(each[place] for each in last))
        > MOST_GROWTH * (before := max(each[place] for each in first)) + noise[place]
    ]


if __name__ == "__main__":
    sys.exit(main())
