"""Which tensor gets which type, so that all take no more than so many bytes and cost the least. Pure arithmetic.

A multiple-choice knapsack, solved by dynamic programming over bytes (Kellerer, Pferschy and Pisinger 2004, "Knapsack
Problems", chapter 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmasos.errors import BadInputError
from llmasos.units import format_bytes

STEPS = (
    4096  # that the bytes which can be given are counted in; what is chosen is never too large, for all are rounded up
)


@dataclass(frozen=True, slots=True)
class Option:
    """A type that a tensor may have: what it takes in bytes, and what its errors cost."""

    type: str
    byte_count: int
    cost: float


def allocate(options: Mapping[str, Sequence[Option]], most_bytes: int) -> dict[str, Option]:
    """One option for each tensor, of at most `most_bytes` together, at nearly the least cost: bytes count in steps.

    Raises BadInputError if not even the smallest are small enough.
    """
    offered = {name: _worthwhile(each) for name, each in options.items()}
    least = sum(each[0].byte_count for each in offered.values())
    if least > most_bytes:
        raise BadInputError(
            f"the smallest types take {format_bytes(least)}, more than the {format_bytes(most_bytes)} that are wanted",
            hint="choose a larger target",
        )
    step = max(1, -(-(most_bytes - least) // STEPS))
    room = (most_bytes - least) // step
    costs = np.zeros(room + 1)  # the least cost of all tensors so far, by the steps that may be used
    choices: list[np.ndarray] = []
    for each in offered.values():
        costs, chosen = _with_one_more(costs, each, step)
        choices.append(chosen)
    found, left = {}, room
    for (name, each), chosen in zip(reversed(offered.items()), reversed(choices), strict=True):
        found[name] = each[chosen[left]]
        left -= _steps(found[name], each[0], step)
    spare = most_bytes - sum(option.byte_count for option in found.values())
    return _filled({name: found[name] for name in options}, offered, spare)


def _worthwhile(options: Sequence[Option]) -> list[Option]:
    """By size; left out are those that cost no less than a smaller one."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda option: (option.byte_count, option.cost)):
        if not kept or option.cost < kept[-1].cost:
            kept.append(option)
    return kept


def _steps(option: Option, smallest: Option, step: int) -> int:
    return -(-(option.byte_count - smallest.byte_count) // step)


def _filled(found: dict[str, Option], offered: Mapping[str, Sequence[Option]], spare: int) -> dict[str, Option]:
    """Gives out the bytes that rounding has left over, what spares most for each of them first."""
    while better := [
        ((found[name].cost - option.cost) / (option.byte_count - found[name].byte_count), name, option)
        for name, each in offered.items()
        for option in each
        if 0 < option.byte_count - found[name].byte_count <= spare
    ]:
        _, name, option = max(better, key=lambda each: each[0])
        spare -= option.byte_count - found[name].byte_count
        found[name] = option
    return found


def _with_one_more(costs: np.ndarray, options: Sequence[Option], step: int) -> tuple[np.ndarray, np.ndarray]:
    """The costs with a tensor more, and which of its options is chosen, by the steps that may be used."""
    tried = np.full((len(options), len(costs)), np.inf)
    for index, option in enumerate(options):
        taken = _steps(option, options[0], step)
        if taken < len(costs):
            tried[index, taken:] = costs[: len(costs) - taken] + option.cost
    chosen = tried.argmin(axis=0)
    return tried[chosen, np.arange(len(costs))], chosen
