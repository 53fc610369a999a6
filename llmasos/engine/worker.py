"""What the engine's thread does: takes sequences in, makes forward passes for them, and turns logits into answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.engine.answering import Answering
from llmasos.engine.bindings import log
from llmasos.engine.cells import Cells
from llmasos.engine.context import Aborted, Context, Reading
from llmasos.engine.model import Model
from llmasos.engine.saved import STAMP_LENGTH, read_tokens, seal, stamped
from llmasos.engine.scheduler import Part, Scheduler, Task
from llmasos.engine.sequence import Answer, Sequence, Stopwatch
from llmasos.engine.speculation import PassTimes, guess_alike
from llmasos.errors import DiskFullError, LlmasosError
from llmasos.files import replaced_whole

if TYPE_CHECKING:
    from llmasos.engine.beam_answering import BeamAnswering
    from llmasos.engine.draft import Drafter

SHIFT_KEPT_SHARE = 4  # of a full context, this part (one in four) stays at the front when the oldest is forgotten


class Worker:
    """Belongs to one thread. `announce` is told whose parts the next pass reads, nobody's when it is over; it says
    whether any of them still wants it. `tell` is given each sequence's Answer, or what went wrong with it.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        announce: Callable[[list[Sequence]], bool],
        tell: Callable[[Sequence, Answer | BaseException], None],
        drafter: Drafter | None = None,
    ) -> None:
        self.model = model
        self.context = context
        options = context.options
        cells = Cells(context.capacity, options.sequences, context)
        self.scheduler = Scheduler(
            cells,
            batch_size=context.batch_size,
            parallel=options.parallel,
            one_by_one=options.one_by_one,
            logit_rows=options.logit_rows,
        )
        self.answering: dict[Task, Answering | BeamAnswering] = {}
        self._drafter = drafter
        self._pass_times = PassTimes()
        self._guesses = options.guesses and not context.is_recurrent
        self._announce = announce
        self._tell = tell

    @property
    def is_idle(self) -> bool:
        return self.scheduler.is_idle

    def step(self) -> None:
        """Ends what has no reason to go on, and makes a forward pass for the others."""
        for answering in list(dict.fromkeys(self.answering.values())):
            if reason := answering.sequence.reason_to_end:
                self._end(answering, reason)
        if parts := self.scheduler.next_parts():
            self._read(parts)

    def take_in(self, sequence: Sequence) -> None:
        try:
            answering = self._answering_for(sequence)
        except BaseException as error:  # whatever it is belongs to the one who waits
            self._tell(sequence, error)
            return
        [task] = answering.tasks
        self.answering[task] = answering
        self.scheduler.add(task)

    def save(self, tokens: list[int], path: Path, identity: str) -> int:
        """`Engine.save`."""
        cells = self.scheduler.cells
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

    def restore(self, path: Path, identity: str) -> int:
        """`Engine.restore`."""
        cells, tokens = self.scheduler.cells, read_tokens(path, identity)
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
        if sequence.prefixed:
            from llmasos.engine.debias_answering import DebiasAnswering

            return DebiasAnswering(sequence, self.model, shares_cells=self.context.shares_cells)
        if sequence.beams is None:
            return Answering(sequence, self.model, guesses=self._guesses)
        from llmasos.engine.beam_answering import BeamAnswering  # NumPy, which other answers do without

        prompt, limit = len(sequence.prompt_tokens), sequence.limits.max_tokens
        room = (self.context.capacity - prompt) // sequence.beams.num_beams
        longest = min(self.context.length - prompt, room, *([] if limit is None else [limit]))
        return BeamAnswering(sequence, self.model, longest)

    def _read(self, parts: list[Part]) -> None:
        """One forward pass."""
        answering = [self.answering[part.task] for part in parts]
        for each in answering:
            each.start()
        if not self._announce([each.sequence for each in answering]):
            return
        try:
            readings = [Reading(part.task.number, part.tokens, part.position, part.logit_count) for part in parts]
            watch = Stopwatch()
            indices = self.context.decode(readings)
            self._pass_times.note(sum(len(part.tokens) for part in parts), watch.lap())
        except Aborted:
            for part in parts:
                self.scheduler.undone(part.task)
            return
        except BaseException as error:
            for each in set(answering):
                self._fail(each, error)
            return
        finally:
            self._announce([])
        self.scheduler.done(parts)
        for part, index in zip(parts, indices, strict=True):
            self._take_rows(part, index)
            if part.is_last and part.task in self.answering:  # else a beam of a search that has ended just now
                self._advance(part.task, self.answering[part.task], index)
        if self._guesses:
            self._guess_ahead([part.task for part in parts if part.is_last])

    def _guess_ahead(self, grown: list[Task]) -> None:
        """Puts guesses behind the tokens of those that grew, where that pays."""
        times, count = self._pass_times, len(self.scheduler.running)
        if count > 1 and not self.context.options.pooled:
            self._guess_alike(grown)
            return
        drafted: list[tuple[Task, Answering, int]] = []
        for task in grown:
            answering = self.answering.get(task)
            if not isinstance(answering, Answering) or answering.guesser is None:
                continue
            room = answering.room_for_guesses(self.context.length - len(task.tokens))
            if guesses := answering.guesser.guess(times, count, room):
                task.add_guesses(guesses)
            elif self._drafter:
                cost = self._drafter.seconds_per_token or 0.0
                if wanted := answering.guesser.draft_count(times, count, room, seconds_each=cost):
                    drafted.append((task, answering, wanted))
        if drafted and self._drafter:
            self._draft(drafted, self._drafter)

    def _guess_alike(self, grown: list[Task]) -> None:
        """As many guesses behind each: llama.cpp reads only what has the same length in one go (split_equal)."""
        guessers, rooms = [], []
        for task in self.scheduler.running:
            answering = self.answering.get(task)
            if not isinstance(answering, Answering) or answering.guesser is None or task not in grown:
                return
            guessers.append(answering.guesser)
            rooms.append(answering.room_for_guesses(self.context.length - len(task.tokens)))
        for task, guesses in zip(
            self.scheduler.running, guess_alike(guessers, self._pass_times, min(rooms)), strict=False
        ):
            task.add_guesses(guesses)

    def _draft(self, drafted: list[tuple[Task, Answering, int]], drafter: Drafter) -> None:
        try:
            guessed = drafter.guess([(task.tokens, wanted) for task, _, wanted in drafted])
        except LlmasosError as error:
            log.tell(f"the draft model is given up: {error}")
            self._drafter = None
            return
        for (task, answering, _), guesses in zip(drafted, guessed, strict=True):
            answering.is_drafted = bool(guesses)
            task.add_guesses(guesses)

    def _take_rows(self, part: Part, index: int) -> None:
        answering = self.answering.get(part.task)
        if part.logit_count and isinstance(answering, Answering):
            end = part.position + len(part.tokens)
            try:
                answering.take_rows(part.task, self.context, index, end, part.logit_count)
            except BaseException as error:
                self._fail(answering, error)

    def _advance(self, task: Task, answering: Answering | BeamAnswering, index: int) -> None:
        """Chooses a task's next token by the logits at an index of the pass just made."""
        try:
            if not isinstance(answering, Answering):
                self._note(task, answering, index)
            elif companions := answering.companions():
                self.answering.update(dict.fromkeys(companions, answering))
                self.scheduler.spread(companions)
            elif answering.is_ready(self.context, index):
                self._grow(answering, index)
        except BaseException as error:
            self._fail(answering, error)

    def _grow(self, answering: Answering, index: int) -> None:
        task = answering.tasks[0]
        token, reason = self._check_guesses(task, answering, index)
        if reason is None and self._is_full(answering):
            reason = self._outgrow(task, answering)
        if reason is not None:
            self._end(answering, reason)
            return
        answering.extend([token])

    def _is_full(self, answering: Answering) -> bool:
        """Whether one more token of each of its tasks is too many for one context, or for the cells of all."""
        lengths = [len(task.tokens) for task in answering.tasks]
        return (
            max(lengths) >= self.context.length
            or len(lengths) * (lengths[0] + 1) + answering.cells_beside > self.context.capacity
        )

    def _check_guesses(self, task: Task, answering: Answering, index: int) -> tuple[int, str | None]:
        """The first token that was not guessed right, and why the answer ends with it, if it does."""
        right, guesses = 0, task.tokens[task.settled_length :]
        while True:
            token, reason = answering.choose(self.context, index - len(guesses) + right)
            if reason is not None or right == len(guesses) or token != guesses[right]:
                break
            right += 1
        answering.guessed_tokens += len(guesses)
        answering.spared_passes += right
        if answering.is_drafted and answering.guesser is not None:
            answering.guesser.note_drafts(right, len(guesses))
        answering.is_drafted = False
        self.scheduler.settle(task, right)
        return token, reason

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
            del self.answering[each]
        search.tasks = self.scheduler.fork(search.tasks, heirs)
        self.answering.update(dict.fromkeys(search.tasks, search))

    def _outgrow(self, task: Task, answering: Answering) -> str | None:
        """Makes room in a full context by forgetting half of what follows the kept front, or says why not."""
        if answering.sequence.limits.on_overflow != "shift":
            return "context"
        front = min(len(answering.sequence.prompt_tokens), self.context.length // SHIFT_KEPT_SHARE)
        count = (len(task.tokens) - front) // 2
        self.scheduler.shift(task, front, front + count, self.context.shift)
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
            self.answering.pop(task, None)  # a failure while it ended has taken it out already
            self.scheduler.end(task, keep=keep)
