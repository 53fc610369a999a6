"""A sequence: one prompt with the answer that grows behind it, as seen by the engine and by whoever waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with its log-probability (natural, over the whole vocabulary), and the likeliest with theirs."""

    token: int
    log_probability: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. Times are in seconds.

    `finish_reason` is `stop` (the model's end or a stop string), `length` or `time` (as many tokens or as long as asked
    for), `context` (it is full) or `cancelled`. Of `guessed_tokens` that were checked ahead some came true, and as many
    passes were spared. Where tokens are scored, `end_score` is that of the model's end, which is none of the answer's
    tokens. A beam search gives a `score`, and the next best in `others`.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    prompt_seconds: float
    completion_seconds: float
    seed: int
    stop: str | None = None
    shifted_tokens: int = 0
    guessed_tokens: int = 0
    spared_passes: int = 0
    prompt_scores: tuple[TokenScore, ...] = ()
    token_scores: tuple[TokenScore, ...] = ()
    end_score: TokenScore | None = None
    score: float | None = None
    others: tuple[Answer, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Of the completion, the first token (which the prompt's pass yields) not counted."""
        return (
            (len(self.tokens) - 1) / self.completion_seconds
            if self.completion_seconds > 0 and len(self.tokens) > 1
            else 0.0
        )

    @property
    def prompt_tokens_per_second(self) -> float:
        read = self.prompt_tokens - self.cached_tokens
        return read / self.prompt_seconds if self.prompt_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer: text that can be shown, and how many tokens the answer has so far.

    Where tokens are scored, those that came since the piece before have their scores in it.
    """

    text: str
    completion_tokens: int
    token_scores: tuple[TokenScore, ...] = ()


Event = Chunk | Answer | BaseException


@dataclass(eq=False)
class Sequence:
    """What the engine's thread fills and a reader empties. `is_cancelled` may be set by anybody.

    `shown` are control tokens whose names belong to the answer's text, such as the mark before a call of a function.
    `prefixed` are the prompts beside the own one by which its answer is debiased.
    """

    prompt_tokens: list[int]
    sampling: SamplingOptions
    limits: AnswerOptions
    beams: BeamOptions | None = None
    scores: ScoreOptions | None = None
    listener: Callable[[Event], None] | None = None
    shown: frozenset[int] = frozenset()
    prefixed: list[list[int]] = field(default_factory=list)
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    submitted_at: float = field(default_factory=time.monotonic)
    answer: Answer | None = None
    _events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)

    @property
    def reason_to_end(self) -> str | None:
        """Why the answer ends here, whatever the model would say next."""
        if self.is_cancelled.is_set():
            return "cancelled"
        seconds = self.limits.max_seconds
        return "time" if seconds is not None and time.monotonic() - self.submitted_at >= seconds else None

    def emit(self, event: Event) -> None:
        """Called by the engine: a piece, then at last the answer or what went wrong. Who listens gets it at once."""
        if self.listener is None:
            self._events.put(event)
        else:
            self.listener(event)

    def __iter__(self) -> Iterator[Chunk]:
        """The pieces as they come; afterwards `answer` is there."""
        while isinstance(event := self._events.get(), Chunk):
            yield event
        if isinstance(event, BaseException):
            raise event
        self.answer = event


class Stopwatch:
    """Seconds since it was started or last asked."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds
