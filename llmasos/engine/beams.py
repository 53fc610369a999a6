"""Beam search: which of the candidates go on, which are finished, and when the best can't get better. Pure Python.

The same decisions as transformers' `generate(num_beams=…)` makes (generation/utils.py, `_beam_search`), so that people
get the sequences that they know. Of all continuations, the best first, those that don't end go on until there are
num_beams; those that end are finished if they are among the first num_beams. A finished one is worth its summed
log-probability divided by its length to the power of `length_penalty`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from llmasos.engine.options import DRAWING, WEIGHING, BeamOptions
from llmasos.errors import UsageError

MOST_END_TOKENS = 8  # of a vocabulary: so many candidates may be none to go on with


@dataclass(frozen=True, slots=True)
class Beam:
    """An answer so far, and the sum of its tokens' log-probabilities."""

    tokens: tuple[int, ...] = ()
    log_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer with what it is worth; `is_ended` if its last token is its end, and not just the last allowed."""

    tokens: tuple[int, ...]
    score: float
    is_ended: bool


@dataclass(frozen=True, slots=True)
class Continuation:
    """A beam by its index, and the token that it goes on with."""

    beam: int
    token: int


class BeamSearch:
    """Call `advance` with the candidates of all `beams` until `is_done`.

    `ends` says whether an answer is at its end, `longest` how many tokens it may have. Each beam's candidates are at
    least its `candidates_wanted` likeliest tokens.
    """

    def __init__(self, options: BeamOptions, *, longest: int, ends: Callable[[tuple[int, ...]], bool]) -> None:
        self.options = options
        self.beams = [Beam()]
        self.finished: list[Finished] = []
        self.is_done = longest == 0
        self._longest = longest
        self._ends = ends
        self.candidates_wanted = 2 * options.num_beams + MOST_END_TOKENS

    def advance(self, candidates: Sequence[Sequence[tuple[int, float]]]) -> list[Continuation]:
        """For each beam its likeliest tokens with their log-probabilities; what the next beams are made of."""
        found = [
            (beam.log_probability + log_probability, index, token)
            for index, (beam, own) in enumerate(zip(self.beams, candidates, strict=True))
            for token, log_probability in own
        ]
        found.sort(key=lambda each: -each[0])  # stable: of equal ones the earlier beam's
        going_on: list[tuple[Beam, Continuation]] = []
        ending: list[Finished] = []
        for rank, (total, index, token) in enumerate(found):
            if len(going_on) == self.options.num_beams:
                break
            tokens = (*self.beams[index].tokens, token)
            is_ended = self._ends(tokens)
            if not is_ended and len(tokens) < self._longest:
                going_on.append((Beam(tokens, total), Continuation(index, token)))
            elif rank < self.options.num_beams:
                ending.append(Finished(tokens, self._worth(total, len(tokens)), is_ended))
        self._finish(ending)
        self.beams = [beam for beam, _ in going_on]
        self.is_done = not self.beams or not self._can_improve()
        return [] if self.is_done else [continuation for _, continuation in going_on]

    def best(self) -> list[Finished]:
        """As many as there are beams, the best first. If the search was broken off, what there is."""
        known = self.finished or [
            Finished(beam.tokens, self._worth(beam.log_probability, max(1, len(beam.tokens))), False)
            for beam in self.beams
        ]
        return sorted(known, key=lambda each: -each.score)

    @property
    def _is_full(self) -> bool:
        return len(self.finished) >= self.options.num_beams

    def _worth(self, total: float, length: int) -> float:
        return float(total / length**self.options.length_penalty)

    def _finish(self, ending: list[Finished]) -> None:
        if not (self._is_full and self.options.early_stopping == "true"):
            merged = sorted([*self.finished, *ending], key=lambda each: -each.score)
            self.finished = merged[: self.options.num_beams]

    def _can_improve(self) -> bool:
        if not self._is_full:
            return True
        if self.options.early_stopping == "true":
            return False
        length = len(self.beams[0].tokens)
        if self.options.early_stopping == "never" and self.options.length_penalty > 0:
            length = self._longest
        return self._worth(self.beams[0].log_probability, length) > self.finished[-1].score


def require_search(options: BeamOptions, count: int, given: Collection[str], *, draws: bool) -> None:
    """Refuses what a search for `count` answers would pass over in silence; `given` are the options beside it."""
    if options.num_beams == 1:
        return
    if draws:
        drawn = ", ".join(sorted(DRAWING.intersection(given))) or "do_sample"
        raise UsageError("beams never draw a token", hint=f"leave out {drawn}, or num_beams")
    if options.num_beams < count:
        raise UsageError(f"{options.num_beams} beams can't give {count} sequences", hint="raise num_beams")
    if weighing := sorted(WEIGHING.intersection(given)):
        raise UsageError(f"{weighing[0]} has no effect on beams", hint=f"leave out {', '.join(weighing)}, or num_beams")
