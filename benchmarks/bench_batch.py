"""`llmasos batch` beside the engine driven directly, and beside one sequence at a time, in turn in one run.

    python benchmarks/bench_batch.py [--model smollm2] [--count 5000] [--alone 200] [--parallel N …] [--rounds 3]

Short questions that have nothing in common, and the same behind an instruction of 300 tokens. `engine` is given the
same tokens, all at once, and works on as many at a time; `alone` has one sequence at a time and nothing to reuse, in a
process that stays, and is measured over fewer prompts. Told are tokens of answers a second without the time to load the
model: medians, and the median of the ratios pair by pair. Several numbers for --parallel compare these.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import describe_machine, in_turn, keep, median, print_table

PROJECT = Path(__file__).parents[1]
WORDS = (
    "cat", "dog", "house", "river", "mountain", "music", "number", "colour", "winter", "bread", "engine", "letter",
    "window", "market", "garden", "silver", "history", "question", "answer", "village", "north", "copper", "paper",
    "travel", "morning", "island", "doctor", "summer", "bridge", "forest",
)  # fmt: skip
WORDS_OF_A_QUESTION, WORDS_OF_THE_INSTRUCTION, ANSWER_TOKENS = 12, 280, 16
OPTIONS = {"max_tokens": ANSWER_TOKENS, "ignore_eos": True, "temperature": 0}
WANTED = {"unrelated": 1.8, "shared": 8}
WANTED_OF_THE_ENGINE = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--alone", type=int, default=200)
    parser.add_argument("--parallel", type=int, nargs="+", default=[32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=list(WANTED))
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)  # one run, in a process of its own
    options = parser.parse_args()
    if options.measure:
        print(measure(*options.measure))
        return
    load = os.getloadavg()
    rows = [row for kind in options.kinds for row in rows_of(kind, options)]
    print({**describe_machine(), "load": {"before": load, "after": os.getloadavg()}, "prompts": options.count})
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("batch", {"prompts": options.count, "load": load, "rows": rows})


def rows_of(kind: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as temporary:
        all_of_them, some = (Path(temporary) / name for name in ("all.jsonl", "some.jsonl"))
        write_prompts(all_of_them, kind, options.count)
        write_prompts(some, kind, min(options.alone, options.count))
        programs = [alone(options.model, some)]
        for parallel in options.parallel:
            programs += [batch(options.model, all_of_them, parallel), engine(options.model, all_of_them, parallel)]
        [slow, *others] = in_turn(options.rounds, *programs)
        for place, parallel in enumerate(options.parallel):
            ours, direct = others[2 * place : 2 * place + 2]
            for peer, theirs, wanted in (("engine", direct, WANTED_OF_THE_ENGINE), ("alone", slow, WANTED[kind])):
                ratio = median([mine / their for mine, their in zip(ours, theirs, strict=True)])
                figures = {
                    "batch": round(median(ours), 1),
                    "theirs": round(median(theirs), 1),
                    "ratio": round(ratio, 3),
                }
                yield {"prompts": kind, "parallel": parallel, "beside": peer, **figures, "wanted": wanted}


def write_prompts(path: Path, kind: str, count: int) -> None:
    generator = random.Random(7)
    instruction = " ".join(generator.choices(WORDS, k=WORDS_OF_THE_INSTRUCTION))
    shared = {"system": instruction} if kind == "shared" else {}
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            prompt = " ".join(generator.choices(WORDS, k=WORDS_OF_A_QUESTION))
            file.write(json.dumps({"custom_id": f"q{number}", "prompt": prompt, **shared, **OPTIONS}) + "\n")


def batch(model: str, prompts: Path, parallel: int) -> Callable[[], float]:
    output = prompts.with_name("output.jsonl")
    command = [sys.executable, "-m", "llmasos_cli", "batch", model, "-i", str(prompts), "-o", str(output)]

    def run() -> float:
        output.unlink(missing_ok=True)
        return float(json.loads(output_of([*command, "--parallel", str(parallel), "--json"]))["tokens_per_second"])

    return run


def engine(model: str, prompts: Path, parallel: int) -> Callable[[], float]:
    return lambda: measured("engine", model, prompts, parallel)


def alone(model: str, prompts: Path) -> Callable[[], float]:
    return lambda: measured("alone", model, prompts, 1)


def measured(what: str, model: str, prompts: Path, parallel: int) -> float:
    command = [sys.executable, __file__, "--measure", what, model, str(prompts), str(parallel)]
    return float(output_of(command).split()[-1])


def output_of(command: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def measure(what: str, model: str, file: str, number: str) -> float:
    """Tokens a second of the engine by itself."""
    sys.path.insert(0, str(PROJECT))
    from llmasos.batch.batch import Survey
    from llmasos.batch.jobs import Job, Reading, read_jobs
    from llmasos.batch.local import start_engine
    from llmasos.engine.options import AnswerOptions, LoadOptions, SamplingOptions
    from llmasos.load import Loaded
    from llmasos.locate import locate
    from llmasos.openai.bodies import Defaults
    from llmasos.openai.interface import CHAT, TextInterface

    jobs = [each for each in read_jobs(Path(file), Reading("jsonl", CHAT)) if isinstance(each, Job)]
    survey = Survey()
    for job in jobs:
        survey.add(job, ANSWER_TOKENS)
    sampling, limits = SamplingOptions(temperature=0), AnswerOptions(max_tokens=ANSWER_TOKENS, ignore_eos=True)
    with Loaded(
        locate(model), LoadOptions(), answer_tokens=ANSWER_TOKENS, prompt_bytes=survey.longest_body_bytes
    ) as loaded:
        interface = TextInterface(loaded.model, loaded.template, model, Defaults())
        prompts = [interface.ask(job.url, job.body).prompts[0] for job in jobs]
        if what == "alone":  # another token at the beginning of each, so that nothing can be reused
            prompts = [[100 + place, *prompt[1:]] for place, prompt in enumerate(prompts)]
        with start_engine(loaded, int(number), survey) as engine:
            begun = time.perf_counter()
            if what == "alone":
                written = sum(len(finished(engine.submit(prompt, sampling, limits)).tokens) for prompt in prompts)
            else:
                going = [engine.submit(prompt, sampling, limits) for prompt in prompts]
                written = sum(len(finished(each).tokens) for each in going)
            return written / (time.perf_counter() - begun)


def finished(sequence: Any) -> Any:
    list(sequence)
    return sequence.answer


if __name__ == "__main__":
    main()
