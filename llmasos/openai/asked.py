"""What a body asks of the engine, in the engine's words; and what every response says of itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.engine.figures import TokenBytes, figures_of
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sampler import with_seeds
from llmasos.engine.sequence import Answer, Chunk


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who answers, and when (`created`, in seconds of the epoch). `key` is what the response's id ends with."""

    key: str
    created: int
    model: str

    def on(self, prefix: str, kind: str) -> dict[str, Any]:
        """How every response begins."""
        return {"id": f"{prefix}-{self.key}", "object": kind, "created": self.created, "model": self.model}


class Stream(ABC):
    """The parts of a streamed response, as the answers grow. Answers go by their numbers, as in `Asked.ends`."""

    @abstractmethod
    def begin(self) -> list[dict[str, Any]]:
        """What comes before all answers."""

    @abstractmethod
    def feed(self, number: int, chunk: Chunk) -> list[dict[str, Any]]:
        """What a piece of an answer says."""

    @abstractmethod
    def finish(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        """What was held back of an answer, and why it has ended."""

    def total(self, answers: Sequence[Answer]) -> dict[str, Any] | None:
        """The part with the tokens of all, which closes a stream if that is wanted; None if the ends have them."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(ABC):
    """`count` answers to each of the prompts: the best of `drawn` ones, or of a search with `beams`.

    `shown` are the control tokens that belong to their text, `question_at` is where the last question of a conversation
    begins. `tells_figures`: each choice has all that is known of its
    answer beside what OpenAI's interface tells.
    """

    prompts: Sequence[list[int]]
    sampling: SamplingOptions
    limits: AnswerOptions
    count: int = 1
    drawn: int = 0  # as many as are wanted, unless it is more
    beams: BeamOptions | None = None
    scores: ScoreOptions | None = None
    shown: frozenset[int] = frozenset()
    question_at: int | None = None
    tells_figures: bool = False

    def sequences(self) -> list[tuple[list[int], SamplingOptions]]:
        """What the engine has to be given, all answers to the first prompt first."""
        return [(prompt, each) for prompt in self.prompts for each in with_seeds(self.sampling, self._each)]

    def ends(self, number: int, answer: Answer) -> list[tuple[int, Answer]]:
        """The answers, with their own numbers, that a sequence ends with: of a beam search several."""
        if self.beams is None:
            return [(number, answer)]
        return [(number * self.count + place, each) for place, each in enumerate(self._best([answer]))]

    def told(self, answers: Sequence[Answer]) -> list[tuple[int, Answer]]:
        """Of the sequences' answers those that are wanted, each with the number of its prompt."""
        groups = [answers[start : start + self._each] for start in range(0, len(answers), self._each)]
        return [(place, answer) for place, group in enumerate(groups) for answer in self._best(group)]

    @property
    def _each(self) -> int:
        """How many sequences the engine works on for a prompt."""
        return 1 if self.beams else max(self.count, self.drawn)

    def _best(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        """Of the answers to one prompt."""
        if self.beams:
            return (answers[0], *answers[0].others)[: self.count]
        if self.drawn > self.count:
            return sorted(answers, key=_mean_log_probability, reverse=True)[: self.count]
        return answers

    @abstractmethod
    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        """The response with the answers, which come as `sequences` does; `piece` gives the bytes of a token."""

    @abstractmethod
    def stream(self, stamp: Stamp, piece: TokenBytes) -> Stream:
        """What makes the parts of a streamed response."""

    def figures(self, answer: Answer, piece: TokenBytes) -> dict[str, Any]:
        """What a choice has beside OpenAI's own fields: nothing, unless it was asked for."""
        return {"figures": figures_of(answer, piece).as_json()} if self.tells_figures else {}

    def usage(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The tokens. A prompt counts once, however many answers there are to it; answers count that are not told."""
        read = sum(len(prompt) for prompt in self.prompts)
        told = [answer for _, answer in self.told(answers)] if self.beams else answers
        written = sum(len(answer.tokens) for answer in told)
        cached = sum(answer.cached_tokens for answer in answers[:: self._each])
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


def finish_reason(answer: Answer) -> str:
    """In OpenAI's words: whatever cuts an answer short is its length."""
    return "stop" if answer.finish_reason == "stop" else "length"


def _mean_log_probability(answer: Answer) -> float:
    """Of a token; an answer without any is the worst."""
    scores = answer.token_scores
    return sum(score.log_probability for score in scores) / len(scores) if scores else -math.inf
