"""What a type makes of a model, beside its source: which sizes are worth having, and which passes the gates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.evaluation.compare import Agreement, Comparison
from llmasos.evaluation.gates import Gate, failures


@dataclass(frozen=True, slots=True)
class Verdict:
    """`byte_count` is the file's, `bits_per_weight` the mean over all weights, the unquantized ones too."""

    type_name: str
    byte_count: int
    bits_per_weight: float
    comparison: Comparison

    @property
    def agreement(self) -> Agreement:
        found = self.comparison.agreement
        assert found is not None, "a model and its source have one vocabulary"
        return found

    @property
    def divergence(self) -> float:
        """The mean of Kullback and Leibler's, from the source, in nats."""
        return self.agreement.kld

    @property
    def perplexity_increase(self) -> float:
        """As a share of the source's."""
        return self.comparison.other.perplexity.perplexity / self.comparison.reference.perplexity.perplexity - 1

    @property
    def figures(self) -> dict[str, Any]:
        """What is told and kept of it."""
        return {
            "type": self.type_name,
            "size": self.byte_count,
            "bits_per_weight": self.bits_per_weight,
            "perplexity": self.comparison.other.perplexity.perplexity,
            "perplexity_of_source": self.comparison.reference.perplexity.perplexity,
            "perplexity_increase": self.perplexity_increase,
            "kld": self.divergence,
            "kld_error": self.agreement.kld_error,
            "kld99": self.agreement.kld_percentiles[0.99],
            "top1": self.agreement.top1,
            "tokens_per_second": self.comparison.other.tokens_per_second,
        }


def gates_of(max_kld: float | None, max_ppl_increase: float | None) -> list[Gate]:
    """For a divergence in nats and an increase in percent at most; None: any."""
    gates = []
    if max_kld is not None:
        gates.append(Gate(f"kld>{max_kld:g}", "kld", ">", max_kld))
    if max_ppl_increase is not None:
        gates.append(Gate(f"ppl>+{max_ppl_increase:g}%", "ppl", ">", 1 + max_ppl_increase / 100, "*"))
    return gates


def passes(verdict: Verdict, gates: Sequence[Gate]) -> bool:
    return not failures(gates, verdict.comparison)


def pareto_front(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that no other one beats in size and divergence both, the smallest first."""
    front: list[Verdict] = []
    for each in sorted(verdicts, key=lambda each: (each.byte_count, each.divergence)):
        if not front or each.divergence < front[-1].divergence:
            front.append(each)
    return front


def smallest_that_passes(verdicts: Sequence[Verdict], gates: Sequence[Gate]) -> Verdict | None:
    """Of equal size that which diverges less."""
    passing = [each for each in verdicts if passes(each, gates)]
    return min(passing, key=lambda each: (each.byte_count, each.divergence), default=None)
