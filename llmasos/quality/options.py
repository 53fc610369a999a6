"""What can be chosen of a quantization that is to be judged: the one home of defaults, limits and help. Light."""

from __future__ import annotations

from dataclasses import dataclass

from llmasos.settings import option

SIZES = "A size to reach"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictOptions:
    """How a quantized model is compared with its source, and what it may lose at most. None: anything."""

    check: bool = option(
        False, "Compare it with its source before it is kept: perplexity, divergence, agreement, speed."
    )
    check_text: str | None = option(
        None, "Compare over the text in this file, in place of llmasos' own.", metavar="FILE"
    )
    max_kld: float | None = option(
        None, "Keep it only if it diverges no more from its source, by the mean, in nats.", minimum=0, maximum=100
    )
    max_ppl_increase: float | None = option(
        None, "Keep it only if its perplexity is no more above its source's, in percent.", minimum=0, maximum=10_000
    )
    sweep: str | None = option(
        None, "Try these types and compare them, such as Q8_0,Q6_K,Q5_K_M,Q4_K_M.", metavar="TYPES"
    )
    plot: str | None = option(
        None, "With --sweep: draw size against divergence into this file, .svg or .html.", metavar="FILE"
    )
    pick: bool = option(False, "With --sweep: keep the smallest that passes --max-kld and --max-ppl-increase.")
    target_bpw: float | None = option(
        None,
        "Choose a type for each tensor by what its errors cost, with so many bits for each weight on average.",
        minimum=1,
        maximum=16,
        panel=SIZES,
    )
    target_size: str | None = option(
        None, "The same, with a file of at most this size: 900M, 4.2G.", metavar="SIZE", panel=SIZES
    )

    @property
    def is_judged(self) -> bool:
        """Whether what is made has to be compared before it is kept."""
        return self.check or self.check_text is not None or self.has_gates

    @property
    def has_gates(self) -> bool:
        return self.max_kld is not None or self.max_ppl_increase is not None

    @property
    def has_target(self) -> bool:
        return self.target_bpw is not None or self.target_size is not None

    @property
    def is_used(self) -> bool:
        return self.is_judged or self.has_target or bool(self.sweep) or self.pick or self.plot is not None
