"""Gates: what a comparison may not be worse than, as people write it (`ppl>+2%`, `kld>0.05`, `top1<95%`). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmasos.errors import QualityGateError, UsageError

if TYPE_CHECKING:
    from llmasos.evaluation.compare import Comparison

WRITTEN = re.compile(r"\s*([a-z0-9]+)\s*([<>])\s*([+-]?)(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*")
OF_EACH = ("ppl", "bpb", "size", "speed")  # both models have one, so these may be relative
OF_BOTH = ("kld", "kld99", "dp", "top1")
SHARES = ("dp", "top1")
HINT = "such as 'ppl>+2%', 'kld>0.05' or 'top1<95%'; ppl, bpb, size, speed, kld, kld99, dp (RMS) and top1 are known"


@dataclass(frozen=True, slots=True)
class Gate:
    """Fails if the figure `name` is above (`>`) or below (`<`) the limit.

    `base` is `+` for a limit that is added to the reference's figure, `*` for one that it is multiplied by, or empty.
    """

    text: str
    name: str
    sign: str
    limit: float
    base: str = ""

    def fails(self, value: float, reference: float) -> bool:
        limit = {"": self.limit, "+": reference + self.limit, "*": reference * self.limit}[self.base]
        return value > limit if self.sign == ">" else value < limit


def parse_gate(text: str) -> Gate:
    """Raises UsageError for what is no gate."""
    match = WRITTEN.fullmatch(text)
    if match is None or match[1] not in (*OF_EACH, *OF_BOTH):
        raise UsageError(f"--fail-if can't be `{text}`", hint=HINT)
    name, sign, relation, number, percent = match.groups()
    value = float(number) / (100 if percent else 1)
    if relation and name in OF_BOTH:
        raise UsageError(f"`{text}`: {name} is no figure of the reference that this could be relative to", hint=HINT)
    if not relation and percent and name not in SHARES:
        raise UsageError(f"`{text}`: of what are these per cent?", hint=f"write {name}{sign}+{number}%")
    if not relation:
        return Gate(text.strip(), name, sign, value)
    difference = -value if relation == "-" else value
    return Gate(text.strip(), name, sign, 1 + difference if percent else difference, "*" if percent else "+")


def failures(gates: Sequence[Gate], comparison: Comparison) -> list[str]:
    """What to tell of the gates that fail, a line of each; none if all is well.

    Raises UsageError for a figure that models of different vocabularies do not have.
    """
    own, reference = comparison.figures, comparison.reference_figures
    told = []
    for gate in gates:
        if gate.name not in own:
            raise UsageError(
                f"`{gate.text}`: the two have different vocabularies, and there is no {gate.name} of such",
                hint="bpb, size and speed can be compared, such as 'bpb>+2%'",
            )
        if gate.fails(own[gate.name], reference.get(gate.name, 0.0)):
            beside = f", {reference[gate.name]:.5g} in the reference" if gate.name in reference else ""
            told.append(f"{comparison.other.name}: {gate.text} ({gate.name} is {own[gate.name]:.5g}{beside})")
    return told


def require(gates: Sequence[Gate], comparisons: Sequence[Comparison]) -> None:
    """Raises QualityGateError if any gate fails for any of them."""
    told = [line for each in comparisons for line in failures(gates, each)]
    if told:
        raise QualityGateError("; ".join(told), hint="a type with more bits, or an importance matrix, loses less")
