"""The engine: a thread that owns a context and answers the prompts that are submitted, in turn.

Forward passes run in the engine's thread, so the caller's thread stays free for signals: Ctrl-C is noticed at once, and
`cancel` stops a long prompt within one operation of the model.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field

from llmasos.engine.context import Aborted, Context
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sampler import Sampler
from llmasos.engine.sequence import Answer, Chunk, Sequence, Stopwatch
from llmasos.engine.text import StopMatcher, TextDecoder
from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError

SHIFT_KEPT_SHARE = 4  # of a full context, this part (one in four) stays at the front when the oldest is forgotten


class Engine:
    """A context behind one thread. `with` closes the context; the model belongs to whoever loaded it."""

    def __init__(self, model: Model, context: Context) -> None:
        self.model = model
        self.context = context
        self._cached: list[int] = []  # the tokens whose keys and values the context holds
        self._reusable = sys.maxsize  # so many of them were computed with nothing forgotten before them
        self._changing = threading.Lock()  # held while it is decided which sequence is the current one, or cancelled
        self._current: Sequence | None = None
        self._is_closing = False
        self._waiting: queue.SimpleQueue[Sequence | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="llmasos-engine", daemon=True)
        self._thread.start()

    def submit(self, prompt_tokens: Tokens[int], sampling: SamplingOptions, limits: AnswerOptions) -> Sequence:
        """Queues a prompt; iterate over the result for its pieces.

        Raises PromptTooLongError if the context can't hold it and a token more, BadInputError for an empty prompt or
        token ids that the model does not have.
        """
        tokens = list(prompt_tokens)
        if not tokens:
            raise BadInputError("the prompt is empty", hint="give some text to go on from")
        if not all(0 <= token < self.model.vocabulary_size for token in tokens):
            raise BadInputError(f"a token id is outside the model's {self.model.vocabulary_size}")
        if len(tokens) >= self.context.length:
            raise PromptTooLongError(len(tokens), self.context.length)
        sequence = Sequence(tokens, sampling, limits)
        with self._changing:
            if self._is_closing:
                raise LlmasosError("the engine is closed")
            self._waiting.put(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Ends a sequence; what it has so far stays its answer."""
        with self._changing:
            sequence.is_cancelled.set()
            if self._current is sequence:
                self.context.abort()

    def close(self) -> None:
        """Cancels what runs and what waits, ends the thread and frees the context."""
        with self._changing:
            self._is_closing = True
            self._waiting.put(None)
            if self._current:
                self._current.is_cancelled.set()
                self.context.abort()
        self._thread.join()
        self.context.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while (sequence := self._waiting.get()) is not None:
            self._begin(sequence)
            try:
                event: Answer | BaseException = self._answer(sequence)
            except BaseException as error:  # whatever it is belongs to the one who waits
                self._forget_everything()
                event = error
            with self._changing:
                self._current = None
            sequence.emit(event)

    def _begin(self, sequence: Sequence) -> None:
        with self._changing:
            self._current = sequence
            self.context.rearm()
            if self._is_closing:
                sequence.is_cancelled.set()

    def _answer(self, sequence: Sequence) -> Answer:
        sampler = Sampler(self.model, sequence.sampling)
        try:
            return self._complete(sequence, sampler)
        finally:
            sampler.close()

    def _complete(self, sequence: Sequence, sampler: Sampler) -> Answer:
        growing = _GrowingAnswer(sequence, self.model)
        watch = Stopwatch()
        reason: str | None = None
        try:
            growing.cached_tokens = self._read_prompt(sequence)
            sampler.accept_prompt(sequence.prompt_tokens)
            if sequence.limits.max_tokens == 0:
                reason = "length"
            growing.prompt_seconds = watch.lap()
            while reason is None:
                token = sampler.sample(self.context)
                reason = growing.add(token) or self._next_pass(sequence, growing, token)
        except Aborted as aborted:
            reason = "cancelled"
            if not aborted.kept:
                self._cached.clear()
        growing.completion_seconds = watch.lap()
        return growing.finish(reason, sampler.seed)

    def _next_pass(self, sequence: Sequence, growing: _GrowingAnswer, token: int) -> str | None:
        """Decodes the token just chosen; returns why the answer ends instead, if it does."""
        if sequence.is_cancelled.is_set():
            return "cancelled"
        if len(self._cached) >= self.context.length:
            if sequence.limits.on_overflow != "shift":
                return "context"
            growing.shifted_tokens += self._shift(len(sequence.prompt_tokens))
        self.context.decode([token], len(self._cached))
        self._cached.append(token)
        return None

    def _read_prompt(self, sequence: Sequence) -> int:
        """Brings the prompt into the cache, keeping what is there of it; returns how many tokens that spared."""
        tokens = sequence.prompt_tokens
        kept = self._keep_common_prefix(tokens)
        size = self.context.batch_size
        for start in range(kept, len(tokens), size):
            if sequence.is_cancelled.is_set():
                raise Aborted(kept=True)
            part = tokens[start : start + size]
            self.context.decode(part, start, wants_logits=start + size >= len(tokens))
            self._cached.extend(part)
        return kept

    def _keep_common_prefix(self, tokens: list[int]) -> int:
        common = 0
        candidates = self._cached[: self._reusable]
        for old, new in zip(candidates, tokens[:-1], strict=False):  # the last is decoded in any case, for its logits
            if old != new:
                break
            common += 1
        if common < len(self._cached) and not self.context.forget(common):
            common = 0
        if common == 0:
            self._forget_everything()
        del self._cached[common:]
        return common

    def _shift(self, prompt_length: int) -> int:
        """Makes room by forgetting half of what follows the kept front; returns how many tokens are gone."""
        front = min(prompt_length, self.context.length // SHIFT_KEPT_SHARE)
        count = (len(self._cached) - front) // 2
        self.context.shift(front, front + count)
        del self._cached[front : front + count]
        self._reusable = min(self._reusable, front)  # what follows was computed while the forgotten was there
        return count

    def _forget_everything(self) -> None:
        self.context.clear()
        self._cached.clear()
        self._reusable = sys.maxsize


@dataclass
class _GrowingAnswer:
    """Tokens on their way to text: decodes, looks for stop strings, tells the reader."""

    sequence: Sequence
    model: Model
    tokens: list[int] = field(default_factory=list)
    cached_tokens: int = 0
    shifted_tokens: int = 0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._decoder = TextDecoder()
        self._matcher = StopMatcher(self.sequence.limits.stop)
        self._shown: list[str] = []

    def add(self, token: int) -> str | None:
        """Takes a chosen token; returns why the answer ends here, or None."""
        if self.model.is_end(token) and (self.sequence.sampling.grammar or not self.sequence.limits.ignore_eos):
            return "stop"  # where a grammar ends, nothing else can follow
        self.tokens.append(token)
        self._show(self._matcher.feed(self._decoder.feed(self.model.piece(token))))
        if self._matcher.matched is not None:
            return "stop"
        return "length" if len(self.tokens) == self.sequence.limits.max_tokens else None

    def finish(self, reason: str, seed: int) -> Answer:
        if self._matcher.matched is None:
            self._show(self._matcher.feed(self._decoder.finish()))
            self._show(self._matcher.finish())
        return Answer(
            text="".join(self._shown),
            tokens=tuple(self.tokens),
            finish_reason=reason,
            prompt_tokens=len(self.sequence.prompt_tokens),
            cached_tokens=self.cached_tokens,
            prompt_seconds=self.prompt_seconds,
            completion_seconds=self.completion_seconds,
            seed=seed,
            stop=self._matcher.matched,
            shifted_tokens=self.shifted_tokens,
        )

    def _show(self, text: str) -> None:
        if text:
            self._shown.append(text)
            self.sequence.emit(Chunk(text, len(self.tokens)))
