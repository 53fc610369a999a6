"""A scheduler with a cache of lists, and a model whose every token follows from all that stand before it."""

from __future__ import annotations

from collections.abc import Callable

from doubles.memory import ListMemory
from llmasos.engine.cells import Cells
from llmasos.engine.scheduler import LOGIT_ROWS, Part, Scheduler, Task


class Machine:
    """Call `add`, then `step`. With `guess` it guesses what comes behind the next token."""

    def __init__(
        self,
        capacity: int = 1000,
        *,
        batch_size: int = 64,
        parallel: int = 4,
        kept: int = 4,
        one_by_one: bool = False,
        logit_rows: int = LOGIT_ROWS,
    ) -> None:
        self.memory = ListMemory(capacity)
        cells = Cells(capacity, parallel + kept, self.memory)
        self.scheduler = Scheduler(
            cells, batch_size=batch_size, parallel=parallel, one_by_one=one_by_one, logit_rows=logit_rows
        )
        self.guess: Callable[[list[int]], list[int]] = lambda tokens: []

    def add(self, tokens: list[int], **options: int) -> Task:
        task = Task(list(tokens), **options)
        self.scheduler.add(task)
        return task

    def step(self) -> list[Part]:
        """One pass; each task that has read all gets its next token."""
        parts = self.scheduler.next_parts()
        for part in parts:
            self.memory.read(part.task.number, part.tokens, part.position)
        self.scheduler.done(parts)
        for part in parts:
            assert self.memory.tokens(part.task.number) == part.task.tokens[: part.task.read]
            if part.is_last:
                self.grow(part.task)
        return parts

    def grow(self, task: Task) -> None:
        """Checks what was guessed, and adds the next token and perhaps new guesses."""
        settled = task.tokens[: len(task.tokens) - task.guessed]
        right = 0
        while right < task.guessed and task.tokens[len(settled)] == next_token(settled):
            settled.append(next_token(settled))
            right += 1
        self.scheduler.settle(task, right)
        assert self.memory.tokens(task.number) == task.tokens == settled
        guesses = self.guess(task.tokens)
        task.tokens += [next_token(task.tokens), *guesses]
        task.guessed = len(guesses)


def next_token(tokens: list[int]) -> int:
    return (sum(place * token for place, token in enumerate(tokens, 1)) * 7 + 3) % 1009


def sizes(parts: list[Part]) -> dict[Task, int]:
    return {part.task: len(part.tokens) for part in parts}


def guesses_for(tokens: list[int], count: int) -> list[int]:
    """Right ones, and behind them perhaps wrong ones: behind the next token, which they do not hold."""
    grown = [*tokens, next_token(tokens)]
    for _ in range(count):
        grown.append(next_token(grown))
    wrong_from = sum(tokens) % (count + 1)
    return [token if place < wrong_from else token + 1 for place, token in enumerate(grown[len(tokens) + 1 :])]
