"""The floating-point types of checkpoints and GGUF files as NumPy arrays, and their conversions.

NumPy has no bfloat16: throughout, an array of `uint16` holds bfloat16 values by their bits. F16, F32 and F64 are
NumPy's own types. So an array says by its dtype alone what it holds, and moving values about never changes a bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BFLOAT16 = np.dtype(np.uint16)


def type_name(array: Array) -> str:
    """`F32`, `F16`, `BF16` or `F64`: what the array holds. Raises KeyError for any other type."""
    return {"float32": "F32", "float16": "F16", "uint16": "BF16", "float64": "F64"}[array.dtype.name]


def as_float32(array: Array) -> npt.NDArray[np.float32]:
    """The values as float32: exact for BF16 and F16; the array itself if it is float32 already.

    Float64 is rounded, half to even; values beyond float32's range become infinite.
    """
    if array.dtype == BFLOAT16:
        wide = array.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def as_bfloat16(array: Array) -> npt.NDArray[np.uint16]:
    """The values rounded to bfloat16, half to even, NaN kept and made quiet, as ggml does it; BF16 stays as it is."""
    if array.dtype == BFLOAT16:
        return array
    bits = np.ascontiguousarray(as_float32(array)).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    if is_nan.any():
        rounded[is_nan] = (bits[is_nan] >> 16).astype(np.uint16) | 64
    return rounded.reshape(array.shape)


def as_float16(array: Array) -> npt.NDArray[np.float16]:
    """The values rounded to float16, half to even; those beyond its range become infinite."""
    if array.dtype == np.float16:
        return array
    with np.errstate(over="ignore"):
        return as_float32(array).astype(np.float16)
