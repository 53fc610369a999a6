"""What a body asks of the engine, in the engine's words; and what every response says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.engine.figures import TokenBytes, figures_of
from llmasos.engine.options import AnswerOptions, SamplingOptions, ScoreOptions
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
    """The parts of a streamed response, as the answers grow. Answers go by their numbers in `Asked.sequences`."""

    @abstractmethod
    def begin(self) -> list[dict[str, Any]]:
        """What comes before all answers."""

    @abstractmethod
    def feed(self, number: int, chunk: Chunk) -> list[dict[str, Any]]:
        """What a piece of an answer says."""

    @abstractmethod
    def finish(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        """What was held back of an answer, and why it has ended."""

    @abstractmethod
    def total(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The part with the tokens of all, which closes a stream if that is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(ABC):
    """`count` answers to each of the prompts. `shown` are the control tokens that belong to their text.

    `tells_figures`: each choice has all that is known of its answer beside what OpenAI's interface tells.
    """

    prompts: Sequence[list[int]]
    sampling: SamplingOptions
    limits: AnswerOptions
    count: int = 1
    scores: ScoreOptions | None = None
    shown: frozenset[int] = frozenset()
    tells_figures: bool = False

    def sequences(self) -> list[tuple[list[int], SamplingOptions]]:
        """What the engine has to be given, all answers to the first prompt first."""
        return [(prompt, sampling) for prompt in self.prompts for sampling in with_seeds(self.sampling, self.count)]

    @abstractmethod
    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        """OpenAI's response with the answers, which come as `sequences` does; `piece` gives the bytes of a token."""

    @abstractmethod
    def stream(self, stamp: Stamp, piece: TokenBytes) -> Stream:
        """What makes the parts of a streamed response."""

    def figures(self, answer: Answer, piece: TokenBytes) -> dict[str, Any]:
        """What a choice has beside OpenAI's own fields: nothing, unless it was asked for."""
        return {"figures": figures_of(answer, piece).as_json()} if self.tells_figures else {}

    def usage(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The tokens. A prompt counts once, however many answers there are to it."""
        read = sum(len(prompt) for prompt in self.prompts)
        written = sum(len(answer.tokens) for answer in answers)
        cached = sum(answer.cached_tokens for answer in answers[:: self.count])
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


def finish_reason(answer: Answer) -> str:
    """In OpenAI's words: whatever cuts an answer short is its length."""
    return "stop" if answer.finish_reason == "stop" else "length"
