"""`llmasos eval perplexity` beside llama-perplexity, in turn in one run: whole programs and their figures, medians.

    python benchmarks/bench_perplexity.py PATH/llama-perplexity [--models smollm2 gemma3] [--rounds 5]

The program is built from the llama.cpp inside the source distribution of llama-cpp-python, of the version in use. Both
read the text that llmasos brings, with the same number of threads. The time is that of the whole process; beside it
stands that of the processors, which other work on the machine moves less.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmasos.evaluation.texts import OWN_TEXT
from llmasos.locate import locate
from machine import describe_machine, in_turn, keep, median, print_table

WANTED = 0.95
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
FIGURE = re.compile(r"(?:PPL =|^perplexity +)\s*([\d.]+ \+/- [\d.]+)", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--models", nargs="+", default=["smollm2", "gemma3"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = [compare(options.program, name, options.rounds) for name in options.models]
    print({**describe_machine(), "threads": THREADS, "load": os.getloadavg()})
    print_table(rows)
    keep("perplexity", {"rows": rows})


def compare(program: Path, model: str, rounds: int) -> dict[str, str]:
    path = locate(model).paths[0]
    ours = [sys.executable, "-m", "llmasos_cli", "eval", "perplexity", str(path), "--threads", str(THREADS)]
    theirs = [str(program), "-m", str(path), "-f", str(OWN_TEXT), "-t", str(THREADS)]
    figures: list[set[str]] = [set(), set()]
    processor: list[list[float]] = [[], []]
    own, other = in_turn(
        rounds, timed(ours, figures[0], processor[0], {}), timed(theirs, figures[1], processor[1], beside(program))
    )
    return {
        "model": model,
        "ours s": f"{median(own):.2f}",
        "theirs s": f"{median(other):.2f}",
        "speed": ratio(own, other),
        "speed by processor time": ratio(*processor),
        "wanted": str(WANTED),
        "ours": ", ".join(figures[0]),
        "theirs": ", ".join(figures[1]),
    }


def beside(program: Path) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(program.parent)}


def ratio(own: Sequence[float], other: Sequence[float]) -> str:
    """How fast ours is beside theirs: the median of the rounds' own ratios."""
    return f"{median([their / mine for mine, their in zip(own, other, strict=True)]):.3f}"


def timed(
    command: list[str], figures: set[str], processor: list[float], environment: dict[str, str]
) -> Callable[[], float]:
    """A run of the program, in seconds; its figure is put into `figures`, its processors. seconds into `processor`."""

    def run() -> float:
        before, began = used(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
        seconds = time.perf_counter() - began
        processor.append(used() - before)
        figures.update(FIGURE.findall(done.stdout + done.stderr))
        return seconds

    return run


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
