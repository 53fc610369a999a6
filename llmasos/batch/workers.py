"""Who answers jobs: an engine, which works on many at a time, or an embedder. What is done comes out as it is done."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from llmasos.batch.jobs import Job
from llmasos.engine.embedder import Embedder
from llmasos.engine.engine import Engine
from llmasos.engine.sampler import SEEDS
from llmasos.engine.sequence import Answer, Chunk, Event, Sequence
from llmasos.errors import BadInputError, LlmasosError
from llmasos.openai.asked import Asked, Stamp
from llmasos.openai.embeddings import EmbeddingAsked
from llmasos.openai.interface import EmbeddingInterface, TextInterface

MOST_OF_A_JOB = 4096  # answers; well below what an engine takes at a time
TEXTS_AT_ONCE = 128  # of embeddings: two of the engine's passes, so that one is put together while one runs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: the response's body, or why there is none; neither if it was given up before it began."""

    job: Job
    body: dict[str, Any] | None = None
    error: BaseException | None = None


class Worker(Protocol):
    """Takes jobs while it has room, and gives what came of them. `written` counts the tokens of all answers so far."""

    written: int

    @property
    def has_room(self) -> bool: ...
    @property
    def is_idle(self) -> bool: ...
    def submit(self, job: Job, key: str) -> None:
        """Takes a job; `key` is what its response is called by. Raises LlmasosError for one that can't be done."""

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        """What was done since; waits so long for the first."""

    def give_up_what_waits(self) -> None:
        """Drops what has not begun yet, so that what has comes to its end sooner."""


class TextWorker:
    """Jobs through an engine, so many at a time that it never waits for the next."""

    def __init__(
        self, engine: Engine, interface: TextInterface, name: str, most: int, *, has_own_seeds: bool = False
    ) -> None:
        """`most` answers are submitted at a time; those that the engine has no place for yet wait in it.

        With `has_own_seeds` a job that names no seed has the same one in every run.
        """
        self._engine, self._interface, self._name, self._most = engine, interface, name, most
        self._has_own_seeds = has_own_seeds
        self._done: queue.SimpleQueue[_Going] = queue.SimpleQueue()
        self._going: dict[int, _Going] = {}
        self.written = 0

    @property
    def has_room(self) -> bool:
        return sum(len(going.sequences) for going in self._going.values()) < self._most

    @property
    def is_idle(self) -> bool:
        return not self._going

    def submit(self, job: Job, key: str) -> None:
        asked = self._interface.ask(job.url, job.body)
        if self._has_own_seeds and asked.sampling.seed is None:
            seed = int.from_bytes(key.encode(), "little") % SEEDS
            asked = replace(asked, sampling=replace(asked.sampling, seed=seed))
        wanted = asked.sequences()
        if len(wanted) > MOST_OF_A_JOB:
            raise BadInputError(f"it asks for {len(wanted)} answers, and a line may ask for {MOST_OF_A_JOB}")
        going = _Going(job, key, asked, [None] * len(wanted))
        try:
            for place, (prompt, sampling) in enumerate(wanted):
                going.sequences.append(
                    self._engine.submit(
                        prompt,
                        sampling,
                        asked.limits,
                        asked.beams,
                        scores=asked.scores,
                        shown=asked.shown,
                        question_at=asked.question_at,
                        listener=lambda event, place=place: self._hear(going, place, event),  # type: ignore[misc]
                    )
                )
        except BaseException:
            self._cancel(going)
            raise
        self._going[job.number] = going

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        with contextlib.suppress(queue.Empty):
            going = self._done.get(timeout=seconds)
            while True:
                if self._going.pop(going.job.number, None) is going:
                    yield self._outcome(going)
                going = self._done.get_nowait()

    def give_up_what_waits(self) -> None:
        for going in list(self._going.values()):
            if not going.has_begun:
                self._cancel(going)

    def _hear(self, going: _Going, place: int, event: Event) -> None:
        """In the engine's thread."""
        if isinstance(event, Chunk):
            going.has_begun = True
            self.written += event.completion_tokens - going.counted[place]
            going.counted[place] = event.completion_tokens
            return
        if isinstance(event, Answer):
            self.written += len(event.tokens) - going.counted[place]
        going.events[place] = event
        if all(each is not None for each in going.events):
            self._done.put(going)

    def _outcome(self, going: _Going) -> Outcome:
        answers = [event for event in going.events if isinstance(event, Answer)]
        errors = [event for event in going.events if isinstance(event, BaseException)]
        if errors:
            return Outcome(going.job, error=errors[0])
        if any(answer.finish_reason == "cancelled" for answer in answers):
            return Outcome(going.job)
        stamp = Stamp(going.key, int(time.time()), self._name)
        return Outcome(going.job, going.asked.response(answers, stamp, self._engine.model.piece))

    def _cancel(self, going: _Going) -> None:
        for sequence in going.sequences:
            self._engine.cancel(sequence)


@dataclass(slots=True)
class _Going:
    """A job that the engine works on; `events` are the ends of its answers as far as they are there."""

    job: Job
    key: str
    asked: Asked
    events: list[Answer | BaseException | None]
    sequences: list[Sequence] = field(default_factory=list)
    has_begun: bool = False
    counted: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counted = [0] * len(self.events)


class EmbeddingWorker:
    """Jobs through an embedder, as many texts at a time as fill its passes."""

    def __init__(self, embedder: Embedder, interface: EmbeddingInterface, name: str) -> None:
        self._embedder, self._interface, self._name = embedder, interface, name
        self._waiting: list[tuple[Job, str, EmbeddingAsked]] = []
        self.written = 0  # here the tokens that were read

    @property
    def has_room(self) -> bool:
        return sum(len(asked.texts) for _, _, asked in self._waiting) < TEXTS_AT_ONCE

    @property
    def is_idle(self) -> bool:
        return not self._waiting

    def submit(self, job: Job, key: str) -> None:
        self._waiting.append((job, key, self._interface.ask(job.url, job.body)))

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        waiting, self._waiting = self._waiting, []
        try:
            vectors = self._embed([asked for _, _, asked in waiting])
        except LlmasosError:  # one of them spoils it for all
            for each in waiting:
                yield self._alone(*each)
            return
        for (job, key, asked), own in zip(waiting, vectors, strict=True):
            yield Outcome(job, asked.response(own, Stamp(key, int(time.time()), self._name)))

    def give_up_what_waits(self) -> None:
        """Nothing waits for longer than a pass."""

    def _alone(self, job: Job, key: str, asked: EmbeddingAsked) -> Outcome:
        try:
            [vectors] = self._embed([asked])
        except LlmasosError as error:
            return Outcome(job, error=error)
        return Outcome(job, asked.response(vectors, Stamp(key, int(time.time()), self._name)))

    def _embed(self, asked: list[EmbeddingAsked]) -> list[list[list[float]]]:
        texts = [text for each in asked for text in each.texts]
        vectors = iter(self._embedder.embed(texts) if texts else [])
        self.written += sum(map(len, texts))
        return [[next(vectors) for _ in each.texts] for each in asked]
