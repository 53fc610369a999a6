"""`llmasos run` beside its peers, in turn in one run: speed, time to the first token, and start-up.

    python benchmarks/bench_run.py [--rounds 7] [--tokens 128]

The peer for speed and for the first token is `Llama` of llama-cpp-python: a bare script that imports llama_cpp, loads
the same file with the same context and threads, applies the same chat template and streams. Each figure is a median of
pairs. Wants `smollm2` in the store, and pulls it if it is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time

from machine import describe_machine, in_turn, keep, median, print_table

PROMPT = "Write a long story about a lighthouse keeper."
LLMASOS = [sys.executable, "-m", "llmasos_cli"]

PEER = """
import sys, time
import llama_cpp
path, threads, tokens, prompt = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = llama_cpp.Llama(path, n_ctx=4096, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False)
messages = [{"role": "user", "content": prompt}]
ends = {0: -100, 2: -100}  # the model's end tokens: both sides write as many tokens as they are asked for
times = []
for chunk in model.create_chat_completion(
    messages, max_tokens=tokens, temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, seed=1, logit_bias=ends, stream=True
):
    if text := chunk["choices"][0]["delta"].get("content"):
        sys.stdout.write(text)
        sys.stdout.flush()
        times.append(time.perf_counter())
sys.stderr.write(f"{(tokens - 1) / (times[-1] - times[0])}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    path = model_path()
    ours = [*LLMASOS, "run", "smollm2", PROMPT, "--threads", str(threads), "--seed", "1"]
    peer = [sys.executable, "-c", PEER, path, str(threads)]

    rows = [
        compare(
            "tokens a second",
            *in_turn(options.rounds, lambda: our_speed(ours, options.tokens), lambda: peer_speed(peer, options.tokens)),
            at_least=0.97,
        ),
        compare(
            "first token, s",
            *in_turn(
                options.rounds,
                lambda: first_byte([*ours, "--max-tokens", "1"]),
                lambda: first_byte([*peer, "1", PROMPT]),
            ),
            at_most=1.15,
        ),
    ]
    bare = [sys.executable, "-c", "pass"]
    typer = [sys.executable, "-c", "import typer"]
    for name, command, limit in (
        ("--version", ["--version"], 0.060),
        ("--complete", ["--complete", "references", "s"], 0.060),
    ):
        mine, theirs = in_turn(
            options.rounds * 3, lambda command=command: wall([*LLMASOS, *command]), lambda: wall(bare)
        )
        rows.append(compare(f"{name}, s (peer: bare Python)", mine, theirs, above=limit))
    rows.append(
        compare(
            "list, s (peer: import typer)",
            *in_turn(options.rounds * 3, lambda: wall([*LLMASOS, "list"]), lambda: wall(typer)),
            at_most=3.5,
        )
    )
    print(describe_machine())
    print_table([row["shown"] for row in rows])
    keep("run", {row["shown"]["figure"]: row["kept"] for row in rows})


def compare(
    figure: str,
    ours: list[float],
    peer: list[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
) -> dict:
    """One row: medians, the median of the pairs' ratios or differences, and what was wanted."""
    ratio = median([mine / theirs for mine, theirs in zip(ours, peer, strict=True)])
    difference = median([mine - theirs for mine, theirs in zip(ours, peer, strict=True)])
    wanted = f">= {at_least}" if at_least else f"<= {at_most}" if at_most else f"<= +{above}"
    measured = difference if above else ratio
    reached = measured >= at_least if at_least else measured <= (at_most or above or 0)
    shown = {"figure": figure, "llmasos": f"{median(ours):.3f}", "peer": f"{median(peer):.3f}", "ratio": f"{ratio:.3f}",
             "difference": f"{difference:+.3f}", "wanted": wanted, "reached": "yes" if reached else "NO"}  # fmt: skip
    return {
        "shown": shown,
        "kept": {"ours": ours, "peer": peer, "ratio": ratio, "difference": difference, "reached": reached},
    }


def model_path() -> str:
    subprocess.run([*LLMASOS, "pull", "smollm2"], check=True)
    return str(
        json.loads(subprocess.run([*LLMASOS, "show", "smollm2", "--json"], check=True, capture_output=True).stdout)[
            "path"
        ]
    )


def our_speed(command: list[str], tokens: int) -> float:
    command = [*command, "--max-tokens", str(tokens), "--ignore-eos", "--stats"]
    done = subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, text=True)
    return float(re.findall(r"\(([0-9.]+)/s\)", done.stderr)[-1])


def peer_speed(command: list[str], tokens: int) -> float:
    done = subprocess.run([*command, str(tokens), PROMPT], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return float(done.stderr)


def first_byte(command: list[str]) -> float:
    """Seconds from starting the process to the first byte of its answer."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds


def wall(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
