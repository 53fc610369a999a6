"""Two models side by side on one text: how far the second has gone from the first, which is the reference.

Both are in memory. Window by window the reference's rows are kept until the other has made its own, so there is no file
of logits; what is computed of them is what `llama-perplexity --kl-divergence` tells.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmasos import native
from llmasos.engine.model import Model
from llmasos.engine.options import LoadOptions
from llmasos.evaluation.perplexity import Perplexity, Settings, count_bytes, summarize, windows_of
from llmasos.evaluation.scorer import Scorer, Window, open_scorer
from llmasos.evaluation.statistics import estimate, percentiles
from llmasos.evaluation.texts import Text
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.native import Doubles, Floats
from llmasos.progress import Progress

SHARES = (0.001, 0.01, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999)
SPEED_TOKENS, SPEED_ROUNDS, SPEED_PROMPT = 48, 3, 16


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: `size` in bytes of its files, `tokens_per_second` of an answer to one prompt."""

    name: str
    size: int
    perplexity: Perplexity
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the second model's distributions lie to the reference's, over all scored tokens; errors are standard errors.

    `log_ratio` is ln(perplexity of the second / of the reference). Kullback and Leibler's divergences are in nats, from
    the reference; `kld_percentiles` by share. Of the token that came `dp` is the mean of the differences of
    probabilities (second - reference), `dp_rms` the root of the mean of their squares. `top1` is the share of places
    where both have the same likeliest token.
    """

    log_ratio: float
    log_ratio_error: float
    kld: float
    kld_error: float
    kld_percentiles: Mapping[float, float]
    kld_max: float
    dp: float
    dp_error: float
    dp_rms: float
    dp_rms_error: float
    top1: float
    top1_error: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`agreement` is None for models whose vocabularies differ: then perplexities don't compare either, only bits per
    byte do.
    """

    reference: Side
    other: Side
    agreement: Agreement | None

    @property
    def figures(self) -> dict[str, float]:
        """Those of the second by the names that gates have."""
        found = self._of(self.other)
        if self.agreement is not None:
            each = self.agreement
            found |= {"kld": each.kld, "kld99": each.kld_percentiles[0.99], "dp": each.dp_rms, "top1": each.top1}
        return found

    @property
    def reference_figures(self) -> dict[str, float]:
        return self._of(self.reference)

    def _of(self, side: Side) -> dict[str, float]:
        found = {"bpb": side.perplexity.bits_per_byte, "size": float(side.size), "speed": side.tokens_per_second}
        return found | ({"ppl": side.perplexity.perplexity} if self.agreement is not None else {})


def compare(
    reference: Located,
    other: Located,
    text: Text,
    settings: Settings,
    loading: LoadOptions,
    *,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> Comparison:
    """Measures both on the text. Raises what loading raises, and BadInputError for a text that is too short."""
    progress = progress or Progress()

    def opened(located: Located) -> contextlib.AbstractContextManager[Scorer]:
        rows = settings.logit_rows
        return open_scorer(located, loading, settings.longest, logit_rows=rows, progress=progress, started=started)

    with opened(reference) as first, opened(other) as second:
        windows = [windows_of(each.model, text, settings) for each in (first, second)]
        work = progress.work(f"comparing {reference.name} and {other.name}", text.byte_count)
        if have_same_vocabulary(first.model, second.model):
            with work:
                pairs = list(_read_both(first, second, windows[0], text.byte_count, progress))
            surprises = [[pair.base_surprises for pair in pairs], [pair.surprises for pair in pairs]]
            agreement = agree(pairs)
        else:
            with work:
                surprises = [_read_alone(*each) for each in zip((first, second), windows, strict=True)]
            agreement = None
        found = [
            summarize(surprise, count_bytes(each.model, of_each))
            for surprise, each, of_each in zip(surprises, (first, second), windows, strict=True)
        ]
        speeds = measure_speeds((first, second), text)
    sides = [
        Side(located.name, sum(path.stat().st_size for path in located.paths), perplexity, speed)
        for located, perplexity, speed in zip((reference, other), found, speeds, strict=True)
    ]
    return Comparison(sides[0], sides[1], agreement)


class KeptRows:
    """Keeps the rows of a window until somebody else has read them (`PairReader`)."""

    def __init__(self, window: Window) -> None:
        self._first = window.first
        self._rows: dict[int, Floats] = {}  # by position of their first

    def __call__(self, rows: Floats, positions: range, tokens: Sequence[int]) -> None:
        self._rows[positions.start] = rows.copy()

    def at(self, positions: range) -> Floats:
        """The rows of these positions, which were read in the same parts."""
        return self._rows[positions.start][: len(positions)]


class PairReader:
    """Compares the rows of a window with those that were kept of the reference (tokens)."""

    def __init__(self, kept: KeptRows, window: Window) -> None:
        count = len(window.scored)
        self._first, self._kept = window.first, kept
        self.surprises, self.base_surprises, self.divergences = (np.empty(count) for _ in range(3))
        self.is_same_top: npt.NDArray[np.bool_] = np.empty(count, bool)

    def __call__(self, rows: Floats, positions: range, tokens: Sequence[int]) -> None:
        place = slice(positions.start - self._first, positions.stop - self._first)
        base, chosen, numbers = self._kept.at(positions), np.asarray(tokens), np.arange(len(rows))
        own_top, base_top = native.top(rows, 1), native.top(base, 1)
        self.surprises[place] = own_top.log_sums - rows[numbers, chosen]
        self.base_surprises[place] = base_top.log_sums - base[numbers, chosen]
        self.divergences[place] = native.divergence(base, rows)
        self.is_same_top[place] = own_top.tokens[:, 0] == base_top.tokens[:, 0]


def agree(pairs: Sequence[PairReader]) -> Agreement:
    """The figures of all windows together."""
    own, base, divergences = (
        np.concatenate([getattr(pair, name) for pair in pairs])
        for name in ("surprises", "base_surprises", "divergences")
    )
    ratio, ratio_error = _difference(own, base)
    differences = np.exp(-own) - np.exp(-base)
    kld, dp, squares = estimate(divergences), estimate(differences), estimate(differences * differences)
    root = math.sqrt(squares.mean)
    top1 = float(np.concatenate([pair.is_same_top for pair in pairs]).mean())
    return Agreement(
        log_ratio=ratio,
        log_ratio_error=ratio_error,
        kld=kld.mean,
        kld_error=kld.error,
        kld_percentiles=dict(zip(SHARES, percentiles(divergences, SHARES), strict=True)),
        kld_max=float(divergences.max()),
        dp=dp.mean,
        dp_error=dp.error,
        dp_rms=root,
        dp_rms_error=0.5 / root * squares.error if root else 0.0,
        top1=top1,
        top1_error=math.sqrt(top1 * (1 - top1) / max(1, len(own) - 1)),
    )


def _difference(own: Doubles, base: Doubles) -> tuple[float, float]:
    """The difference of two means of pairs, with its error: what both have in common does not count."""
    covariance = float((own * base).mean() - own.mean() * base.mean()) / max(1, len(own) - 1)
    first, second = estimate(own), estimate(base)
    variance = first.error**2 + second.error**2 - 2 * covariance
    return first.mean - second.mean, math.sqrt(max(0.0, variance))


def have_same_vocabulary(first: Model, second: Model) -> bool:
    """Whether a token's number means the same to both."""
    size = first.vocabulary_size
    return size == second.vocabulary_size and all(
        first.piece(token, special=True) == second.piece(token, special=True) for token in range(size)
    )


def _read_both(
    first: Scorer, second: Scorer, windows: Sequence[Window], byte_count: int, progress: Progress
) -> Iterator[PairReader]:
    for done, window in enumerate(windows, 1):
        [kept] = first.read([window], KeptRows)
        yield from second.read([window], functools.partial(PairReader, kept))
        progress.update(byte_count * done // len(windows))


def _read_alone(scorer: Scorer, windows: Sequence[Window]) -> list[Doubles]:
    return [-scores.log_probabilities for scores in scorer.score(windows)]


def measure_speeds(scorers: Sequence[Scorer], text: Text) -> list[float]:
    """Tokens per second of an answer to the text's beginning; in turn, so that a machine that slows down slows all."""
    rounds = [
        [scorer.speed(text.content, SPEED_PROMPT, SPEED_TOKENS) for scorer in scorers] for _ in range(SPEED_ROUNDS)
    ]
    return [float(np.median([each[place] for each in rounds])) for place in range(len(scorers))]
