"""`llmasos run --lines` beside one `llmasos run` for each line: 200 short prompts as a shell loop would put them.

    python benchmarks/bench_lines.py [--rounds 3] [--lines 200] [--alone 20] [--tokens 16]

Each answer is as long as it is asked to be on both sides, which take turns. The loop runs a part of the lines, since
each costs the same, and is told for all of them. Wants `smollm2` in the store, and pulls it if it is not there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from machine import describe_machine, in_turn, keep, median, print_table

LLMASOS = [sys.executable, "-m", "llmasos_cli"]
INSTRUCTION = "You are given the name of a thing. Say in one sentence what it is used for, and who uses it most."
THINGS = ["hammer", "spoon", "lamp", "needle", "bucket", "ladder", "mirror", "anchor", "candle", "compass"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--alone", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=16)
    options = parser.parse_args()
    subprocess.run([*LLMASOS, "pull", "smollm2"], check=True)
    command = [*LLMASOS, "run", "smollm2", "--seed", "1", "--ignore-eos", "--max-tokens", str(options.tokens)]
    lines = [f"{THINGS[number % len(THINGS)]} number {number}" for number in range(options.lines)]

    few = lines[: options.alone]

    def together() -> float:
        return seconds_of([*command, INSTRUCTION, "--lines"], "".join(f"{line}\n" for line in lines))

    def alone() -> float:
        return sum(seconds_of([*command, f"{INSTRUCTION}\n\n{line}"], "") for line in few) * len(lines) / len(few)

    ours, loop = in_turn(options.rounds, together, alone)
    ratio = median([theirs / mine for mine, theirs in zip(ours, loop, strict=True)])
    print(describe_machine())
    print_table(
        [
            row("run --lines", median(ours), len(lines)),
            row(f"a run for each (of {len(few)})", median(loop), len(lines)),
        ]
    )
    print(f"times as fast: {ratio:.1f}")
    keep("lines", {"lines": len(lines), "together_seconds": ours, "alone_seconds": loop, "ratio": ratio})


def seconds_of(command: list[str], given: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, input=given, text=True, check=True, capture_output=True)
    assert done.stderr == ""
    return time.perf_counter() - started


def row(name: str, seconds: float, lines: int) -> dict[str, str]:
    return {"": name, "seconds": f"{seconds:.1f}", "a line, s": f"{seconds / lines:.3f}"}


if __name__ == "__main__":
    main()
