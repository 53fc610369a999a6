"""One debiased answer on its way: the prompt and its prefixed copies are tasks that are read and grow together.

What the prompt's own task gives is damped by what the others give (`damped`), and written into llama.cpp's buffer in
its place: so whatever chooses tokens, or scores them, sees the damped distribution and no other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Tokens

import numpy as np

from llmasos import native
from llmasos.engine.answering import Answering
from llmasos.engine.context import Context
from llmasos.engine.debias import cells_needed
from llmasos.engine.model import Model
from llmasos.engine.scheduler import LOGIT_ROWS, Task
from llmasos.engine.scores import rows_at
from llmasos.engine.sequence import Sequence

LEAST_KEPT = 0.01  # of a token's probability, however much likelier the prefixes make it


def damped(rows: native.Floats, biased: native.Floats, strength: float) -> native.Floats:
    """Log-probabilities (rows, tokens) less what prejudice would make likelier; they need not sum up to 1 any more.

    `biased` are the greatest log-probabilities that any prefix gives (rows, tokens). A token that has more there by
    d keeps e to the power of -d times strength of its probability, and `LEAST_KEPT` at least.
    """
    factors = np.exp(biased)
    factors -= np.exp(rows)
    np.maximum(factors, 0, out=factors)
    factors *= -strength
    np.maximum(factors, math.log(LEAST_KEPT), out=factors)
    factors += rows
    return factors


class Round:
    """What a pass, or several, give for the places from `start` to `end`: the rows behind each of these tokens.

    Places count the tokens of the prompt itself; a prefixed one has the same tokens later. Rows that come twice, as
    those of a task do that was sent back, do no harm.
    """

    def __init__(self, start: int, end: int, width: int) -> None:
        self.start, self.end = start, end
        self._plain = np.empty((end - start, width), np.float32)
        self._biased = np.full((end - start, width), -np.inf, np.float32)
        self.done: set[Task] = set()

    def take(self, rows: native.Floats, first: int, *, is_plain: bool) -> None:
        """Rows behind the tokens from place `first` on; those of other rounds are passed over."""
        rows = rows[max(0, self.start - first) : max(0, self.end - first)]
        if not len(rows):
            return
        place = max(first, self.start) - self.start
        own = (self._plain if is_plain else self._biased)[place : place + len(rows)]
        log_sums = native.log_sum_exp(rows).astype(np.float32)[:, None]
        if is_plain:
            np.subtract(rows, log_sums, out=own)
        else:
            np.maximum(own, rows - log_sums, out=own)

    def rows(self, strength: float) -> native.Floats:
        return damped(self._plain, self._biased, strength)


class DebiasAnswering(Answering):
    """`tasks`: the prompt's own, and after it has been read the prefixed ones behind it.

    Of a prompt that is scored they are given a part at a time, so that few rows have to be kept.
    """

    def __init__(self, sequence: Sequence, model: Model, *, shares_cells: bool) -> None:
        super().__init__(sequence, model)
        shares_cells = shares_cells and not self.tasks[0].is_alone
        needed = cells_needed(sequence.prompt_tokens, sequence.prefixed, shares=shares_cells)
        self.cells_beside = needed - (1 + len(sequence.prefixed)) * len(sequence.prompt_tokens)
        self._strength = sequence.sampling.debias_strength
        self._later = [len(each) - len(sequence.prompt_tokens) for each in sequence.prefixed]
        [own] = self.tasks
        last = len(own.tokens) - 1
        start = last if own.logits_from is None else min(own.logits_from, last)
        own.logits_from = start if start < last else None
        own.width = 1 + len(sequence.prefixed)
        own.tokens = own.tokens[: self._end_from(start)]
        self._round = Round(start, len(own.tokens), model.vocabulary_size)

    def companions(self) -> list[Task]:
        [own, *others] = self.tasks
        if others:
            return []
        for tokens, later in zip(self.sequence.prefixed, self._later, strict=True):
            first = None if own.logits_from is None else own.logits_from + later
            self.tasks.append(Task(tokens[: len(own.tokens) + later], first, own.is_alone, width=0, leader=own))
        return self.tasks[1:]

    def take_rows(self, task: Task, context: Context, index: int, end: int, count: int) -> None:
        """Keeps the `count` rows up to an index of the pass just made, which has read a task up to `end`."""
        number = self.tasks.index(task)
        later = self._later[number - 1] if number else 0
        rows = rows_at(context, index, count, self._model.vocabulary_size)
        self._round.take(rows, end - count - later, is_plain=number == 0)
        if end == len(task.tokens):
            self._round.done.add(task)

    def is_ready(self, context: Context, index: int) -> bool:
        """Whether all tasks have read the whole prompt, or the answer's last token.

        Then the index has the damped row. Of a prompt that is scored the next part may have to be read before.
        """
        if len(self._round.done) < len(self.tasks):
            return False
        rows, read, prompt = self._round.rows(self._strength), len(self.tasks[0].tokens), self.sequence.prompt_tokens
        scored = range(self._round.start + 1, min(read + 1, len(prompt)))
        if self._scores is not None and scored:
            self._scores.take_prompt(rows[: len(scored)], scored, prompt[scored.start : scored.stop])
        if read < len(prompt):
            self.extend(prompt[read : self._end_from(read)])
            return False
        rows_at(context, index, 1, self._model.vocabulary_size)[:] = rows[-1]
        return True

    def extend(self, tokens: Tokens[int]) -> None:
        start = len(self.tasks[0].tokens)
        for task in self.tasks:
            task.logits_from = len(task.tokens) if len(tokens) > 1 else None
            task.tokens += tokens
        self._round = Round(start, start + len(tokens), self._model.vocabulary_size)

    def _end_from(self, start: int) -> int:
        """Up to where the prompt is read in one go, if it is scored from `start` on."""
        return min(len(self.sequence.prompt_tokens), start + max(1, LOGIT_ROWS // (1 + len(self._later))))
