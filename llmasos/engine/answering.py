"""One sequence on its way from a prompt to an answer: chooses tokens, makes text of them, sees where it ends."""

from __future__ import annotations

from llmasos.engine.context import Context
from llmasos.engine.model import Model
from llmasos.engine.sampler import Sampler
from llmasos.engine.scheduler import Task
from llmasos.engine.sequence import Answer, Chunk, Sequence, Stopwatch
from llmasos.engine.text import StopMatcher, TextDecoder


class Answering:
    """Belongs to the engine's thread, which counts `shifted_tokens` and `cached_tokens`; `tasks` has but one."""

    def __init__(self, sequence: Sequence, model: Model) -> None:
        """Raises BadInputError for sampling that can't be: a grammar that is none, a bias for no token."""
        self.sequence = sequence
        self.tasks = [Task(list(sequence.prompt_tokens))]
        self.shifted_tokens = 0
        self.cached_tokens = 0
        self._model = model
        self._sampler = Sampler(model, sequence.sampling)
        self._decoder = TextDecoder()
        self._matcher = StopMatcher(sequence.limits.stop)
        self._tokens: list[int] = []
        self._shown: list[str] = []
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
        token = self._sampler.sample(context, index)
        return token, self._add(token)

    def finish(self, reason: str) -> Answer:
        """Shows what was held back, and closes the sampler."""
        if self._matcher.matched is None:
            self._show(self._matcher.feed(self._decoder.finish()))
            self._show(self._matcher.finish())
        seconds = self._lap()
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
        )

    def close(self) -> None:
        self._sampler.close()

    def _lap(self) -> float:
        return self._watch.lap() if self._watch else 0.0

    def _add(self, token: int) -> str | None:
        limits = self.sequence.limits
        if self._model.is_end(token) and (self.sequence.sampling.grammar or not limits.ignore_eos):
            return "stop"  # where a grammar ends, nothing else can follow
        self._tokens.append(token)
        self._show(self._matcher.feed(self._decoder.feed(self._model.piece(token))))
        if self._matcher.matched is not None:
            return "stop"
        return "length" if len(self._tokens) == limits.max_tokens else None

    def _show(self, text: str) -> None:
        if text:
            self._shown.append(text)
            self.sequence.emit(Chunk(text, len(self._tokens)))
