"""Asking an engine: answers waited for, streamed or awaited; what nobody wants any more is cancelled."""

from __future__ import annotations

import asyncio
import collections
import functools
import itertools
import numbers
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from llmasos.api.loops import call_in, settle
from llmasos.api.requests import Request, require_one
from llmasos.engine.engine import Engine
from llmasos.engine.options import AnswerOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sampler import with_seeds
from llmasos.engine.sequence import Answer, Chunk, Event
from llmasos.engine.sequence import Sequence as Submitted
from llmasos.errors import UsageError

WINDOW = 512  # prompts of a list that are submitted at a time
Given = TypeVar("Given")


def is_one(asked: Any) -> bool:
    """Whether it is one text or one list of token ids, and not a list of these."""
    return isinstance(asked, str) or (len(asked) > 0 and isinstance(asked[0], numbers.Integral))


class Asking:
    """Requests to one engine, from any thread; prompts come as token ids.

    The `owner` of the engine, who closes it when nobody has him any more, is held as long as an answer is waited for.
    """

    def __init__(self, engine: Engine, owner: object) -> None:
        self._engine, self._owner = engine, owner

    def submit(
        self, tokens: list[int], request: Request, listener: Callable[[int, Event], None] | None = None
    ) -> list[Submitted]:
        """One sequence for each answer, or one for all of a beam search. A listener gets their events by number."""
        limits = request.limits
        if request.scores is not None:
            self._require_top(request.scores.top)
        if request.max_length is not None:
            if request.max_length < len(tokens):
                raise UsageError(
                    f"the prompt has {len(tokens)} tokens and max_length is {request.max_length}",
                    hint="max_new_tokens counts the answer's alone",
                )
            limits = replace(limits, max_tokens=request.max_length - len(tokens))
        beams = request.beams if request.beams.num_beams > 1 else None
        sequences: list[Submitted] = []
        for number, sampling in enumerate(with_seeds(request.sampling, request.sequence_count)):
            own = None if listener is None else functools.partial(listener, number)
            sequences.append(
                self._engine.submit(
                    tokens,
                    sampling,
                    limits,
                    beams,
                    scores=request.scores,
                    listener=own,
                    shown=request.shown,
                    question_at=request.question_at,
                )
            )
        return sequences

    def submit_scoring(self, tokens: list[int], top: int, sampling: SamplingOptions) -> list[Submitted]:
        """A sequence whose tokens are scored, beside `top` likeliest ones at each place, and which gets no answer.

        Of `sampling` no more counts than how it is debiased.
        """
        self._require_top(top)
        nothing, wanted = AnswerOptions(max_tokens=0), ScoreOptions(prompt_from=0, top=top)
        return [self._engine.submit(tokens, sampling, nothing, scores=wanted)]

    def _require_top(self, top: int) -> None:
        size = self._engine.model.vocabulary_size
        if not isinstance(top, int) or not 0 <= top <= size:
            raise UsageError(f"of the likeliest tokens there can be 0 to {size}, not {top}")

    def all(self, asked: Any, submit: Callable[[Any], list[Submitted]], read: Callable[[list[Answer]], Given]) -> Any:
        """What is read of one, or a list of what is read of each; so many at a time are submitted as wait anyway."""
        if is_one(asked):
            return read(self.wait(submit(asked)))
        going: collections.deque[list[Submitted]] = collections.deque()
        given: list[Given] = []
        try:
            for one in asked:
                going.append(submit(one))
                if len(going) == WINDOW:
                    given.append(read(self.wait(going.popleft())))
            while going:
                given.append(read(self.wait(going.popleft())))
        except BaseException:
            self._cancel(itertools.chain.from_iterable(going))
            raise
        return given

    def wait(self, sequences: list[Submitted]) -> list[Answer]:
        answers: list[Answer] = []
        try:
            for sequence in sequences:
                collections.deque(sequence, maxlen=0)
                assert sequence.answer is not None
                answers.append(sequence.answer)
        except BaseException:
            self._cancel(sequences)
            raise
        return answers

    def pieces(self, tokens: list[int], request: Request) -> Generator[str]:
        """One answer as it grows. Leaving the iterator early ends it."""
        require_one(request)
        [sequence] = self.submit(tokens, request)
        try:
            for chunk in sequence:
                yield chunk.text
            if sequence.beams and sequence.answer:
                yield sequence.answer.text
        finally:
            self._engine.cancel(sequence)

    async def gathered(self, tokens: list[int], request: Request) -> list[Answer]:
        """`submit` and `wait` for asyncio. A cancelled call ends its answers."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in range(request.sequence_count)]

        def listen(number: int, event: Event) -> None:
            if not isinstance(event, Chunk):
                call_in(loop, settle, futures[number], event)

        sequences = self.submit(tokens, request, listen)
        try:
            return list(await asyncio.gather(*futures))
        finally:
            self._cancel(sequences)

    async def apieces(self, tokens: list[int], request: Request) -> AsyncGenerator[str]:
        """`pieces` for asyncio."""
        require_one(request)
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()
        sequences = self.submit(tokens, request, lambda _, event: call_in(loop, events.put_nowait, event))
        try:
            while isinstance(event := await events.get(), Chunk):
                yield event.text
            if isinstance(event, BaseException):
                raise event
            if sequences[0].beams:
                yield event.text
        finally:
            self._cancel(sequences)

    def _cancel(self, sequences: Iterable[Submitted]) -> None:
        for sequence in sequences:
            self._engine.cancel(sequence)
