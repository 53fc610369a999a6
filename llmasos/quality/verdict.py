"""What a quantization costs, against its source: the figures, the gate, and which sizes are worth having. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.settings import option


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one model beside its source: Kullback-Leibler divergences in nats, `agreement` the share of places where both
    find the same token likeliest, `perplexity_increase` a share of the source's.
    """

    type_name: str
    byte_count: int
    bits_per_weight: float
    perplexity: float
    perplexity_increase: float
    mean_divergence: float
    divergence_99: float
    agreement: float
    tokens_per_second: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a quantization may cost at most; None: anything."""

    max_kld: float | None = option(
        None, "Refuse what diverges more from the source, in nats, by the mean.", minimum=0, maximum=100
    )
    max_ppl_increase: float | None = option(
        None, "Refuse what has a perplexity so much higher than the source's, in percent.", minimum=0, maximum=10_000
    )

    @property
    def are_set(self) -> bool:
        return self.max_kld is not None or self.max_ppl_increase is not None


def failures(figures: Figures, limits: Limits) -> list[str]:
    """What a model does not keep to, in words; nothing if it passes. A figure that is no number never passes."""
    found = []
    if limits.max_kld is not None and not figures.mean_divergence <= limits.max_kld:
        found.append(f"its divergence of {figures.mean_divergence:.4f} is above {limits.max_kld:g}")
    if limits.max_ppl_increase is not None and not 100 * figures.perplexity_increase <= limits.max_ppl_increase:
        found.append(
            f"its perplexity is {100 * figures.perplexity_increase:+.2f} %, above {limits.max_ppl_increase:g} %"
        )
    return found


def pareto_front(models: Sequence[Figures]) -> list[Figures]:
    """Those that no other one beats in size and divergence both, the smallest first."""
    front: list[Figures] = []
    for model in sorted(models, key=lambda model: (model.byte_count, model.mean_divergence)):
        if not front or model.mean_divergence < front[-1].mean_divergence:
            front.append(model)
    return front


def smallest_that_passes(models: Sequence[Figures], limits: Limits) -> Figures | None:
    """Of equal size that which diverges less."""
    passing = [model for model in models if not failures(model, limits)]
    return min(passing, key=lambda model: (model.byte_count, model.mean_divergence), default=None)
