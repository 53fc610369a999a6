"""One beam search on its way: the beams are tasks like others in the same passes, and wait for each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmasos import native
from llmasos.engine.admission import admitted, all_admitted
from llmasos.engine.beams import BeamSearch, Finished
from llmasos.engine.context import Context, logits_at
from llmasos.engine.grammar_check import GrammarCheck, stuck
from llmasos.engine.model import Model
from llmasos.engine.scheduler import Task
from llmasos.engine.sequence import Answer, Sequence, Stopwatch

TRIED = 4  # times as many candidates as are wanted are put to a grammar before all are

Candidates = list[tuple[int, float]]


class BeamAnswering:
    """Belongs to the engine's thread, which counts `cached_tokens` and keeps `tasks` in the order of the beams.

    Sampling options but the grammar play no part: beams never sample. Answers have at most `longest` tokens.
    """

    def __init__(self, sequence: Sequence, model: Model, longest: int) -> None:
        """Raises BadInputError for a grammar that is none."""
        assert sequence.beams is not None
        self.sequence = sequence
        self.shifted_tokens = 0
        self.cached_tokens = 0
        self.tasks = [Task(list(sequence.prompt_tokens), width=sequence.beams.num_beams)]
        self._model = model
        self._asked = sequence.limits.max_tokens
        self._search = BeamSearch(sequence.beams, longest=longest, ends=self._is_end)
        grammar = sequence.sampling.grammar
        self._grammars = [] if grammar is None else [GrammarCheck(model, grammar, sequence.shown)]
        self._noted: dict[Task, Candidates] = {}
        self._watch: Stopwatch | None = None
        self._prompt_seconds: float | None = None

    def start(self) -> None:
        """Says that the prompt begins to be read, unless it did before."""
        self._watch = self._watch or Stopwatch()

    def note(self, task: Task, context: Context, index: int) -> None:
        """Keeps a beam's likeliest tokens, by the logits at an index of the pass just made."""
        if self._prompt_seconds is None:
            self._prompt_seconds = self._lap()
        row = np.frombuffer(logits_at(context, index, self._model.vocabulary_size), np.float32)[None]
        grammar = self._grammars[self.tasks.index(task)] if self._grammars else None
        self._noted[task] = self._likeliest(row, grammar)

    @property
    def is_waiting(self) -> bool:
        """Whether a beam is still to be read."""
        return any(task not in self._noted for task in self.tasks)

    def advance(self) -> list[tuple[int, int]]:
        """What the next beams are made of: the index of one of the tasks, and its next token. Nothing at the end.

        Raises BadInputError if the grammar admits no token behind any of them.
        """
        noted = [self._noted[task] for task in self.tasks]
        if not any(noted):
            raise stuck()
        heirs = [(each.beam, each.token) for each in self._search.advance(noted)]
        self._noted.clear()
        if self._grammars:
            before, self._grammars = self._grammars, [self._grammars[index].clone() for index, _ in heirs]
            for grammar in before:
                grammar.close()
            for grammar, (_, token) in zip(self._grammars, heirs, strict=True):
                grammar.accept(token)
        return heirs

    @property
    def is_done(self) -> bool:
        return self._search.is_done

    def finish(self, reason: str) -> Answer:
        """The best sequence, with the next best in `others`; `reason` is empty unless the search was broken off."""
        self.close()
        watched = self._lap()
        best, *others = [self._answer(each, reason, watched) for each in self._search.best()]
        return replace(best, others=tuple(others))

    def close(self) -> None:
        for grammar in self._grammars:
            grammar.close()
        self._grammars = []

    def _likeliest(self, row: native.Floats, grammar: GrammarCheck | None) -> Candidates:
        wanted = self._search.candidates_wanted
        if grammar is None:
            return _as_candidates(native.top(row, wanted))
        top = native.top(row, TRIED * wanted)
        kept = admitted(grammar, top.tokens[0], top.logits[0])
        if len(kept) < wanted:
            kept = all_admitted(grammar, row[0])
            kept = kept[np.argsort(-kept["logit"], kind="stable")]
        tokens, logits = kept["id"][None, :wanted], kept["logit"][None, :wanted]
        return _as_candidates(native.Top(logits, tokens, top.log_sums))

    def _is_end(self, tokens: tuple[int, ...]) -> bool:
        if self._is_end_token(tokens[-1]):
            return True
        stops = self.sequence.limits.stop
        return bool(stops) and _stop_in(self._text(tokens), stops) is not None

    def _is_end_token(self, token: int) -> bool:
        ignored = self.sequence.limits.ignore_eos and not self._grammars
        return self._model.is_end(token) and not ignored

    def _answer(self, found: Finished, reason: str, watched: float) -> Answer:
        tokens = found.tokens[:-1] if found.tokens and self._is_end_token(found.tokens[-1]) else found.tokens
        text = self._text(tokens)
        stop = _stop_in(text, self.sequence.limits.stop)
        full = "length" if len(found.tokens) == self._asked else "context"
        return Answer(
            text=text if stop is None else text[: text.index(stop)],
            tokens=tokens,
            finish_reason=reason or ("stop" if found.is_ended else full),
            prompt_tokens=len(self.sequence.prompt_tokens),
            cached_tokens=self.cached_tokens,
            prompt_seconds=watched if self._prompt_seconds is None else self._prompt_seconds,
            completion_seconds=0.0 if self._prompt_seconds is None else watched,
            seed=0,
            stop=stop,
            score=found.score,
        )

    def _text(self, tokens: tuple[int, ...]) -> str:
        return self._model.detokenize(tokens, shown=self.sequence.shown)

    def _lap(self) -> float:
        return self._watch.lap() if self._watch else 0.0


def _as_candidates(top: native.Top) -> Candidates:
    log_probabilities = top.logits[0].astype(np.float64) - top.log_sums[0]
    return list(zip(top.tokens[0].tolist(), log_probabilities.tolist(), strict=True))


def _stop_in(text: str, stops: tuple[str, ...]) -> str | None:
    """The stop string that comes first in a text."""
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    return min(found)[1] if found else None
