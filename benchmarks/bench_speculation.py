"""Speculation beside the same engine without it, in turn in one run: passes spared, and time.

    python benchmarks/bench_speculation.py [--rounds 5] [--model smollm2]

`repeats` copies what stands in its prompt, where guesses come true; `story` writes freely, where they do not and must
cost nothing. `draft` is the model in float32 with its quantized self as its draft model. Told are tokens a second,
medians, the median of their ratios pair by pair, and tokens for each forward pass. Wants `smollm2` in the store.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import describe_machine, in_turn, keep, median, print_table

PROJECT = Path(__file__).parents[1]
TOKENS = 128
ANIMALS = ("cat", "dog", "hen", "cow", "pig", "fox", "owl", "bee", "ant", "rat", "bat", "elk", "eel", "cod")
LINES = "\n".join(f"{number}. The {word} is in the house." for number, word in enumerate(ANIMALS))
PROMPTS = {
    "repeats": f"Here is a list:\n{LINES}\n\nHere is the same list again:\n{LINES}\n\nOnce more:\n",
    "story": "Write a story about a lighthouse keeper who finds a letter.\n\n",
    "draft": "Write a story about a lighthouse keeper who finds a letter.\n\n",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)  # one run, in a process of its own
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    rows = list(rows_of(options.model, options.rounds))
    print({**describe_machine(), "load": os.getloadavg()})
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("speculation", {"rows": rows})


def rows_of(name: str, rounds: int) -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(PROJECT))
    from llmasos.locate import locate

    path = str(locate(name).paths[0])
    yield row("repeats", rounds, path, "", "1.5 times fewer passes")
    yield row("story", rounds, path, "", "0.97 of the speed")
    with tempfile.TemporaryDirectory() as folder:
        whole, checkpoint = str(Path(folder) / "f32.gguf"), str(Path(folder) / "checkpoint")
        for command in (("export", name, checkpoint, "-t", "f32"), ("convert", checkpoint, "-t", "F32", "-o", whole)):
            subprocess.run([sys.executable, "-m", "llmasos_cli", *command], check=True, stderr=subprocess.DEVNULL)
        yield row("draft", rounds, whole, path, "")


def row(what: str, rounds: int, path: str, draft: str, wanted: str) -> dict[str, Any]:
    passes: list[float] = []

    def run(guesses: str) -> Callable[[], float]:
        def once() -> float:
            command = [sys.executable, __file__, "--measure", what, path, guesses, draft]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            if guesses == "with":
                passes.append(found["tokens_each_pass"])
            return float(found["speed"])

        return once

    own, other = in_turn(rounds, run("with"), run("without"))
    ratio = median([mine / their for mine, their in zip(own, other, strict=True)])
    return {
        "what": what, "with": round(median(own), 1), "without": round(median(other), 1), "ratio": round(ratio, 3),
        "tokens each pass": round(median(passes), 2), "wanted": wanted,
    }  # fmt: skip


def measure(what: str, path: str, guesses: str, draft: str) -> dict[str, float]:
    """Tokens a second of one greedy answer, and how many came of each forward pass."""
    sys.path.insert(0, str(PROJECT))
    from llmasos.engine.context import Context, ContextOptions
    from llmasos.engine.draft import Drafter
    from llmasos.engine.engine import Engine
    from llmasos.engine.model import ModelOptions, load_model
    from llmasos.engine.options import AnswerOptions, SamplingOptions
    from llmasos.hardware.machine import usable_cores

    model = load_model([Path(path)], ModelOptions())
    options = ContextOptions(2048, threads=usable_cores(), adapts=True, guesses=guesses == "with")
    drafter = None
    if draft and guesses == "with":
        small = load_model([Path(draft)], ModelOptions())
        drafter = Drafter(small, Context(small, replace(options, kept=2)))
    with Engine(model, Context(model, options), drafter=drafter) as engine:
        tokens = model.tokenize(PROMPTS[what], add_special=True, parse_special=False)
        limits = AnswerOptions(max_tokens=TOKENS, ignore_eos=True)
        sequence = engine.submit(tokens, SamplingOptions(temperature=0), limits)
        list(sequence)
        answer = sequence.answer
    model.close()
    assert answer is not None
    return {
        "speed": answer.tokens_per_second,
        "tokens_each_pass": len(answer.tokens) / (len(answer.tokens) - answer.spared_passes),
    }


if __name__ == "__main__":
    main()
