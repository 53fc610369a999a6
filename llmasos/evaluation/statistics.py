"""Means with their errors, and what else is told of many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmasos.native import Doubles

SIGMAS_OF_95 = 1.959963984540054  # of a normal distribution 95 % lie within so many deviations


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its standard error (one deviation, as if the numbers were independent)."""

    mean: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """In which it lies with a probability of 95 %."""
        return self.mean - SIGMAS_OF_95 * self.error, self.mean + SIGMAS_OF_95 * self.error


def estimate(values: Doubles) -> Estimate:
    """The mean of the values (count) with its error, as llama-perplexity has it: 0 where there are too few to tell."""
    count = len(values)
    mean = float(values.mean())
    variance = float((values * values).mean()) - mean * mean
    return Estimate(mean, float(np.sqrt(variance / (count - 1))) if variance > 0 and count > 1 else 0.0)


def percentiles(values: Doubles, shares: Sequence[float]) -> list[float]:
    """The values at these shares of their order, from 0 to 1, straight between neighbours."""
    return [float(value) for value in np.quantile(values, shares)]
