"""What it costs a token to keep to a shape: the same prompts and seeds with and without a grammar, in turn in one run.

    python benchmarks/bench_grammar.py [--models smollm2 …] [--rounds 5] [--tokens 120]

Told is the time that is taken to choose a token, forward passes left out, as the mean of a round and the median of
rounds; and how often a grammar refused the first choice, which is when other tokens have to be put to it. The first
round, in which the vocabulary is read, is told by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from machine import describe_machine, in_turn, keep, median, print_table

sys.path.insert(0, str(Path(__file__).parents[1]))

from llmasos import LLM
from llmasos.engine.options import SamplingOptions
from llmasos.engine.sampler import Sampler
from llmasos.engine.structure import grammar_of_shape

WANTED = 0.5  # milliseconds a token
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "colours": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 4},
        "email": {"format": "email"},
    },
    "required": ["name", "age", "colours", "email"],
}
SHAPES: dict[str, dict[str, Any]] = {
    "JSON": {"format": "json"},
    "schema": {"schema": PERSON},
    "regex": {"regex": r"[A-Z][a-z ,]{20,300}\. [12]\d{3}-[01]\d-[0-3]\d"},
}
SAMPLINGS = {
    "greedy": SamplingOptions(temperature=0),
    "drawn": SamplingOptions(),
    "drawn, penalties": SamplingOptions(repeat_penalty=1.1),
    "drawn, no cuts": SamplingOptions(top_k=0, top_p=1, min_p=0),
}
PROMPTS = ("Describe a person of your choice.", "Tell me of Paris.", "When was the Battle of Hastings?", "Hello!")


@dataclass
class Choosing:
    """The time that choosing tokens took: of all, and of those whose first choice was refused."""

    seconds: float = 0.0
    tokens: int = 0
    refused_seconds: float = 0.0
    refused: int = 0

    @property
    def milliseconds_a_token(self) -> float:
        return 1000 * self.seconds / self.tokens


def watched(choosing: Choosing, answer: Callable[[], object]) -> float:
    """Milliseconds a token that choosing takes while `answer` runs."""
    plain_sample, plain_admitted = Sampler.sample, Sampler._admitted_by

    def sample(self: Sampler, *where: Any) -> int:
        before, begun = choosing.refused, time.perf_counter()
        token = plain_sample(self, *where)
        taken = time.perf_counter() - begun
        choosing.seconds += taken
        choosing.tokens += 1
        choosing.refused_seconds += taken if choosing.refused > before else 0
        return token

    def admitted_by(self: Sampler, *grammar: Any) -> Any:
        choosing.refused += 1
        return plain_admitted(self, *grammar)

    Sampler.sample, Sampler._admitted_by = sample, admitted_by  # type: ignore[method-assign]
    seconds, tokens = choosing.seconds, choosing.tokens
    try:
        answer()
    finally:
        Sampler.sample, Sampler._admitted_by = plain_sample, plain_admitted  # type: ignore[method-assign]
    return 1000 * (choosing.seconds - seconds) / (choosing.tokens - tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["smollm2"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=120)
    options = parser.parse_args()
    rows = []
    for name in options.models:
        with LLM.from_pretrained(name, parallel=1) as model:
            rows += [row_of(model, shape, how, options) for shape in SHAPES for how in SAMPLINGS]
    print(describe_machine())
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("grammar", {"rows": rows})


def row_of(model: LLM, shape: str, how: str, options: argparse.Namespace) -> dict[str, Any]:
    grammar = grammar_of_shape(SHAPES[shape])
    free, kept = Choosing(), Choosing()

    def answers(grammar: str | None) -> None:
        for seed, prompt in enumerate(PROMPTS):
            sampling = replace(SAMPLINGS[how], seed=seed, grammar=grammar)
            wanted = {each: getattr(sampling, each) for each in sampling.__dataclass_fields__}
            model.chat(prompt, max_tokens=options.tokens, **wanted)

    first = watched(Choosing(), lambda: answers(grammar))
    without, with_grammar = in_turn(
        options.rounds,
        lambda: watched(free, lambda: answers(None)),
        lambda: watched(kept, lambda: answers(grammar)),
    )
    costs = [mine - theirs for mine, theirs in zip(with_grammar, without, strict=True)]
    return {
        "model": model.name,
        "shape": shape,
        "sampling": how,
        "tokens": kept.tokens // options.rounds,
        "refused": f"{kept.refused / kept.tokens:.0%}",
        "ms without": round(median(without), 3),
        "ms with": round(median(with_grammar), 3),
        "ms if refused": round(1000 * kept.refused_seconds / max(1, kept.refused), 3),
        "first round": round(first, 3),
        "cost": round(median(costs), 3),
        "wanted below": WANTED,
    }


if __name__ == "__main__":
    main()
