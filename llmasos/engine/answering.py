"""One sequence on its way from a prompt to an answer: chooses tokens, makes text of them, sees where it ends."""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from typing import TYPE_CHECKING

from llmasos.engine.context import Context
from llmasos.engine.model import Model
from llmasos.engine.options import ScoreOptions
from llmasos.engine.sampler import Sampler
from llmasos.engine.scheduler import Task
from llmasos.engine.sequence import Answer, Chunk, Sequence, Stopwatch, TokenScore
from llmasos.engine.speculation import Guesser
from llmasos.engine.text import StopMatcher, TextDecoder

if TYPE_CHECKING:
    from llmasos.engine.scores import ScoreTaker


class Answering:
    """Belongs to the engine's thread, which counts what is no part of choosing tokens; `tasks` has but one here."""

    def __init__(self, sequence: Sequence, model: Model, *, guesses: bool = False) -> None:
        """Raises BadInputError for sampling that can't be: a grammar that is none, a bias for no token."""
        self.sequence = sequence
        is_alone = sequence.scores is not None and sequence.scores.alone
        self.tasks = [Task(list(sequence.prompt_tokens), _first_logits(sequence.scores), is_alone)]
        self.cells_beside = 0  # that its tasks hold beside as many each as the first has tokens
        self.shifted_tokens = 0
        self.cached_tokens = 0
        self.guessed_tokens = 0
        self.spared_passes = 0
        self.is_drafted = False  # the guesses under way are of the draft model
        self._guesses = guesses
        self._guesser: Guesser | None = None
        self._model = model
        self._sampler = Sampler(model, sequence.sampling, sequence.shown)
        self._scores = _make_taker(sequence.scores, model)
        self._decoder = TextDecoder()
        self._matcher = StopMatcher(sequence.limits.stop)
        self._tokens: list[int] = []
        self._shown: list[str] = []
        self._told_scores = 0  # how many tokens' scores went with the pieces so far
        self._watch: Stopwatch | None = None
        self._prompt_seconds: float | None = None

    def start(self) -> None:
        """Says that the prompt begins to be read, unless it did before."""
        self._watch = self._watch or Stopwatch()

    def choose(self, context: Context, index: int) -> tuple[int, str | None]:
        """The next token, by the logits at an index of the pass just made, and why the answer ends with it, if it does.

        If no token was asked for, none is chosen: -1.
        """
        if self._prompt_seconds is None:
            self._prompt_seconds = self._lap()
            self._sampler.accept_prompt(self.sequence.prompt_tokens)
            if self.sequence.limits.max_tokens == 0:
                return -1, "length"
            self._guesser = Guesser(self.sequence.prompt_tokens) if self._guesses else None
        token = self._sampler.sample(context, index)
        if self._guesser is not None:
            self._guesser.take(token)
        if self._scores is not None:
            self._scores.take_answer(context, index, token)
        return token, self._add(token)

    @property
    def guesser(self) -> Guesser | None:
        """What guesses ahead, once the answer has begun, if that is wanted."""
        return self._guesser

    def room_for_guesses(self, room: int) -> int:
        """Of so many tokens those that may be asked for."""
        limit = self.sequence.limits.max_tokens
        return room if limit is None else min(room, limit - len(self._tokens) - 1)

    def take_rows(self, task: Task, context: Context, index: int, end: int, count: int) -> None:
        """Scores prompt tokens by the `count` rows of the pass just made, up to an index; `end`: how far it has read.

        The last row of all stands before the answer's first token.
        """
        tokens = self.sequence.prompt_tokens
        positions = range(end - count + 1, min(end + 1, len(tokens)))
        if self._scores is not None and positions:
            from llmasos.engine.scores import rows_at

            rows = rows_at(context, index, count, self._model.vocabulary_size)
            self._scores.take_prompt(rows[: len(positions)], positions, tokens[positions.start : positions.stop])

    def companions(self) -> list[Task]:
        """Tasks that have to go on beside the first from now on, which has been read."""
        return []

    def is_ready(self, context: Context, index: int) -> bool:
        """Whether the next token can be chosen by the logits at an index of the pass just made."""
        return True

    def extend(self, tokens: Tokens[int]) -> None:
        """The tokens go on behind all tasks."""
        for task in self.tasks:
            task.tokens += tokens

    def finish(self, reason: str) -> Answer:
        """Shows what was held back, and closes the sampler."""
        if self._matcher.matched is None:
            self._show(self._matcher.feed(self._decoder.finish()))
            self._show(self._matcher.finish())
        seconds, count = self._lap(), len(self._tokens)
        of_answer = self._scores.of_answer if self._scores else ()
        self.close()
        return Answer(
            text="".join(self._shown),
            tokens=tuple(self._tokens),
            finish_reason=reason,
            prompt_tokens=len(self.sequence.prompt_tokens),
            cached_tokens=self.cached_tokens,
            prompt_seconds=seconds if self._prompt_seconds is None else self._prompt_seconds,
            completion_seconds=0.0 if self._prompt_seconds is None else seconds,
            seed=self._sampler.seed,
            stop=self._matcher.matched,
            shifted_tokens=self.shifted_tokens,
            guessed_tokens=self.guessed_tokens,
            spared_passes=self.spared_passes,
            prompt_scores=self._scores.of_prompt if self._scores else (),
            token_scores=of_answer[:count],
            end_score=of_answer[count] if len(of_answer) > count else None,
        )

    def close(self) -> None:
        self._sampler.close()

    def _lap(self) -> float:
        return self._watch.lap() if self._watch else 0.0

    def _add(self, token: int) -> str | None:
        limits = self.sequence.limits
        if self._model.is_end(token) and (self.sequence.sampling.grammar is not None or not limits.ignore_eos):
            return "stop"  # where a grammar ends, nothing else can follow
        self._tokens.append(token)
        self._show(
            self._matcher.feed(self._decoder.feed(self._model.piece(token, special=token in self.sequence.shown)))
        )
        if self._matcher.matched is not None:
            return "stop"
        return "length" if len(self._tokens) == limits.max_tokens else None

    def _show(self, text: str) -> None:
        if text:
            self._shown.append(text)
            self.sequence.emit(Chunk(text, len(self._tokens), self._untold_scores()))

    def _untold_scores(self) -> tuple[TokenScore, ...]:
        if self._scores is None:
            return ()
        told, self._told_scores = self._told_scores, len(self._tokens)
        return self._scores.of_answer[told : self._told_scores]


def _first_logits(scores: ScoreOptions | None) -> int | None:
    """The first prompt token whose logits are wanted: that before the first to be scored."""
    return None if scores is None or scores.prompt_from is None else max(0, scores.prompt_from - 1)


def _make_taker(scores: ScoreOptions | None, model: Model) -> ScoreTaker | None:
    if scores is None:
        return None
    from llmasos.engine.scores import ScoreTaker  # NumPy, which other answers do without

    return ScoreTaker(scores, model.vocabulary_size)
