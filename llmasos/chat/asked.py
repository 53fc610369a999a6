"""An answer that was asked for, whoever gives it: its pieces as they come, and at last the whole."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.answers.reader import AnswerReader, Part, read_reply
from llmasos.chat.conversation import ChatPrompt
from llmasos.chat.messages import Reply
from llmasos.engine.engine import Engine
from llmasos.engine.figures import Figures, TokenBytes, figures_of
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer, Chunk, Event

Ended = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """What can be shown now, and how many tokens the answer has so far."""

    parts: Sequence[Part]
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Told:
    """A whole answer; of a beam search `others` are the next best."""

    reply: Reply
    figures: Figures
    others: tuple[Told, ...] = ()


class Asked(Protocol):
    """One thread reads it. Leaving `pieces` early, or Ctrl-C there, ends the answer where it is made."""

    def pieces(self, tick: float | None = None) -> Iterator[Piece | None]:
        """The pieces as they come; with `tick`, None after so many seconds without one. Raises what went wrong."""

    def told(self) -> Told:
        """The whole answer, waited for. Raises what went wrong."""

    def cancel(self) -> None:
        """Ends the answer; what has come stays, as one that was cancelled. Any thread may."""


class EngineAsked:
    """An answer of an engine in this process (`Asked`)."""

    def __init__(
        self,
        engine: Engine,
        prompt: ChatPrompt,
        sampling: SamplingOptions,
        limits: AnswerOptions,
        *,
        beams: BeamOptions | None = None,
        scores: ScoreOptions | None = None,
        ended: Ended | None = None,
    ) -> None:
        """Submits it. `ended` is called in the engine's thread when it is whole, or nothing comes of it."""
        self._engine, self._form, self._ended = engine, prompt.form, ended
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._answer: Answer | None = None
        self._sequence = engine.submit(
            prompt.tokens,
            sampling,
            limits,
            beams if beams and beams.num_beams > 1 else None,
            scores=scores,
            listener=self._hear,
            shown=prompt.shown,
            question_at=prompt.question_at,
        )

    def pieces(self, tick: float | None = None) -> Iterator[Piece | None]:
        reader, has_begun = AnswerReader(self._form), False
        try:
            while self._answer is None:
                event = self._next(tick)
                if isinstance(event, Answer):
                    rest = [] if has_begun else reader.feed(event.text)  # a beam search has no pieces
                    yield Piece([*rest, *reader.finish()], len(event.tokens))
                elif event is not None:
                    has_begun = True
                    yield Piece(reader.feed(event.text), event.completion_tokens)
                else:
                    yield None
        finally:
            if self._answer is None:
                self.cancel()

    def told(self) -> Told:
        while self._answer is None:
            self._next(None)
        return told_of(self._answer, self._form, self._engine.model.piece)

    @property
    def tokens(self) -> list[int]:
        """Of the prompt, and of the answer if it is whole."""
        return [*self._sequence.prompt_tokens, *(self._answer.tokens if self._answer else ())]

    def cancel(self) -> None:
        self._engine.cancel(self._sequence)

    def _hear(self, event: Event) -> None:
        self._events.put(event)
        if self._ended and not isinstance(event, Chunk):
            self._ended()

    def _next(self, tick: float | None) -> Chunk | Answer | None:
        try:
            event = self._events.get(timeout=tick)
        except queue.Empty:
            return None
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, Answer):
            self._answer = event
        return event


def told_of(answer: Answer, form: AnswerForm, piece: TokenBytes) -> Told:
    others = tuple(told_of(other, form, piece) for other in answer.others)
    return Told(read_reply(answer.text, form), figures_of(answer, piece), others)
