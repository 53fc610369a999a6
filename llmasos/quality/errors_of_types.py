"""What types make of a tensor's weights: their errors, weighed by what the weights are multiplied with.

A matrix W gives W x; one with errors gives something else, and what differs is by the mean of many x, whose components
are taken to be independent, the sum of the squared errors, each times the mean square of its component of x. That is
what an importance matrix holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmasos.formats.floats import as_float32
from llmasos.formats.gguf_tensors import GgufTensor
from llmasos.native import Floats
from llmasos.quantization.decode import decode
from llmasos.quantization.encode import encode
from llmasos.quantization.types import TYPES

SAMPLED_WEIGHTS = 2**18  # of a tensor, by whole rows: what they tell of the others is right to a percent


def weighted_errors(
    tensor: GgufTensor, types: Sequence[str], importance: Floats | None = None, *, most: int = SAMPLED_WEIGHTS
) -> dict[str, float]:
    """The sum of a tensor's weighed squared errors in each of these types, estimated from about `most` of its weights.

    `importance` (matrices, width) has the mean squares that the columns of each matrix of a stack are multiplied with,
    one matrix for a tensor that is none; None: all are 1.
    """
    stored = tensor.rows()
    width = tensor.shape[-1]
    columns = np.ones((1, width), np.float32) if importance is None else importance
    rows_each = len(stored) // len(columns)
    step = max(1, len(stored) * width // most)
    found = dict.fromkeys(types, 0.0)
    for matrix, weights in enumerate(columns):
        first = matrix * rows_each
        places = np.arange(first, first + rows_each, min(step, rows_each))
        values = as_float32(decode(stored[places], tensor.type))
        share = rows_each / len(places)
        for each in types:
            found[each] += share * _error(values, each, tensor.name, None if importance is None else weights)
    return found


def _error(values: Floats, tensor_type: str, name: str, weights: Floats | None) -> float:
    """Of float32 `values` (rows, width)."""
    made = as_float32(decode(encode(values, tensor_type, name, weights), tensor_type))
    squares = np.square(values - made).sum(axis=0, dtype=np.float64)
    return float(squares.sum() if weights is None else squares @ weights)


def fitting(types: Sequence[str], width: int) -> list[str]:
    """Those whose blocks divide rows of so many weights."""
    return [each for each in types if TYPES[each].divides(width)]
