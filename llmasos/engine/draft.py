"""A small model that guesses what a large one will say: both have one vocabulary, and the large one checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llmasos.engine.cells import Cells
from llmasos.engine.context import Context, Reading
from llmasos.engine.model import Model
from llmasos.engine.options import SamplingOptions
from llmasos.engine.sampler import Sampler
from llmasos.engine.sequence import Stopwatch
from llmasos.engine.speculation import FADING
from llmasos.errors import BadInputError

PADDING = 128  # ids without a word by which the vocabularies of one family may differ in size
COMPARED = 1000  # ids, spread over the vocabulary


@dataclass(eq=False)
class _Draft:
    """A sequence while it is gone on with: its place in the cache, what of it is not read yet, and the guesses."""

    number: int
    read: int
    unread: list[int]
    wanted: int
    guesses: list[int] = field(default_factory=list)


class Drafter:
    """Owns model and context, and belongs to the engine's thread. `seconds_per_token` is what a guess takes."""

    def __init__(self, model: Model, context: Context) -> None:
        self.model, self._context = model, context
        self._cells = Cells(context.capacity, context.options.sequences, context)
        self._greedy = Sampler(model, SamplingOptions(temperature=0))
        self.seconds_per_token: float | None = None

    def guess(self, sequences: Sequence[tuple[list[int], int]]) -> list[list[int]]:
        """What the model would say next: of each sequence, given by its tokens, at most so many tokens.

        All sequences are gone on with together. What was read for them before is not read again.
        """
        drafts = [self._open(tokens, wanted) for tokens, wanted in sequences]
        for draft in drafts:
            if draft is not None:
                self._catch_up(draft)
        watch, rounds = Stopwatch(), 0
        while going := [draft for draft in drafts if draft is not None and len(draft.guesses) < draft.wanted]:
            if not self._cells.make_room(len(going)):
                break
            self._go_on(going)
            rounds += 1
        self._note(watch.lap(), rounds)
        for draft in drafts:
            if draft is not None:
                self._cells.release(draft.number)
        return [draft.guesses if draft is not None else [] for draft in drafts]

    def close(self) -> None:
        self._greedy.close()
        self._context.close()
        self.model.close()

    def _open(self, tokens: list[int], wanted: int) -> _Draft | None:
        if len(tokens) + wanted > self._context.length or not self._cells.has_number:
            return None
        number, read = self._cells.open(tokens[:-1])
        if not self._cells.make_room(len(tokens) - read):
            self._cells.release(number)
            return None
        return _Draft(number, read, tokens[read:], wanted)

    def _catch_up(self, draft: _Draft) -> None:
        """Reads all but the last token."""
        while len(draft.unread) > 1:
            part = draft.unread[: min(self._context.batch_size, len(draft.unread) - 1)]
            self._read([(draft, part)])
            del draft.unread[: len(part)]

    def _go_on(self, drafts: list[_Draft]) -> None:
        """One more guess for each."""
        for draft, index in zip(drafts, self._read([(draft, draft.unread) for draft in drafts]), strict=True):
            draft.unread = [self._greedy.sample(self._context, index)]
            draft.guesses += draft.unread

    def _read(self, parts: list[tuple[_Draft, list[int]]]) -> list[int]:
        indices = self._context.decode([Reading(draft.number, tokens, draft.read) for draft, tokens in parts])
        for draft, tokens in parts:
            self._cells.extend(draft.number, tokens)
            draft.read += len(tokens)
        return indices

    def _note(self, seconds: float, rounds: int) -> None:
        if rounds:
            before = self.seconds_per_token
            now = seconds / rounds
            self.seconds_per_token = now if before is None else FADING * before + (1 - FADING) * now


def require_same_vocabulary(model: Model, draft: Model) -> None:
    """Raises BadInputError if the two models have other words for an id."""
    sizes = sorted((model.vocabulary_size, draft.vocabulary_size))
    step = max(1, sizes[0] // COMPARED)
    is_same = sizes[1] - sizes[0] <= PADDING and all(
        model.piece(token, special=True) == draft.piece(token, special=True) for token in range(0, sizes[0], step)
    )
    if not is_same:
        raise BadInputError(
            "the draft model has another vocabulary, so its guesses mean nothing to this model",
            hint="take a smaller model of the same family, or a quantized one of the same",
        )
