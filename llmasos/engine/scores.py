"""Scores: what a model gave to the tokens that came, and to those that might have, read off the logits in place.

Rows of logits are reduced as they are made, a part of a pass at a time: there is never a row for every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from llmasos import native
from llmasos.engine.context import Context, logits_at
from llmasos.engine.options import ScoreOptions
from llmasos.engine.sequence import TokenScore


class RowReader(Protocol):
    """What takes of a prompt's logits whatever it wants; called in the engine's thread, and must not wait."""

    def __call__(self, rows: native.Floats, positions: range, tokens: Sequence[int]) -> None:
        """Rows (positions, vocabulary), which die with the call, and the tokens that stand behind them, by position.

        What had to make room and is read again comes again.
        """


class ScoreTaker:
    """Belongs to one sequence, and to the engine's thread."""

    def __init__(self, options: ScoreOptions, vocabulary_size: int) -> None:
        self._top = options.top
        self._reader = options.reader
        self._width = vocabulary_size
        self._of_prompt: dict[int, TokenScore] = {}  # by position; what is read again is scored again
        self._of_answer: list[TokenScore] = []

    def take_prompt(self, rows: native.Floats, positions: range, tokens: Sequence[int]) -> None:
        """Rows of logits that stand before the tokens at these positions."""
        if self._reader is not None:
            self._reader(rows, positions, tokens)
            return
        for position, score in zip(positions, self._scores(rows, tokens), strict=True):
            self._of_prompt[position] = score

    def take_answer(self, context: Context, index: int, token: int) -> None:
        """The row that a token of the answer was chosen by."""
        self._of_answer += self._scores(rows_at(context, index, 1, self._width), [token])

    @property
    def of_prompt(self) -> tuple[TokenScore, ...]:
        return tuple(self._of_prompt[position] for position in sorted(self._of_prompt))

    @property
    def of_answer(self) -> tuple[TokenScore, ...]:
        return tuple(self._of_answer)

    def _scores(self, rows: native.Floats, tokens: Sequence[int]) -> list[TokenScore]:
        if self._top == 0:
            log_probabilities = native.log_probabilities(rows, np.asarray(tokens)).tolist()
            return [TokenScore(token, value) for token, value in zip(tokens, log_probabilities, strict=True)]
        top = native.top(rows, self._top)
        others = (top.logits - top.log_sums[:, None]).tolist()
        own = rows[np.arange(len(rows)), np.asarray(tokens)] - top.log_sums
        return [
            TokenScore(token, value, tuple(zip(listed, values, strict=True)))
            for token, value, listed, values in zip(tokens, own.tolist(), top.tokens.tolist(), others, strict=True)
        ]


def rows_at(context: Context, last_index: int, count: int, width: int) -> native.Floats:
    """The `count` rows of logits up to an index of the last pass, in llama.cpp's own memory (count, width)."""
    view: Any = logits_at(context, last_index - count + 1, count * width)
    return np.frombuffer(view, np.float32).reshape(count, width)
