"""The scorer: what a model gives to the tokens of many texts, and what else their rows of logits say, as arrays.

Windows are runs of tokens, of which those from `first` on are scored. Several are read at a time where the engine has
room for that, and what they begin with is read once. Rows are reduced in the engine's thread as they are made.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from llmasos import native
from llmasos.engine.debias import room_for_prefixes, sequence_count
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, LoadOptions, SamplingOptions, ScoreOptions
from llmasos.engine.scheduler import LOGIT_ROWS
from llmasos.engine.scores import RowReader
from llmasos.engine.sequence import Sequence as Submitted
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.native import Doubles, Floats
from llmasos.progress import Progress

NOTHING = AnswerOptions(max_tokens=0)
WAITING = 4  # windows for each that is worked on, so that no pass waits for the next

Reader = TypeVar("Reader", bound=RowReader)


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that are read together; those from the one at `first` (1 or more) on are scored.

    With `alone` it takes nothing over from others, so that its digits do not depend on them.
    """

    tokens: Sequence[int]
    first: int = 1
    alone: bool = False

    @property
    def scored(self) -> Sequence[int]:
        return self.tokens[self.first :]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is taken of each row beside the log-probability of the token that came."""

    top: int = 0
    entropy: bool = False
    rank: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """Of a window's scored tokens, one of each (tokens): natural log-probabilities, and what else was wanted.

    Entropies are in nats; a rank of 1 is the likeliest. `top` (tokens, count) has the likeliest tokens and their
    log-probabilities, in `top_log_probabilities`.
    """

    tokens: npt.NDArray[np.int32]
    log_probabilities: Doubles
    entropies: Doubles | None = None
    ranks: npt.NDArray[np.int64] | None = None
    top_tokens: npt.NDArray[np.int32] | None = None
    top_log_probabilities: Doubles | None = None


class ScoreReader:
    """Takes `Scores` off the rows of one window."""

    def __init__(self, window: Window, wanted: Wanted) -> None:
        count = len(window.scored)
        self._first = window.first
        self._wanted = wanted
        self.scores = Scores(
            np.asarray(window.scored, np.int32),
            np.empty(count),
            np.empty(count) if wanted.entropy else None,
            np.empty(count, np.int64) if wanted.rank else None,
            np.empty((count, wanted.top), np.int32) if wanted.top else None,
            np.empty((count, wanted.top)) if wanted.top else None,
        )

    def __call__(self, rows: Floats, positions: range, tokens: Sequence[int]) -> None:
        place, chosen = slice(positions.start - self._first, positions.stop - self._first), np.asarray(tokens)
        scores = self.scores
        if scores.top_tokens is not None and scores.top_log_probabilities is not None:
            top = native.top(rows, self._wanted.top)
            scores.top_tokens[place] = top.tokens
            scores.top_log_probabilities[place] = top.logits - top.log_sums[:, None]
            scores.log_probabilities[place] = rows[np.arange(len(rows)), chosen] - top.log_sums
        else:
            scores.log_probabilities[place] = native.log_probabilities(rows, chosen)
        if scores.entropies is not None:
            scores.entropies[place] = native.entropy(rows)
        if scores.ranks is not None:
            scores.ranks[place] = native.ranks(rows, chosen)


class Scorer:
    """An engine that scores. It belongs to whoever started it.

    What `sampling` says of debiasing counts: then rows and log-probabilities are those of the damped distributions.
    """

    def __init__(self, model: Model, engine: Engine, sampling: SamplingOptions | None = None) -> None:
        self.model = model
        self._engine = engine
        self._sampling = sampling or SamplingOptions()

    def score(self, windows: Iterable[Window], wanted: Wanted | None = None) -> Iterator[Scores]:
        """The scores of each window, in their order, as they come."""
        for reader in self.read(windows, lambda window: ScoreReader(window, wanted or Wanted())):
            yield reader.scores

    def read(self, windows: Iterable[Window], make_reader: Callable[[Window], Reader]) -> Iterator[Reader]:
        """Reads the windows and gives the rows of each to a reader of its own; yields these when they have all.

        Raises PromptTooLongError for a window that is longer than the context.
        """
        going: collections.deque[tuple[Submitted, Reader]] = collections.deque()
        try:
            for window in windows:
                reader = make_reader(window)
                options = ScoreOptions(prompt_from=window.first, reader=reader, alone=window.alone)
                going.append((self._engine.submit(window.tokens, self._sampling, NOTHING, scores=options), reader))
                if len(going) >= WAITING * self._engine.parallel:
                    yield _read_whole(*going.popleft())
            while going:
                yield _read_whole(*going.popleft())
        finally:
            for sequence, _ in going:
                self._engine.cancel(sequence)

    def speed(self, text: str, prompt_tokens: int, count: int) -> float:
        """Tokens per second of an answer of `count` tokens, or as many as fit, to the text's first `prompt_tokens`."""
        prompt = self.model.tokenize(text, add_special=True, parse_special=False)[:prompt_tokens]
        limits = AnswerOptions(max_tokens=count, ignore_eos=True)
        sequence = self._engine.submit(prompt, SamplingOptions(temperature=0), limits)
        collections.deque(sequence, maxlen=0)
        assert sequence.answer is not None
        return sequence.answer.tokens_per_second


def _read_whole(sequence: Submitted, reader: Reader) -> Reader:
    collections.deque(sequence, maxlen=0)  # waits for the last piece; there is no text
    return reader


@contextlib.contextmanager
def open_scorer(
    located: Located,
    loading: LoadOptions,
    longest: int,
    *,
    parallel: int = 1,
    logit_rows: int = LOGIT_ROWS,
    sampling: SamplingOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> Iterator[Scorer]:
    """A scorer of windows of at most `longest` tokens, `parallel` at a time; `logit_rows` are made at a time.

    `started` is called when the model is loaded. `sampling` may ask for debiased scores (`Scorer`).

    Raises what loading raises, and BadInputError for a model that was not made to write text.
    """
    sampling = sampling or SamplingOptions()
    width = sequence_count(sampling)
    length = longest + 1 + (room_for_prefixes(sampling) if width > 1 else 0)
    options = replace(loading, context_length=length, draft=None, speculation=False)
    with (
        Loaded(located, options, answer_tokens=1, prompt_bytes=0, progress=progress) as loaded,
        loaded.start(
            length - 1,
            parallel=width * parallel,
            cells=width * parallel * length,
            kept=width if width > 1 else 0,  # the beginnings of the prefixed texts
            logit_rows=logit_rows,
        ) as engine,
    ):
        started(loaded)
        yield Scorer(loaded.model, engine, sampling)
