"""The engine: a thread that owns a context and answers all prompts that are submitted, many in each forward pass.

Forward passes run in the engine's thread, so the caller's thread stays free for signals: Ctrl-C is noticed at once, and
`cancel` stops a long prompt within one operation of the model.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.engine.background import Background
from llmasos.engine.context import Context
from llmasos.engine.debias import cells_needed, is_debiased, prefixed, require_meaning
from llmasos.engine.grammar.soundness import examine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer, Event, Sequence
from llmasos.engine.worker import Worker
from llmasos.errors import BadInputError, BusyError, LlmasosError, PromptTooLongError, UsageError

if TYPE_CHECKING:
    from llmasos.engine.draft import Drafter

MOST_SUBMITTED = 10_000

Outcome = queue.SimpleQueue[int | BaseException]
Errand = tuple[Callable[[], int], Outcome]


class Engine:
    """A context behind one thread. `with` closes the context and the drafter; the model belongs to whoever loaded it.

    No more than `most_submitted` sequences are taken that have not ended.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        *,
        drafter: Drafter | None = None,
        most_submitted: int = MOST_SUBMITTED,
    ) -> None:
        self.model = model
        self._drafter = drafter
        self.context = context
        self._worker = Worker(model, context, self._announce, self._tell, drafter)
        self._most_submitted = most_submitted
        self._changing = threading.Lock()  # held while it is decided who is submitted, read or cancelled
        self._submitted: set[Sequence] = set()  # and not ended
        self._being_read: list[Sequence] = []  # by the pass under way
        self._is_closing = False
        self._step_began: float | None = None
        self._arrived: queue.SimpleQueue[Sequence | Errand | None] = queue.SimpleQueue()
        self._background = Background(self._work, "llmasos-engine")
        self._background.start()

    @property
    def parallel(self) -> int:
        """How many sequences are worked on at a time."""
        return self._worker.scheduler.parallel

    def submit(
        self,
        prompt_tokens: Tokens[int],
        sampling: SamplingOptions,
        limits: AnswerOptions,
        beams: BeamOptions | None = None,
        *,
        scores: ScoreOptions | None = None,
        listener: Callable[[Event], None] | None = None,
        shown: frozenset[int] = frozenset(),
        question_at: int | None = None,
    ) -> Sequence:
        """Queues a prompt; iterate over the result for its pieces, of which a search with `beams` has none.

        A `listener` is given the pieces, and at last the Answer or an error, in the engine's thread instead; it must
        neither wait nor fail. Control tokens leave no text behind, but for those `shown`. `question_at` is where in a
        conversation its last question begins, for what is debiased. Raises PromptTooLongError if
        the context can't hold the prompt and a token more, BadInputError for an empty prompt, token ids that the model
        does not have, or a grammar that can't be followed, BusyError if too many wait already, UsageError for more
        beams than the context is made for.
        """
        tokens = list(prompt_tokens)
        if not tokens:
            raise BadInputError("the prompt is empty", hint="give some text to go on from")
        if not all(0 <= token < self.model.vocabulary_size for token in tokens):
            raise BadInputError(f"a token id is outside the model's {self.model.vocabulary_size}")
        if len(tokens) >= self.context.length:
            raise PromptTooLongError(len(tokens), self.context.length)
        if beams is not None and beams.num_beams > self.parallel:
            raise UsageError(f"{beams.num_beams} beams are more than the {self.parallel} that go on at a time")
        if sampling.grammar is not None:
            examine(sampling.grammar)  # here, where others need not wait for it
        sequence = Sequence(tokens, sampling, limits, beams, scores, listener, shown)
        if is_debiased(sampling):
            sequence.prefixed = self._copies(sequence, question_at)
        with self._changing:
            if self._is_closing:
                raise LlmasosError("the engine is closed")
            if len(self._submitted) >= self._most_submitted:
                raise BusyError(f"{len(self._submitted)} prompts wait already", hint="try again when some are answered")
            self._submitted.add(sequence)
            self._arrived.put(sequence)
        return sequence

    def _copies(self, sequence: Sequence, question_at: int | None) -> list[list[int]]:
        """The prompts behind prefixes by which an answer is debiased, if it can be."""
        sampling, scores, prompt, context = sequence.sampling, sequence.scores, sequence.prompt_tokens, self.context
        has_beams, shifts = sequence.beams is not None, sequence.limits.on_overflow == "shift"
        require_meaning(sampling, has_beams=has_beams, shifts=shifts)
        if question_at and scores and scores.prompt_from is not None and scores.prompt_from < question_at:
            raise UsageError("what stands before a question has no debiased scores")
        begins = self.model.adds("bos") and prompt[0] == self.model.special_token("bos")
        tokenize = functools.partial(self.model.tokenize, add_special=False, parse_special=False)
        copies = prefixed(prompt, sampling, question_at, begins, tokenize)
        count, longest = 1 + len(copies), max(map(len, copies))
        if count > self.parallel:
            raise UsageError(
                f"{count - 1} attributes need {count} sequences at a time, and {self.parallel} go on",
                hint="give fewer debias_attributes, or let more go on at a time",
            )
        if longest >= context.length:
            raise PromptTooLongError(longest, context.length)
        shares = context.shares_cells and not (scores and scores.alone)
        if cells_needed(prompt, copies, shares=shares) + count > context.capacity:
            raise BadInputError(
                f"the prompt and {count - 1} copies of it do not fit into the {context.capacity} tokens of all",
                hint="give fewer debias_attributes, a longer context, or a shorter prompt",
            )
        return copies

    def cancel(self, sequence: Sequence) -> None:
        """Ends a sequence; what it has so far stays its answer."""
        with self._changing:
            sequence.is_cancelled.set()
            self._abort_if_nobody_wants_it()

    def save(self, tokens: Tokens[int], path: Path, identity: str) -> int:
        """Writes what the cache holds of these tokens to a file, for `restore`; of how many it is. If of none, no file.

        `identity` names model and engine. Raises DiskFullError.
        """
        return self._do(lambda: self._worker.save(list(tokens), path, identity))

    def restore(self, path: Path, identity: str) -> int:
        """Takes into the cache what `save` has written, where the identity is the same; returned is of how many tokens.

        0 if the file is missing, damaged or another's, or if there is no room: then they are just read again.
        """
        return self._do(lambda: self._worker.restore(path, identity))

    def _do(self, work: Callable[[], int]) -> int:
        """What has to be done in the engine's thread, between two passes."""
        outcome: Outcome = queue.SimpleQueue()
        with self._changing:
            if self._is_closing:
                raise LlmasosError("the engine is closed")
            self._arrived.put((work, outcome))
        result = outcome.get()
        if isinstance(result, BaseException):
            raise result
        return result

    @property
    def busy_seconds(self) -> float:
        """For how long the pass under way has been going on; 0 between passes."""
        began = self._step_began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def going_on(self) -> int:
        """How many sequences were submitted and have not ended."""
        return len(self._submitted)

    def close(self) -> None:
        """Cancels what runs and what waits, ends the thread and frees the context."""
        with self._changing:
            self._is_closing = True
            for sequence in self._submitted:
                sequence.is_cancelled.set()
            self._abort_if_nobody_wants_it()
            self._arrived.put(None)
        self._background.end()
        self.context.close()
        if self._drafter:
            self._drafter.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # All that follows runs in the engine's thread.

    def _work(self) -> None:
        try:
            self._answer_all()
        except BaseException as error:  # a mistake of our own: nobody is left to wait for ever
            with self._changing:
                self._is_closing = True
                left = list(self._submitted)
            for sequence in left:
                self._tell(sequence, error)
            while not self._arrived.empty():
                if isinstance(errand := self._arrived.get(), tuple):
                    errand[1].put(error)

    def _answer_all(self) -> None:
        while True:
            if not self._receive() and self._worker.is_idle:
                return
            self._step_began = time.monotonic()
            self._worker.step()
            self._step_began = None

    def _receive(self) -> bool:
        """Takes in what was submitted, waiting for it if there is nothing else to do. False once the engine closes."""
        try:
            while True:
                arrived = self._arrived.get(block=self._worker.is_idle and not self._is_closing)
                if isinstance(arrived, Sequence):
                    self._worker.take_in(arrived)
                elif arrived is not None:
                    _run(*arrived)
        except queue.Empty:
            return not self._is_closing

    def _announce(self, being_read: list[Sequence]) -> bool:
        """Says whom the next pass reads for, so that it can be aborted; false if nobody of them wants it any more."""
        with self._changing:
            self._being_read = being_read
            self.context.rearm()
            return not self._is_unwanted()

    def _is_unwanted(self) -> bool:
        return bool(self._being_read) and all(sequence.is_cancelled.is_set() for sequence in self._being_read)

    def _abort_if_nobody_wants_it(self) -> None:
        if self._is_unwanted():
            self.context.abort()

    def _tell(self, sequence: Sequence, event: Answer | BaseException) -> None:
        with self._changing:
            self._submitted.discard(sequence)
        sequence.emit(event)


def _run(work: Callable[[], int], outcome: Outcome) -> None:
    try:
        outcome.put(work())
    except BaseException as error:  # whatever it is belongs to the one who waits
        outcome.put(error)
