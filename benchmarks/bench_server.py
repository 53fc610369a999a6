"""`llmasos serve` beside llama-server and llama-cpp-python's own server, in turn in one run, the same client for all.

    python benchmarks/bench_server.py [--llama-server PROGRAM] [--llama-cpp-python PYTHON] [--model smollm2]

PROGRAM is built from the llama.cpp inside the source distribution of llama-cpp-python, of the version in use.
PYTHON is that of an environment with `llama-cpp-python[server]`, one of the benchmark's own. What is left out is not
compared. All get the same file, threads, slots, prompts and options; prompts are new in every round. The client is a
process of its own that does little more than read.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from machine import describe_machine, in_turn, keep, median, print_table

PROJECT = Path(__file__).parents[1]
SLOTS, CONTEXT = 32, 1024
PROMPT_WORDS, SHARED_WORDS, ANSWER_TOKENS, SHORT_TOKENS, FIRST_REQUESTS = 24, 500, 64, 16, 200
LAYER_TOKENS = 256
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WORDS = ("sea", "ship", "wind", "wave", "salt", "sand", "rope", "mast", "sail", "port", "tide", "reef", "gull", "crab")
COUNTED = re.compile(rb'"completion_tokens": ?(\d+)')
ENDS_OF_SMOLLM2 = {"0": -100, "2": -100}  # llama-cpp-python's server has no ignore_eos
NO_GUESSES = {"LLMASOS_SPECULATION": "false"}  # for what a token costs
Load = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A server that runs. `extra` is what its requests say beside."""

    name: str
    port: int
    extra: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server")
    parser.add_argument("--llama-cpp-python")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--type", default="Q8_0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["speed", "shared", "first", "layer"])
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 4, 8, 16, 32])
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(json.dumps(asyncio.run(asked(json.load(sys.stdin)))))
    elif options.engine:
        print(engine_speed(options.engine))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as running:
        path = Path(temporary) / "model.gguf"
        llmasos("quantize", options.model, "-t", options.type, "--allow-requantize", "-o", path)
        home = Path(temporary) / "home"
        llmasos("pull", path, "--as", "model", home=home)
        ours = running.enter_context(llmasos_serve(home))
        theirs = [running.enter_context(llama_server(options.llama_server, path))] if options.llama_server else []
        if options.llama_cpp_python:
            theirs.append(running.enter_context(llama_cpp_python(options.llama_cpp_python, path)))
        rows = list(rows_of(ours, theirs, home, options))
    print({**describe_machine(), "threads": THREADS, "load": os.getloadavg()})
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("server", {"rows": rows})


def rows_of(ours: Peer, theirs: Sequence[Peer], home: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    def row(what: str, peer: Peer, load: Callable[[int], Load], figure: str, wanted: float) -> dict[str, Any]:
        rounds = [0, 0]

        def run(place: int, server: Peer) -> float:
            rounds[place] += 1
            return float(answered(server, load(hash((what, rounds[place])) % 10**6))[figure])

        own, other = in_turn(options.rounds, lambda: run(0, ours), lambda: run(1, peer))
        ratio = median([mine / their for mine, their in zip(own, other, strict=True)])
        figures = {"ours": round(median(own), 3), "theirs": round(median(other), 3), "ratio": round(ratio, 3)}
        return {"what": what, "beside": peer.name, **figures, "wanted": wanted}

    for each in (ours, *theirs):
        answered(each, many(0, 2))  # ours loads the model with the first request
    for peer in theirs:
        is_slow = peer.name == "llama-cpp-python"
        if "speed" in options.only:
            for count in [8] if is_slow else options.counts:
                wanted = 4 if is_slow else 0.97 if count < 8 else 1.0
                yield row(f"{count} at a time, tokens/s", peer, lambda seed, n=count: many(seed, n), "speed", wanted)
        if "shared" in options.only and not is_slow:
            yield row("8 that share a prompt, tokens/s", peer, lambda seed: many(seed, 8, SHARED_WORDS), "speed", 2)
        if "first" in options.only and not is_slow:
            yield row(f"p90 of {FIRST_REQUESTS} first tokens, s (less is better)", peer, firsts, "p90_first", 1)
    if "layer" in options.only:
        with llmasos_serve(home, NO_GUESSES) as guessing_nothing:
            yield layer_row(guessing_nothing, home, options.rounds)


def layer_row(ours: Peer, home: Path, rounds: int) -> dict[str, Any]:
    """What HTTP and the second process add to a token, in milliseconds, where one request is answered at a time."""

    def through_http() -> float:
        return float(answered(ours, {**many(int(time.time() * 1e6), 1), "max_tokens": LAYER_TOKENS})["steady"])

    engine, served = in_turn(rounds, lambda: engine_of(home), through_http)
    added = median([1e3 / through - 1e3 / alone for alone, through in zip(engine, served, strict=True)])
    figures = {"ours": round(median(served), 3), "theirs": round(median(engine), 3), "ratio": round(added, 3)}
    return {"what": "tokens/s; ratio: ms a token added", "beside": "the engine alone", **figures, "wanted": "< 1"}


def many(seed: int, count: int, shared: int = 0) -> Load:
    """So many requests at once."""
    beginning = words(seed, shared)
    prompts = [f"{beginning} {words(seed + place + 1, PROMPT_WORDS)}" for place in range(count)]
    return {"prompts": prompts, "at_a_time": count, "max_tokens": ANSWER_TOKENS}


def firsts(seed: int) -> Load:
    prompts = [words(seed + place, PROMPT_WORDS) for place in range(FIRST_REQUESTS)]
    return {"prompts": prompts, "at_a_time": 8, "max_tokens": SHORT_TOKENS}


def words(seed: int, count: int) -> str:
    """Words in an order that no other seed gives; about a token each."""
    return " ".join(
        [str(seed), *(WORDS[(seed * 7 + place * place + place // 3) % len(WORDS)] for place in range(count))]
    )


def answered(peer: Peer, load: Load) -> dict[str, float]:
    """Has the client ask, in a process of its own; returned are its figures."""
    body = {"model": "model", "temperature": 0, "stream": True, "max_tokens": load["max_tokens"], **peer.extra}
    bodies = [{**body, "prompt": prompt} for prompt in load["prompts"]]
    order = json.dumps({"port": peer.port, "bodies": bodies, "at_a_time": load["at_a_time"]})
    done = subprocess.run([sys.executable, __file__, "--client"], input=order, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{peer.name}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


async def asked(order: dict[str, Any]) -> dict[str, float]:
    """Asks as many at a time as ordered. Times are in seconds, `steady` is the tokens a second after the first."""
    places, begun = asyncio.Semaphore(order["at_a_time"]), time.perf_counter()

    async def ask(body: dict[str, Any]) -> tuple[int, float, float]:
        content = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        async with places:
            sent = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", order["port"])
            writer.write(head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + content)
            received, first = bytearray(), 0.0
            while part := await reader.read(2**16):
                received += part
                first = first or (time.perf_counter() - sent if b"data:" in received else 0.0)
                if b"data: [DONE]" in received[-40:]:
                    break
            writer.close()
        if not first:
            raise SystemExit(f"no stream: {bytes(received[:500])!r}")
        counts = COUNTED.findall(received)
        return int(counts[-1]) if counts else received.count(b"data: {") - 1, first, time.perf_counter() - sent

    found = await asyncio.gather(*map(ask, order["bodies"]))
    tokens, seconds = sum(count for count, _, _ in found), time.perf_counter() - begun
    waits = sorted(first for _, first, _ in found)
    steady = sum((count - 1) / (whole - first) for count, first, whole in found)
    return {"speed": tokens / seconds, "p90_first": waits[int(0.9 * len(waits))], "steady": steady}


@contextlib.contextmanager
def llmasos_serve(home: Path, more: Mapping[str, str] = MappingProxyType({})) -> Iterator[Peer]:
    port, environment = free_port(), os.environ | {"LLMASOS_HOME": str(home), "LLMASOS_CONTEXT_LENGTH": str(CONTEXT)}
    environment |= more
    command = [sys.executable, "-m", "llmasos_cli", "serve", "--port", str(port), "--parallel", str(SLOTS)]
    with running([*command, "--keep-alive", "-1"], port, "/health", environment):
        yield Peer("llmasos", port, {"ignore_eos": True, "stream_options": {"include_usage": True}})


@contextlib.contextmanager
def llama_server(program: str, path: Path) -> Iterator[Peer]:
    port, sizes = free_port(), ["-np", str(SLOTS), "-c", str(SLOTS * CONTEXT), "-t", str(THREADS)]
    with running([program, "-m", str(path), "--port", str(port), *sizes], port, "/health"):
        yield Peer("llama-server", port, {"ignore_eos": True, "stream_options": {"include_usage": True}})


@contextlib.contextmanager
def llama_cpp_python(python: str, path: Path) -> Iterator[Peer]:
    port, sizes = free_port(), ["--n_ctx", str(CONTEXT), "--n_threads", str(THREADS), "--n_threads_batch", str(THREADS)]
    command = [python, "-m", "llama_cpp.server", "--model", str(path), "--port", str(port), *sizes]
    with running([*command, "--interrupt_requests", "False"], port, "/v1/models"):
        yield Peer("llama-cpp-python", port, {"logit_bias": ENDS_OF_SMOLLM2, "logit_bias_type": "input_ids"})


@contextlib.contextmanager
def running(command: list[str], port: int, path: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A server, from when it answers until the context is left."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                break
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended with {process.returncode}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def llmasos(*arguments: str | Path, home: Path | None = None) -> None:
    environment = os.environ | ({"LLMASOS_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", "llmasos_cli", *map(str, arguments)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=environment)


def engine_of(home: Path) -> float:
    environment = os.environ | {"LLMASOS_HOME": str(home), "LLMASOS_CONTEXT_LENGTH": str(CONTEXT)} | NO_GUESSES
    command = [sys.executable, __file__, "--engine", "model"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def engine_speed(name: str) -> float:
    """Tokens a second after the first, of one sequence in the engine as `serve` makes it."""
    sys.path.insert(0, str(PROJECT))
    from llmasos.engine.options import AnswerOptions, SamplingOptions
    from llmasos.server.serving import Serving

    serving = Serving({"model": name, "loading": {}, "parallel": SLOTS})
    engine = serving._engine
    assert engine is not None
    limits = AnswerOptions(max_tokens=LAYER_TOKENS, ignore_eos=True)
    for _ in range(2):  # the first warms up
        prompt = engine.model.tokenize(words(int(time.time()), PROMPT_WORDS), add_special=True, parse_special=False)
        moments = [time.perf_counter() for _ in engine.submit(prompt, SamplingOptions(temperature=0), limits)]
    return (len(moments) - 1) / (moments[-1] - moments[0])


if __name__ == "__main__":
    main()
