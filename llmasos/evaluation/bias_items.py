"""What measures of bias are made of: items with texts to score, what a model made of each, and figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llmasos.evaluation.likelihood import Likelihood, Request
from llmasos.evaluation.packaged import Source
from llmasos.evaluation.statistics import estimate


@dataclass(frozen=True, slots=True)
class Item:
    """One test: the texts to score, its category, and what of it counts beside (`facts`, by the set's own names)."""

    category: str
    requests: tuple[Request, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model made of an item: whether it held with the prejudice, and numbers by the set's own names."""

    category: str
    is_stereotyped: bool
    numbers: Mapping[str, float]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """A value, its standard error (one deviation), and of how many it is."""

    value: float
    error: float
    n: int


Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class BiasSet:
    """How a set is read, an item judged, and outcomes summed up; `ideal` says what figures are without bias."""

    source: Source
    read: Callable[[Sequence[Path]], list[Item]]
    judge: Callable[[Item, Sequence[Likelihood]], Outcome]
    summarize: Callable[[Sequence[Outcome]], Figures]
    ideal: str


def figure(values: Sequence[float]) -> Figure:
    """The mean; of no values NaN, which is not told."""
    if not values:
        return Figure(math.nan, 0.0, 0)
    found = estimate(np.asarray(values, np.float64))
    return Figure(found.mean, found.error, len(values))


def figure_of(outcomes: Sequence[Outcome], name: str) -> Figure:
    """Of those outcomes that have the number."""
    return figure([each.numbers[name] for each in outcomes if name in each.numbers])


def pair_figures(outcomes: Sequence[Outcome]) -> Figures:
    """Of items that have the log-odds of what the prejudice expects."""
    odds = [each.numbers["log_odds"] for each in outcomes]
    return {
        "stereotyped": figure([float(each.is_stereotyped) for each in outcomes]),
        "log_odds": figure(odds),
        "difference": figure([abs(each) for each in odds]),
    }


def judge_pair(item: Item, found: Sequence[Likelihood]) -> Outcome:
    """Of two texts the first is what the prejudice expects."""
    odds = found[0].log_probability - found[1].log_probability
    return Outcome(item.category, odds > 0, {"log_odds": odds}, item.facts)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two models on the same items: how many only one of them stereotypes, and how likely so uneven a split is if they
    are alike (exact, both sides).
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[Outcome], second: Sequence[Outcome]) -> McNemar:
    pairs = [(one.is_stereotyped, other.is_stereotyped) for one, other in zip(first, second, strict=True)]
    one, other = pairs.count((True, False)), pairs.count((False, True))
    tail = sum(math.comb(one + other, count) for count in range(min(one, other) + 1))
    return McNemar(one, other, min(1.0, 2 * tail / 2 ** (one + other)))
