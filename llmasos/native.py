"""What the kernels do with NumPy's arrays; where there are none, NumPy stands in for those that work on logits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmasos.errors import BadInputError
from llmasos.formats.floats import Array
from llmasos.formats.gguf import TENSOR_TYPES
from llmasos.kernels import PLAIN_LEVEL, TOP_MOST, Kernels, find_kernels

SOURCE_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.uint16): 30}  # ggml's numbers
LONGEST_BLOCK = 256
LOWEST_EXPONENT = -86.0  # the kernels take e to this power, and what is less, for nothing in a divergence

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Top:
    """The greatest logits of each row (rows, count), greatest first, and all of the row's log-sum-exp (rows)."""

    logits: Floats
    tokens: npt.NDArray[np.int32]
    log_sums: Doubles


def quantizes(type_id: int) -> bool:
    """Whether `quantize` makes that type, by its number in ggml."""
    kernels = find_kernels()
    return kernels is not None and _makes(kernels, type_id)


def quantize(
    type_id: int,
    rows: Array,
    target: npt.NDArray[np.uint8],
    importance: Floats | None = None,
    *,
    by_plain_code: bool = False,
) -> int:
    """Writes the rows (rows, width) as blocks to `target` (rows, bytes of a row), with the bytes that ggml gives them.

    Rows are contiguous and of float32, float16, or uint16 for BF16; `importance` (width) weighs the columns' errors.
    Returned is the number of blocks that the kernels left to plain code. All blocks are among them that hold NaN or
    infinity, or whose scale is none that float16 holds: after 0 nothing of that kind needs to be looked for. With
    `by_plain_code` all are left to it: it is what the kernels are to equal.
    """
    kernels = find_kernels()
    assert kernels is not None, "ask quantizes first"
    _, weights, size = TENSOR_TYPES[type_id]
    assert rows.flags.c_contiguous and target.flags.c_contiguous
    assert target.shape == (len(rows), rows.shape[1] // weights * size)
    if importance is not None:
        assert importance.dtype == np.float32 and importance.flags.c_contiguous and importance.shape == rows.shape[1:]
    places, shape, source_type = (rows.ctypes.data, target.ctypes.data), rows.shape, SOURCE_TYPES[rows.dtype]
    columns = None if importance is None else importance.ctypes.data
    used = PLAIN_LEVEL if by_plain_code else kernels.level
    done: int = kernels.library.llmasos_quantize(used, type_id, source_type, *places, *shape, columns)
    assert done >= 0, "no such type or width"
    return done


# Rows of logits. All functions read float32 rows (rows, width) in place if a row's logits lie side by side, and raise
# BadInputError if a row is no distribution: NaN or +infinity in it, or nothing but -infinity, which alone is a logit
# like others. The kernels' log-sum-exp is right to 1e-6 for usual logits, NumPy's to rounding in float64.


def log_sum_exp(rows: Array) -> Doubles:
    """The logarithm of the sum of the exponentials of each row's logits (rows)."""
    rows = _readable(rows)
    sums = np.empty(len(rows))
    if kernels := find_kernels():
        bad = kernels.library.llmasos_rows_log_sum_exp(kernels.level, *_place(rows), sums.ctypes.data)
        return _if_good(sums, bad)
    return _each(rows, lambda row, log_sum: log_sum)


def log_probabilities(rows: Array, tokens: npt.NDArray[Any]) -> Doubles:
    """The log-probability (rows) of a token in each row; `tokens` (rows) are theirs. Raises IndexError for no token."""
    rows = _readable(rows)
    tokens = np.asarray(tokens)
    if tokens.size and tokens.min() < 0:
        raise IndexError("a token is negative")
    chosen = rows[np.arange(len(rows)), tokens].astype(np.float64)
    result: Doubles = chosen - log_sum_exp(rows)
    return result


def top(rows: Array, count: int) -> Top:
    """The `count` greatest logits of each row, or all if it has fewer, with their tokens; of equal ones the first."""
    rows = _readable(rows)
    count = min(count, rows.shape[1])
    if count < 1:
        raise ValueError("at least one logit has to be asked for")
    found = Top(np.empty((len(rows), count), np.float32), np.empty((len(rows), count), np.int32), np.empty(len(rows)))
    kernels = find_kernels()
    if kernels and count <= TOP_MOST:
        places = (each.ctypes.data for each in (found.logits, found.tokens, found.log_sums))
        _if_good(found.log_sums, kernels.library.llmasos_rows_top(kernels.level, *_place(rows), count, *places))
        return found
    found.log_sums[:] = log_sum_exp(rows)
    for row, logits, tokens in zip(rows, found.logits, found.tokens, strict=True):
        least = np.partition(row, -count)[-count]
        reaching = np.flatnonzero(row >= least)
        tokens[:] = reaching[np.argsort(-row[reaching], kind="stable")][:count]
        logits[:] = row[tokens]
    return found


def entropy(rows: Array) -> Doubles:
    """The entropy in nats of each row's distribution (rows)."""
    rows = _readable(rows)
    entropies = np.empty(len(rows))
    if kernels := find_kernels():
        bad = kernels.library.llmasos_rows_entropy(kernels.level, *_place(rows), entropies.ctypes.data)
        return _if_good(entropies, bad)
    return _each(rows, _entropy)


def ranks(rows: Array, tokens: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The place (rows) of a token among a row's logits by their size, 1 for the greatest; equal ones share the best."""
    rows = _readable(rows)
    return np.array([1 + np.count_nonzero(row > row[token]) for row, token in zip(rows, tokens, strict=True)], np.int64)


def divergence(rows: Array, others: Array) -> Doubles:
    """Kullback and Leibler's D(row || other) in nats of each row's distribution and the other's (rows).

    Infinite where the other gives no probability to what the row does; never below 0.
    """
    rows, others = _readable(rows), _readable(others)
    if rows.shape != others.shape:
        raise ValueError(f"rows {rows.shape} and {others.shape} can't be compared")
    divergences = np.empty(len(rows))
    if kernels := find_kernels():
        count, width, strides = *rows.shape, [each.strides[0] // each.itemsize for each in (rows, others)]
        bad = kernels.library.llmasos_rows_divergence(
            kernels.level, rows.ctypes.data, others.ctypes.data, count, width, *strides, divergences.ctypes.data
        )
        return _if_good(divergences, bad)
    pairs = enumerate(zip(_wide(rows), _wide(others), strict=True))
    return np.array([_divergence(number, *pair) for number, pair in pairs], np.float64)


def _readable(rows: Array) -> Floats:
    """The rows as the kernels read them: the same memory unless it is no float32 or its logits lie apart."""
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"rows of logits are wanted, not an array {rows.shape}")
    if rows.flags.aligned and rows.strides[1] == rows.itemsize:
        return rows
    return np.require(rows, requirements=["C", "A"])


def _place(rows: Floats) -> tuple[int, int, int, int]:
    """Address, count, width, and logits from one row to the next."""
    return rows.ctypes.data, *rows.shape, rows.strides[0] // rows.itemsize


def _if_good(values: Doubles, bad_row: int) -> Doubles:
    if bad_row >= 0:
        raise _bad(bad_row)
    return values


def _bad(row: int) -> BadInputError:
    return BadInputError(
        f"row {row} of the logits is no distribution: it holds NaN or +infinity, or nothing but -infinity",
        hint="the weights may be damaged, or too large for the type that they are stored in",
    )


# NumPy's stand-ins, in float64 and one row at a time, so that little memory is needed.


def _each(rows: Floats, function: Callable[[Doubles, float], float]) -> Doubles:
    """The function of each row's logits and log-sum-exp."""
    return np.array([function(row, _log_sum(number, row)) for number, row in enumerate(_wide(rows))], np.float64)


def _wide(rows: Floats) -> Iterator[Doubles]:
    return (row.astype(np.float64) for row in rows)


def _log_sum(number: int, row: Doubles) -> float:
    with np.errstate(invalid="ignore"):
        greatest = row.max()
        total = float(greatest + np.log(np.exp(row - greatest).sum()))
    if not np.isfinite(total):
        raise _bad(number)
    return total


def _entropy(row: Doubles, log_sum: float) -> float:
    held = row[row > -np.inf] - log_sum
    return float(-(np.exp(held) * held).sum())


def _divergence(number: int, row: Doubles, other: Doubles) -> float:
    own, others = row - _log_sum(number, row), other - _log_sum(number, other)
    held = row - row.max() >= LOWEST_EXPONENT
    return max(0.0, float((np.exp(own[held]) * (own[held] - others[held])).sum()))


@functools.cache
def _makes(kernels: Kernels, type_id: int) -> bool:
    done: int = kernels.library.llmasos_quantize(kernels.level, type_id, 0, None, None, 0, LONGEST_BLOCK, None)
    return done == 0
