"""The engine beside llama-bench, llama-batched-bench, llama-cpp-python's `Llama` and transformers, in turn in one run.

    python benchmarks/bench_engine.py [--tools FOLDER] [--models smollm2 …] [--only one many requests prefix beams busy]

FOLDER holds llama-bench and llama-batched-bench, built from the llama.cpp inside the source distribution of
llama-cpp-python, of the version that is installed; without it what needs them is left out. Every run is a process of
its own; told are medians, and the median of the ratios pair by pair. Beams want torch and transformers, and are those
of smollm2 alone. `busy` runs beside as many processes as there are cores, each of which keeps one busy.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import describe_machine, in_turn, keep, median, print_table

PROJECT = Path(__file__).parents[1]
PROMPT_TOKENS, ANSWER_TOKENS, REQUESTS, PREFIX_TOKENS, CELLS = 32, 96, 16, 1000, 8192
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LLAMA = """
import sys, time
from llama_cpp import Llama
path, threads, requests, prompt, answer = sys.argv[1], *map(int, sys.argv[2:])
llama = Llama(path, n_ctx=4096, n_threads=threads, n_threads_batch=threads, verbose=False)
begun = time.perf_counter()
for number in range(requests):
    tokens = [100 + number * prompt + place for place in range(prompt)]
    llama.reset()
    for count, _ in enumerate(llama.generate(tokens, temp=0.0)):
        if count + 1 == answer:
            break
print(requests * answer / (time.perf_counter() - begun))
"""
TRANSFORMERS = """
import sys, time
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
prompt, count = torch.tensor([list(range(100, 100 + int(sys.argv[2])))]), int(sys.argv[3])
begun = time.perf_counter()
model.generate(prompt, num_beams=5, min_new_tokens=count, max_new_tokens=count, do_sample=False)
print(count / (time.perf_counter() - begun))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--models", nargs="+", default=["smollm2"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["one", "many", "requests", "prefix", "beams", "busy"])
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)  # one run of ours, in a process of its own
    options = parser.parse_args()
    if options.measure:
        print(measure(*options.measure))
        return
    rows = [row for name in options.models for row in rows_of(name, options)]
    print({**describe_machine(), "threads": THREADS, "load": os.getloadavg()})
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("engine", {"rows": rows})


def rows_of(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(PROJECT))
    from llmasos.locate import locate

    path = str(locate(name).paths[0])
    rounds, tools = options.rounds, options.tools

    def row(
        what: str, peer: str, ours: Callable[[], float], theirs: Callable[[], float], wanted: float
    ) -> dict[str, Any]:
        own, other = in_turn(rounds, ours, theirs)
        ratio = median([mine / their for mine, their in zip(own, other, strict=True)])
        figures = {"ours": round(median(own), 1), "theirs": round(median(other), 1), "ratio": round(ratio, 3)}
        return {"model": name, "what": what, "beside": peer, **figures, "wanted": wanted}

    if "one" in options.only and tools:
        yield row("1 sequence", "llama-bench", ours("decode", path, 1), llama_bench(tools, path), 0.96)
    if "many" in options.only and tools:
        for count in (8, 16, 32):
            for what, place, flags in (("apart", "cells of their own", []), ("decode", "one pool", ["--kv-unified"])):
                theirs = batched_bench(tools, path, count, flags)
                yield row(f"{count} sequences, {place}", "llama-batched-bench", ours(what, path, count), theirs, 0.97)
    if "requests" in options.only:
        theirs = program(LLAMA, path, THREADS, REQUESTS, PROMPT_TOKENS, ANSWER_TOKENS)
        yield row(f"{REQUESTS} requests", "Llama, in turn", ours("requests", path, REQUESTS), theirs, 2)
    if "prefix" in options.only:
        shared, apart = ours("prefix", path, 1), ours("prefix", path, 0)
        yield row(f"{REQUESTS} that share {PREFIX_TOKENS} tokens", "the same, sharing nothing", shared, apart, 5)
    if "beams" in options.only and name == "smollm2":
        yield from beam_rows(row)
    if "busy" in options.only and tools:
        with busy_cores():
            yield row(
                "1 sequence, busy machine",
                "llama-bench",
                ours("decode", path, 1),
                llama_bench(tools, path, default=True),
                1.5,
            )


def beam_rows(row: Callable[..., dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "smollm2"
        llmasos("export", "smollm2", folder, "-t", "f32")
        theirs = program(TRANSFORMERS, str(folder), PROMPT_TOKENS, ANSWER_TOKENS)
        for kind, wanted in (("F32", 2), ("Q8_0", 4)):
            file = folder.with_name(f"{kind}.gguf")
            llmasos("convert", folder, "-t", kind, "-o", file)
            yield row(f"5 beams, {kind}", "transformers, float32", ours("beams", str(file), 5), theirs, wanted)


def llmasos(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "llmasos_cli", *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


def ours(what: str, path: str, count: int) -> Callable[[], float]:
    return lambda: last_number([sys.executable, __file__, "--measure", what, path, str(count)])


def program(text: str, *arguments: str | int) -> Callable[[], float]:
    return lambda: last_number([sys.executable, "-c", text, *map(str, arguments)])


def llama_bench(tools: Path, path: str, *, default: bool = False) -> Callable[[], float]:
    sizes = ["-p", "0", "-n", str(ANSWER_TOKENS), "-d", str(PROMPT_TOKENS)]
    command = [str(tools / "llama-bench"), "-m", path, *sizes, "-r", "1", "-o", "json"]
    command += [] if default else ["-t", str(THREADS)]
    return lambda: float(json.loads(output_of(command))[0]["avg_ts"])


def batched_bench(tools: Path, path: str, count: int, flags: list[str]) -> Callable[[], float]:
    sizes = ["-npp", str(PROMPT_TOKENS), "-ntg", str(ANSWER_TOKENS), "-npl", str(count), "-c", str(CELLS)]
    command = [str(tools / "llama-batched-bench"), "-m", path, *sizes, "-b", "512", "-ub", "512", *flags]
    command += ["-t", str(THREADS), "--output-format", "jsonl"]
    return lambda: float(json.loads(output_of(command).strip().splitlines()[-1])["speed_tg"])


def last_number(command: list[str]) -> float:
    return float(output_of(command).split()[-1])


def output_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def busy_cores() -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(THREADS)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def measure(what: str, path: str, number: str) -> float:
    """Tokens a second of one run of the engine."""
    sys.path.insert(0, str(PROJECT))
    from llmasos.engine.context import Context, ContextOptions
    from llmasos.engine.engine import Engine
    from llmasos.engine.model import ModelOptions, load_model
    from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions
    from llmasos.hardware.machine import usable_cores

    count, is_steady = int(number), what in ("decode", "apart")
    model = load_model([Path(path)], ModelOptions())
    parallel = REQUESTS if what == "prefix" else count
    cells = 2 * PREFIX_TOKENS * REQUESTS if what == "prefix" else CELLS
    options = ContextOptions(4096, threads=usable_cores(), parallel=parallel, cells=cells, adapts=True)
    if what == "apart":
        options = replace(options, context_length=CELLS // count, pooled=False)
    limits = AnswerOptions(max_tokens=16 if what == "prefix" else ANSWER_TOKENS, ignore_eos=True)
    beams = BeamOptions(num_beams=count) if what == "beams" else None
    grown: list[list[tuple[float, int]]] = []  # of each sequence, when it had how many tokens

    def listen(number: int, event: object) -> None:
        grown[number].append((time.perf_counter(), getattr(event, "completion_tokens", 0)))

    with Engine(model, Context(model, options)) as engine:
        begun, going = time.perf_counter(), []
        for place, prompt in enumerate(prompts(what, count)):
            grown.append([])
            listener = functools.partial(listen, place) if is_steady else None
            going.append(engine.submit(prompt, SamplingOptions(temperature=0), limits, beams, listener=listener))
        while is_steady and not all(each and each[-1][1] == 0 for each in grown):
            time.sleep(0.01)  # until each has had its Answer, which is no Chunk
        answers = [] if is_steady else [finished(sequence) for sequence in going]
        seconds = time.perf_counter() - begun
    model.close()
    return steady_speed(grown) if is_steady else sum(len(answer.tokens) for answer in answers) / seconds


def finished(sequence: Any) -> Any:
    list(sequence)
    return sequence.answer


def steady_speed(grown: list[list[tuple[float, int]]]) -> float:
    """Tokens a second from when the last has begun until the first ends, as llama-batched-bench counts."""
    begun, ended = max(each[0][0] for each in grown), min(each[-2][0] for each in grown)
    chunks = [[count for moment, count in each[:-1] if begun <= moment <= ended] for each in grown]
    return sum(counts[-1] - counts[0] for counts in chunks) / (ended - begun)


def prompts(what: str, count: int) -> list[list[int]]:
    if what == "prefix":  # with 1 the first thousand tokens are everybody's, with 0 they begin otherwise
        beginnings = [
            [100 + (0 if count else number)] * 2 + list(range(200, 198 + PREFIX_TOKENS)) for number in range(REQUESTS)
        ]
        return [[*beginning, 5000 + number, 6000] for number, beginning in enumerate(beginnings)]
    if what == "beams":
        return [list(range(100, 100 + PROMPT_TOKENS))]
    return [[100 + number * PROMPT_TOKENS + place for place in range(PROMPT_TOKENS)] for number in range(count)]


if __name__ == "__main__":
    main()
