"""One prompt, put to a model that was chosen, and its answers written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmasos.engine.debias import sequence_count
from llmasos.engine.options import ScoreOptions
from llmasos_cli import output
from llmasos_cli.answers import Writing, write_answers
from llmasos_cli.choices import Chosen

MOST_AT_A_TIME = 16  # answers to one prompt


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags of one call say, beside the options of the library."""

    text: str
    system: str | None = None
    is_raw: bool = False
    count: int = 1
    as_json: bool = False
    with_stats: bool = False
    to_file: Path | None = None
    prompt_cache: Path | None = None
    logprobs: int | None = None
    extract: str | None = None
    is_verbose: bool = False

    @property
    def scores(self) -> ScoreOptions | None:
        return None if self.logprobs is None else ScoreOptions(top=self.logprobs)


def answer(chosen: Chosen, wanted: Wanted) -> None:
    """Answers one prompt, as often as wanted; of a beam search one answer has all that are."""
    from llmasos.engine.sampler import with_seeds

    at_a_time = 1 if chosen.loading.deterministic else min(wanted.count, MOST_AT_A_TIME)
    parallel = max(sequence_count(chosen.sampling, chosen.beams), at_a_time)
    with chosen.answering(wanted, parallel=parallel) as answering:
        samplings = [chosen.sampling] if chosen.beams.num_beams > 1 else with_seeds(chosen.sampling, wanted.count)
        asked = [answering.ask(wanted.text, each, lambda text: output.note(f"note: {text}")) for each in samplings]
        write_answers(asked, _writing(chosen, wanted, answering.context_length))


def _writing(chosen: Chosen, wanted: Wanted, context_length: int) -> Writing:
    return Writing(
        shows_thought=output.is_seen() if chosen.chatting.think is None else chosen.chatting.think,
        as_json=wanted.as_json,
        with_stats=wanted.with_stats,
        to_file=wanted.to_file,
        most=wanted.count,
        has_shape=chosen.sampling.grammar is not None,
        context_length=context_length,
        extract=wanted.extract,
    )
