"""The engine: a thread that owns a context and answers all prompts that are submitted, many in each forward pass.

Forward passes run in the engine's thread, so the caller's thread stays free for signals: Ctrl-C is noticed at once, and
`cancel` stops a long prompt within one operation of the model.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.engine.answering import Answering
from llmasos.engine.bindings import log
from llmasos.engine.cells import Cells
from llmasos.engine.context import Aborted, Context, Reading
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.saved import STAMP_LENGTH, read_tokens, seal, stamped
from llmasos.engine.scheduler import Part, Scheduler, Task
from llmasos.engine.sequence import Answer, Event, Sequence
from llmasos.errors import BadInputError, BusyError, DiskFullError, LlmasosError, PromptTooLongError, UsageError
from llmasos.files import replaced_whole

if TYPE_CHECKING:
    from llmasos.engine.beam_answering import BeamAnswering

SHIFT_KEPT_SHARE = 4  # of a full context, this part (one in four) stays at the front when the oldest is forgotten
MOST_SUBMITTED = 10_000

Outcome = queue.SimpleQueue[int | BaseException]
Errand = tuple[Callable[[], int], Outcome]


class Engine:
    """A context behind one thread. `with` closes the context; the model belongs to whoever loaded it.

    No more than `most_submitted` sequences are taken that have not ended.
    """

    def __init__(self, model: Model, context: Context, *, most_submitted: int = MOST_SUBMITTED) -> None:
        self.model = model
        self.context = context
        cells = Cells(context.capacity, context.options.sequences, context)
        options = context.options
        self._scheduler = Scheduler(
            cells, batch_size=context.batch_size, parallel=options.parallel, one_by_one=options.one_by_one
        )
        self._answering: dict[Task, Answering | BeamAnswering] = {}
        self._most_submitted = most_submitted
        self._changing = threading.Lock()  # held while it is decided who is submitted, read or cancelled
        self._submitted: set[Sequence] = set()  # and not ended
        self._being_read: list[Sequence] = []  # by the pass under way
        self._is_closing = False
        self._arrived: queue.SimpleQueue[Sequence | Errand | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="llmasos-engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        prompt_tokens: Tokens[int],
        sampling: SamplingOptions,
        limits: AnswerOptions,
        beams: BeamOptions | None = None,
        *,
        scores: ScoreOptions | None = None,
        listener: Callable[[Event], None] | None = None,
    ) -> Sequence:
        """Queues a prompt; iterate over the result for its pieces, of which a search with `beams` has none.

        A `listener` is given the pieces, and at last the Answer or an error, in the engine's thread instead; it must
        neither wait nor fail. Raises PromptTooLongError if the context can't hold the prompt and a token more,
        BadInputError for an empty prompt or token ids that the model does not have, BusyError if too many wait already,
        UsageError for more beams than the context is made for.
        """
        tokens = list(prompt_tokens)
        if not tokens:
            raise BadInputError("the prompt is empty", hint="give some text to go on from")
        if not all(0 <= token < self.model.vocabulary_size for token in tokens):
            raise BadInputError(f"a token id is outside the model's {self.model.vocabulary_size}")
        if len(tokens) >= self.context.length:
            raise PromptTooLongError(len(tokens), self.context.length)
        if beams is not None and beams.num_beams > self._scheduler.parallel:
            raise UsageError(
                f"{beams.num_beams} beams are more than the {self._scheduler.parallel} that go on at a time"
            )
        sequence = Sequence(tokens, sampling, limits, beams, scores, listener)
        with self._changing:
            if self._is_closing:
                raise LlmasosError("the engine is closed")
            if len(self._submitted) >= self._most_submitted:
                raise BusyError(f"{len(self._submitted)} prompts wait already", hint="try again when some are answered")
            self._submitted.add(sequence)
            self._arrived.put(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Ends a sequence; what it has so far stays its answer."""
        with self._changing:
            sequence.is_cancelled.set()
            self._abort_if_nobody_wants_it()

    def save(self, tokens: Tokens[int], path: Path, identity: str) -> int:
        """Writes what the cache holds of these tokens to a file, for `restore`; of how many it is. If of none, no file.

        `identity` names model and engine. Raises DiskFullError.
        """
        return self._do(lambda: self._save(list(tokens), path, identity))

    def restore(self, path: Path, identity: str) -> int:
        """Takes into the cache what `save` has written, where the identity is the same; returned is of how many tokens.

        0 if the file is missing, damaged or another's, or if there is no room: then they are just read again.
        """
        return self._do(lambda: self._restore(path, identity))

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

    def close(self) -> None:
        """Cancels what runs and what waits, ends the thread and frees the context."""
        with self._changing:
            self._is_closing = True
            for sequence in self._submitted:
                sequence.is_cancelled.set()
            self._abort_if_nobody_wants_it()
            self._arrived.put(None)
        self._thread.join()
        self.context.close()

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
            if not self._receive() and self._scheduler.is_idle:
                return
            for answering in list(dict.fromkeys(self._answering.values())):
                if reason := answering.sequence.reason_to_end:
                    self._end(answering, reason)
            if parts := self._scheduler.next_parts():
                self._read(parts)

    def _receive(self) -> bool:
        """Takes in what was submitted, waiting for it if there is nothing else to do. False once the engine closes."""
        try:
            while True:
                arrived = self._arrived.get(block=self._scheduler.is_idle and not self._is_closing)
                if isinstance(arrived, Sequence):
                    self._take_in(arrived)
                elif arrived is not None:
                    _run(*arrived)
        except queue.Empty:
            return not self._is_closing

    def _take_in(self, sequence: Sequence) -> None:
        try:
            answering = self._answering_for(sequence)
        except BaseException as error:  # whatever it is belongs to the one who waits
            self._tell(sequence, error)
            return
        [task] = answering.tasks
        self._answering[task] = answering
        self._scheduler.add(task)

    def _save(self, tokens: list[int], path: Path, identity: str) -> int:
        cells = self._scheduler.cells
        if not cells.has_number:
            return 0
        number, held = cells.open(tokens)
        try:
            if held:
                log.clear()
                with replaced_whole(path, is_private=True) as file:
                    if not self.context.save(number, stamped(tokens[:held], identity), file):
                        raise DiskFullError(f"{path} can't be written: {log.last_errors() or 'no reason given'}")
                    seal(file)
            return held
        finally:
            cells.release(number)

    def _restore(self, path: Path, identity: str) -> int:
        cells, tokens = self._scheduler.cells, read_tokens(path, identity)
        if not 0 < len(tokens) <= self.context.length or not cells.has_number or not cells.make_room(len(tokens)):
            return 0
        number, _ = cells.open([])
        if not self.context.restore(number, STAMP_LENGTH + len(tokens), path):
            cells.drop(number)
            return 0
        cells.extend(number, tokens)
        cells.release(number)
        return len(tokens)

    def _answering_for(self, sequence: Sequence) -> Answering | BeamAnswering:
        if sequence.beams is None:
            return Answering(sequence, self.model)
        from llmasos.engine.beam_answering import BeamAnswering  # NumPy, which other answers do without

        prompt, limit = len(sequence.prompt_tokens), sequence.limits.max_tokens
        room = (self.context.capacity - prompt) // sequence.beams.num_beams
        longest = min(self.context.length - prompt, room, *([] if limit is None else [limit]))
        return BeamAnswering(sequence, self.model, longest)

    def _read(self, parts: list[Part]) -> None:
        """One forward pass."""
        if not self._announce([self._answering[part.task] for part in parts]):
            return
        try:
            readings = [Reading(part.task.number, part.tokens, part.position, part.logit_count) for part in parts]
            indices = self.context.decode(readings)
        except Aborted:
            for part in parts:
                self._scheduler.undone(part.task)
            return
        except BaseException as error:
            for answering in {self._answering[part.task] for part in parts}:
                self._fail(answering, error)
            return
        finally:
            self._announce([])
        self._scheduler.done(parts)
        for part, index in zip(parts, indices, strict=True):
            self._take_scores(part, index)
            if part.is_last and part.task in self._answering:  # else a beam of a search that has ended just now
                self._advance(part.task, self._answering[part.task], index)

    def _announce(self, answering: list[Answering | BeamAnswering]) -> bool:
        """Says whom the next pass reads for, so that it can be aborted; false if nobody of them wants it any more."""
        for each in answering:
            each.start()
        with self._changing:
            self._being_read = [each.sequence for each in answering]
            self.context.rearm()
            return not self._is_unwanted()

    def _is_unwanted(self) -> bool:
        return bool(self._being_read) and all(sequence.is_cancelled.is_set() for sequence in self._being_read)

    def _abort_if_nobody_wants_it(self) -> None:
        if self._is_unwanted():
            self.context.abort()

    def _take_scores(self, part: Part, index: int) -> None:
        answering = self._answering.get(part.task)
        if part.task.logits_from is not None and isinstance(answering, Answering):
            try:
                answering.score_prompt(self.context, index, part.position + len(part.tokens), part.logit_count)
            except BaseException as error:
                self._fail(answering, error)

    def _advance(self, task: Task, answering: Answering | BeamAnswering, index: int) -> None:
        """Chooses a task's next token by the logits at an index of the pass just made."""
        try:
            if isinstance(answering, Answering):
                self._grow(task, answering, index)
            else:
                self._note(task, answering, index)
        except BaseException as error:
            self._fail(answering, error)

    def _grow(self, task: Task, answering: Answering, index: int) -> None:
        token, reason = answering.choose(self.context, index)
        if reason is None and len(task.tokens) >= self.context.length:
            reason = self._outgrow(task, answering)
        if reason is None:
            task.tokens.append(token)
        else:
            self._end(answering, reason)

    def _note(self, task: Task, search: BeamAnswering, index: int) -> None:
        """When the last of the beams is read, others take their places."""
        search.note(task, self.context, index)
        if search.is_waiting:
            return
        heirs = [] if search.is_done else search.advance()
        if not heirs:
            self._end(search, "")
            return
        for each in search.tasks:
            del self._answering[each]
        search.tasks = self._scheduler.fork(search.tasks, heirs)
        self._answering.update(dict.fromkeys(search.tasks, search))

    def _outgrow(self, task: Task, answering: Answering) -> str | None:
        """Makes room in a full context by forgetting half of what follows the kept front, or says why not."""
        if answering.sequence.limits.on_overflow != "shift":
            return "context"
        front = min(len(answering.sequence.prompt_tokens), self.context.length // SHIFT_KEPT_SHARE)
        count = (len(task.tokens) - front) // 2
        self._scheduler.shift(task, front, front + count, self.context.shift)
        answering.shifted_tokens += count
        return None

    def _end(self, answering: Answering | BeamAnswering, reason: str) -> None:
        answering.cached_tokens = answering.tasks[0].spared or 0
        self._take_out(answering, keep=True)
        self._tell(answering.sequence, answering.finish(reason))

    def _fail(self, answering: Answering | BeamAnswering, error: BaseException) -> None:
        self._take_out(answering, keep=False)
        answering.close()
        self._tell(answering.sequence, error)

    def _take_out(self, answering: Answering | BeamAnswering, *, keep: bool) -> None:
        for task in answering.tasks:
            self._answering.pop(task, None)  # a failure while it ended has taken it out already
            self._scheduler.end(task, keep=keep)

    def _tell(self, sequence: Sequence, event: Answer | BaseException) -> None:
        with self._changing:
            self._submitted.discard(sequence)
        sequence.emit(event)


def _run(work: Callable[[], int], outcome: Outcome) -> None:
    try:
        outcome.put(work())
    except BaseException as error:  # whatever it is belongs to the one who waits
        outcome.put(error)
