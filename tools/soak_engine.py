"""Two thousand requests of all kinds through one engine, some of them cancelled: memory stays flat, no cell is lost.

    python tools/soak_engine.py [--model smollm2] [--requests 2000] [--seed 1]

Told every hundred requests: the process's memory, and the cells that are in use. Exits with 1 if memory grows by more
than a twentieth after the first hundred, or if anything is left at the end. Wants Linux.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from llmasos.engine.context import Context, ContextOptions  # noqa: E402
from llmasos.engine.engine import Engine  # noqa: E402
from llmasos.engine.model import ModelOptions, load_model  # noqa: E402
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions  # noqa: E402
from llmasos.locate import locate  # noqa: E402

IN_FLIGHT, EVERY, MOST_GROWTH = 48, 100, 1.05
GRAMMAR = 'root ::= ("yes" | "no") " " [a-z]{1,12}'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    model = load_model(locate(options.model).paths, ModelOptions())
    text = model.tokenize((PROJECT / "docs" / "guide.md").read_text("utf-8"), add_special=True, parse_special=False)
    context = Context(model, ContextOptions(1024, threads=2, parallel=8, cells=3072, kept=8, adapts=True, guesses=True))
    sizes, reasons, begun = [], collections.Counter[str](), time.monotonic()
    with Engine(model, context) as engine:
        going: collections.deque[Any] = collections.deque()
        for number in range(1, options.requests + 1):
            while len(going) < IN_FLIGHT and number + len(going) <= options.requests:
                going.append(submit(engine, text, chance))
                if chance.random() < 0.2:
                    engine.cancel(chance.choice(going))
            reasons[finish(going.popleft())] += 1
            if number % EVERY == 0:
                sizes.append(resident_bytes())
                tell(number, sizes[-1], engine, time.monotonic() - begun)
        cells = engine._worker.scheduler.cells
        left = (
            cells.active,
            len(engine._worker.answering),
            len(engine._submitted),
            not cells.make_room(cells.capacity),
        )
    model.close()
    print(dict(reasons), f"memory after {EVERY}: {sizes[0] >> 20} MiB, most: {max(sizes) >> 20} MiB")
    if any(left) or max(sizes) > MOST_GROWTH * sizes[0]:
        print(f"left over: {left}")
        return 1
    return 0


def submit(engine: Engine, text: list[int], chance: random.Random) -> Any:
    """One of all kinds: long and short prompts, half of them with a beginning that others have."""
    length = chance.choice((1, 5, 20, 60, 200, 600))
    start = chance.choice((0, 0, chance.randrange(len(text) - length)))
    limits = AnswerOptions(max_tokens=chance.choice((0, 1, 8, 30, 80)), stop=("the",) if chance.random() < 0.1 else ())
    kind = chance.random()
    beams = BeamOptions(num_beams=chance.randint(2, 5)) if kind < 0.1 else None
    scores = ScoreOptions(prompt_from=0, top=3) if 0.1 < kind < 0.2 else None
    grammar = GRAMMAR if 0.2 < kind < 0.3 else None
    sampling = SamplingOptions(seed=chance.randrange(2**31), repeat_penalty=chance.choice((1.0, 1.1)), grammar=grammar)
    return engine.submit(text[start : start + length], sampling, limits, beams, scores=scores)


def finish(sequence: Any) -> str:
    collections.deque(sequence, maxlen=0)
    return str(sequence.answer.finish_reason)


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def tell(number: int, size: int, engine: Engine, seconds: float) -> None:
    cells = engine._worker.scheduler.cells
    print(f"{number} requests in {seconds:.0f} s: {size >> 20} MiB, {cells.used} of {cells.capacity} cells", flush=True)


if __name__ == "__main__":
    sys.exit(main())
