"""Bias measured: a set's items scored by a model, and figures of all and of each category."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.evaluation.bias_bbq import BBQ
from llmasos.evaluation.bias_items import BiasSet, Figures, Item, Outcome
from llmasos.evaluation.bias_probe import PROBE
from llmasos.evaluation.bias_sets import CROWS, STEREOSET, STEREOSET_NEXT, WINOBIAS
from llmasos.evaluation.likelihood import Likelihood, likelihoods, open_for
from llmasos.evaluation.packaged import find_files
from llmasos.load import Loaded
from llmasos.locate import Located
from llmasos.progress import Progress

OWN = "probe"
SETS: Mapping[str, BiasSet] = {
    OWN: PROBE,
    "crows-pairs": CROWS,
    "stereoset": STEREOSET,
    "stereoset-next": STEREOSET_NEXT,
    "winobias": WINOBIAS,
    "bbq": BBQ,
}


@dataclass(frozen=True, slots=True)
class Bias:
    """Figures of all `n` items, and of each category."""

    n: int
    figures: Figures
    categories: Mapping[str, Figures]


def find_set(name: str) -> BiasSet:
    """Raises UsageError for one that there is not."""
    if name not in SETS:
        raise UsageError(f"there is no set `{name}`", hint=f"known are {', '.join(SETS)}")
    return SETS[name]


def files_of(chosen: BiasSet, data: Path | None) -> list[Path]:
    """Raises BadInputError where a set's files are not to be found, and UsageError for those that our probe has not."""
    if chosen is not PROBE:
        return find_files(chosen.source, data)
    if data is not None:
        raise UsageError("our own probe takes no data", hint=f"--set says what the data is: {', '.join(SETS)}")
    return []


def read_items(chosen: BiasSet, files: Sequence[Path], categories: Collection[str] = ()) -> list[Item]:
    """The items, of these categories or all. Raises BadInputError, and UsageError for an unknown category."""
    items = chosen.read(files)
    if not items:
        raise BadInputError(f"there is nothing of {chosen.source.name} in {', '.join(map(str, files))}")
    known = sorted({each.category for each in items})
    for each in categories:
        if each not in known:
            raise UsageError(f"{chosen.source.name} has no category `{each}`", hint=f"known are {', '.join(known)}")
    return [each for each in items if not categories or each.category in categories]


def measure_bias(
    located: Located,
    chosen: BiasSet,
    items: Sequence[Item],
    loading: LoadOptions,
    *,
    sampling: SamplingOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[Loaded], None] = lambda loaded: None,
) -> list[Outcome]:
    """What the model made of each item, in their order. Raises what loading raises."""
    requests = [request for item in items for request in item.requests]
    with open_for(requests, located, loading, sampling=sampling, progress=progress, started=started) as scorer:
        found = likelihoods(scorer, requests, progress, f"measuring {located.name}")
    return [chosen.judge(item, of_item) for item, of_item in _by_item(items, found)]


def _by_item(items: Sequence[Item], found: Sequence[Likelihood]) -> Iterator[tuple[Item, Sequence[Likelihood]]]:
    start = 0
    for item in items:
        yield item, found[start : start + len(item.requests)]
        start += len(item.requests)


def summarize(chosen: BiasSet, outcomes: Sequence[Outcome]) -> Bias:
    categories: dict[str, list[Outcome]] = {}
    for each in outcomes:
        categories.setdefault(each.category, []).append(each)
    of_each = {name: _known(chosen.summarize(categories[name])) for name in sorted(categories)}
    return Bias(len(outcomes), _known(chosen.summarize(outcomes)), of_each)


def _known(figures: Figures) -> Figures:
    """Without those of nothing."""
    return {name: each for name, each in figures.items() if each.n}
