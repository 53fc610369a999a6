"""Continuous batching: what the next forward pass reads. Pure Python; knows nothing of llama.cpp.

Every pass takes one token of each answer that grows, and beside them a part of the prompts that are being read: a long
prompt holds up nobody. Who waits is let in by turn, as soon as the cache has room for the prompt. If answers grow until
the cache is full, the last to be let in makes room and comes back later: it is read again, and goes on where it was.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmasos.engine.cells import Cells, common_length

# Of a prompt, while an answer grows: the time of a pass is about that of its tokens, and the answer waits for it.
PROMPT_TOKENS_BESIDE_ANSWER = 128
LOGIT_ROWS = 128  # of logits that are wanted of prompts in one pass, usually: 134 MB for a vocabulary of 262,144
ROOM_TO_GROW = 16  # free cells for each answer, without which nobody new is let in
WORTH_WAITING = 32  # tokens that are spared by waiting until another has read them
LOOKED_AT = 32  # of those who wait, who are asked in one turn whether they can be let in


@dataclass(eq=False)
class Task:
    """A sequence as the scheduler sees it: the tokens that the cache is to hold, which grow with the answer.

    `logits_from`: of the tokens from this one on logits are wanted, and not only of the last. `is_alone`: it takes
    over nothing of others, nothing of it is kept. `width`: so many tasks it may become (`fork`, `spread`). Who has a
    `leader` goes on only beside it, in a place that it holds. The last `guessed` tokens are not chosen yet, but
    guesses, which a pass checks (`settle`). `number` is its place in the cache, -1 while it waits; `read` says how many
    of the tokens the cache holds, and `spared` how many when the task was first let in.
    """

    tokens: list[int]
    logits_from: int | None = None
    is_alone: bool = False
    width: int = 1
    leader: Task | None = None
    guessed: int = 0
    number: int = -1
    read: int = 0
    spared: int | None = None

    @property
    def pending(self) -> int:
        """Tokens that have to be read before the next can be chosen."""
        return len(self.tokens) - self.read

    @property
    def settled_length(self) -> int:
        """How many of its tokens are no guesses."""
        return len(self.tokens) - self.guessed

    @property
    def is_growing(self) -> bool:
        """Whether the next pass gives its next token."""
        return self.pending == 1 + self.guessed

    def add_guesses(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens
        self.guessed = len(tokens)

    def drop_guesses(self) -> None:
        """Takes back the guesses that were not read yet."""
        if self.guessed:
            del self.tokens[-self.guessed :]
            self.guessed = 0

    @property
    def beginning(self) -> list[int]:
        """What others may have read for it: not the tokens whose logits are wanted, of which the last is one."""
        if self.is_alone:
            return []
        last = len(self.tokens) - 1
        return self.tokens[: last if self.logits_from is None else min(last, self.logits_from)]


@dataclass(frozen=True, slots=True)
class Part:
    """What a pass reads of one task: `tokens`, at `position` in its sequence. `is_last`: then none are pending.

    The logits of the last `logit_count` tokens are wanted.
    """

    task: Task
    tokens: Sequence[int]
    position: int
    is_last: bool
    logit_count: int


class Scheduler:
    """Who is worked on and who waits. Call `next_parts`, read them, then say `done`.

    With `one_by_one` passes are of one task alone, by turns, in parts that begin and end at the same places whoever
    else is there, and nothing is taken over from others: what is computed for a task depends on nobody.
    """

    def __init__(
        self, cells: Cells, *, batch_size: int, parallel: int, one_by_one: bool = False, logit_rows: int = LOGIT_ROWS
    ) -> None:
        self.cells = cells
        self.logit_rows = logit_rows
        self.one_by_one = one_by_one
        self.batch_size = batch_size
        self.parallel = min(parallel, batch_size)  # so that each who runs has a part in every pass
        self.running: list[Task] = []  # in the order in which they were let in
        self.waiting: collections.deque[Task] = collections.deque()

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.waiting

    def add(self, task: Task) -> None:
        assert 0 < len(task.tokens) <= self.cells.capacity
        self.waiting.append(task)

    def end(self, task: Task, *, keep: bool = True) -> None:
        """Takes a task out, whether it runs or waits; with `keep` the cache holds what it read as long as it can."""
        task.drop_guesses()
        if task in self.running:
            self.running.remove(task)
            is_kept = keep and not self.one_by_one and not task.is_alone
            (self.cells.release if is_kept else self.cells.drop)(task.number)
            task.number, task.read = -1, 0
        elif task in self.waiting:
            self.waiting.remove(task)

    def next_parts(self) -> list[Part]:
        """What the next pass is to read, at most `batch_size` tokens; the cache has room for them."""
        self._let_in()
        while self.running:
            parts = self._share_out()
            if self.cells.make_room(sum(len(part.tokens) for part in parts)):
                return parts
            if any(task.guessed for task in self.running):
                self._drop_guesses()
            elif len(self.running) == 1:
                return self._as_much_as_fits(parts)
            else:
                self._send_back(self.running[-1])
        return []

    def done(self, parts: Sequence[Part]) -> None:
        """Says that the pass has read its parts."""
        for part in parts:
            self.cells.extend(part.task.number, part.tokens)
            part.task.read += len(part.tokens)

    def undone(self, task: Task) -> None:
        """Says that a pass failed in which a task had a part: what it read before is still there, or nothing."""
        task.drop_guesses()
        task.read = self.cells.truncate(task.number, task.read)

    def settle(self, task: Task, right: int) -> None:
        """Says that of its guesses, which were read, so many were right; what is behind them is forgotten."""
        length, task.guessed = task.settled_length + right, 0
        if length < len(task.tokens):
            del task.tokens[length:]
            task.read = self.cells.truncate(task.number, length)

    def shift(self, task: Task, start: int, end: int, shift_memory: Callable[..., bool]) -> None:
        """Lets a task forget its tokens from `start` to `end`, all of which are read.

        What follows moves into their place where the model can do that and the cells are nobody else's; else it is read
        again.
        """
        can_move = self.cells.owns_alone(task.number, start)
        del task.tokens[start:end]
        if can_move and shift_memory(start, end, sequence=task.number):
            self.cells.shifted(task.number, start, end)
            task.read -= end - start
        else:
            task.read = self.cells.truncate(task.number, start)

    def fork(self, tasks: Sequence[Task], heirs: Sequence[tuple[int, int]]) -> list[Task]:
        """Replaces tasks that were read by others that go on from them: each from a task by its index, with a token.

        These are no more than the width of the task from which all of them come.
        """
        for index in set(range(len(tasks))) - {index for index, _ in heirs}:
            self.end(tasks[index], keep=False)
        going_on: list[Task] = []
        for index, _ in heirs:
            tasks[index].width = 1
            going_on.append(self._copy(tasks[index]) if tasks[index] in going_on else tasks[index])
        for task, (_, token) in zip(going_on, heirs, strict=True):
            task.tokens.append(token)
        return going_on

    def spread(self, others: Sequence[Task]) -> None:
        """Lets tasks in whose leader runs, in the places that it holds."""
        for task in reversed(others):
            self._begin(task)

    def _copy(self, task: Task) -> Task:
        copy = Task(list(task.tokens), spared=task.spared)
        if task.number < 0:  # it was sent back after it had been read
            self.waiting.appendleft(copy)
        else:
            copy.number, copy.read = self.cells.fork(task.number)
            self.running.append(copy)
        return copy

    # Who is let in.

    def _let_in(self) -> None:
        passed_over: list[Task] = []
        while self.waiting and len(passed_over) < LOOKED_AT:
            task = self.waiting[0]
            if self._is_about_to_be_read(task):
                passed_over.append(self.waiting.popleft())
            elif self._has_place(task) and self._fits(task):
                self._begin(self.waiting.popleft())
            else:
                break
        self.waiting.extendleft(reversed(passed_over))

    def _has_place(self, task: Task) -> bool:
        if task.leader is not None:
            return task.leader in self.running
        return sum(each.width for each in (*self.running, task)) <= self.parallel

    def _is_about_to_be_read(self, task: Task) -> bool:
        """Whether another task is just reading what this one begins with."""
        beginning = self._beginning(task)
        held = self.cells.common_prefix(beginning)
        return any(
            not other.is_growing and other.pending and common_length(other.tokens, beginning) - held >= WORTH_WAITING
            for other in self.running
        )

    def _beginning(self, task: Task) -> list[int]:
        return [] if self.one_by_one else task.beginning

    def _fits(self, task: Task) -> bool:
        """Whether there is room for all that the task has, and for the answers to grow a while."""
        if all(other.pending == 0 for other in self.running):
            return True  # there is nobody, or those who are there wait for this one
        growth = ROOM_TO_GROW * (len(self.running) + 1)
        promised = sum(other.pending for other in self.running)
        return (
            self.cells.active + promised + len(task.tokens) - self._active_prefix(task) + growth <= self.cells.capacity
        )

    def _active_prefix(self, task: Task) -> int:
        """How many of the task's tokens are held for tasks that run: these take no more room."""
        return max(
            (common_length(self.cells.tokens(other.number), self._beginning(task)) for other in self.running), default=0
        )

    def _begin(self, task: Task) -> None:
        task.number, task.read = self.cells.open(self._beginning(task))
        if task.spared is None:
            task.spared = task.read
        place = len(self.running) if task.leader is None else self.running.index(task.leader) + 1
        self.running.insert(place, task)  # so that who makes room does so with all that belong to it

    def _send_back(self, task: Task) -> None:
        """What it read is kept as long as nobody needs the room; it is the first to be let in again."""
        self.end(task)
        self.waiting.appendleft(task)

    # What is read.

    def _share_out(self) -> list[Part]:
        if self.one_by_one:
            return self._share_alone()
        answers = [task for task in self.running if task.is_growing]
        if sum(task.pending for task in answers) > self.batch_size:
            self._drop_guesses()
        parts = [_part(task, task.pending) for task in answers]
        prompts = [task for task in self.running if task.pending and not task.is_growing]
        if not prompts:
            return parts
        room = self.batch_size - sum(task.pending for task in answers)
        if answers:
            room = min(room, PROMPT_TOKENS_BESIDE_ANSWER * max(1, len(prompts) // len(answers)))
        rows = max(1, self.logit_rows // max(1, sum(task.logits_from is not None for task in prompts)))
        wanted = [min(task.pending, _tokens_with(rows, task)) for task in prompts]
        shares = share_room(wanted, room)
        return parts + [_part(task, share) for task, share in zip(prompts, shares, strict=True) if share]

    def _drop_guesses(self) -> None:
        for task in self.running:
            task.drop_guesses()

    def _share_alone(self) -> list[Part]:
        """The part of who has waited longest since its last one."""
        for task in self.running:
            if task.pending:
                self.running.remove(task)
                self.running.append(task)
                return [_part(task, min(task.pending, self.batch_size, PROMPT_TOKENS_BESIDE_ANSWER))]
        return []

    def _as_much_as_fits(self, parts: list[Part]) -> list[Part]:
        """Of the only task that runs, which is never longer than the cache."""
        room = self.cells.capacity - self.cells.used
        return [_part(part.task, min(len(part.tokens), room)) for part in parts if room > 0]


def _tokens_with(rows: int, task: Task) -> int:
    """How many tokens have so many rows of logits that are wanted, from the first on that is to be read."""
    return task.pending if task.logits_from is None else max(0, task.logits_from - task.read) + rows


def _part(task: Task, count: int) -> Part:
    is_last = count == task.pending
    logit_count = 1 + task.guessed if is_last else 0
    if task.logits_from is not None:
        logit_count = max(logit_count, min(count, task.read + count - task.logits_from))
    return Part(task, task.tokens[task.read : task.read + count], task.read, is_last, logit_count)


def share_room(wanted: Sequence[int], room: int) -> list[int]:
    """Shares of `room`, nobody's more than is wanted: at least half goes to the first, the rest to the shortest.

    So a short prompt is read at once beside a long one, which goes on nevertheless.
    """
    shares = [min(wanted[0], (room + 1) // 2), *(0 for _ in wanted[1:])]
    room -= shares[0]
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index] - shares[index]):
        more = min(wanted[index] - shares[index], room)
        shares[index] += more
        room -= more
    return shares
