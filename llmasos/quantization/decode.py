"""The bytes of a tensor type as weights again: the floating-point types by NumPy, the others by ggml's dequantizers."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from llmasos.formats.floats import Array
from llmasos.quantization.types import TYPES

Bytes = npt.NDArray[np.uint8]

FLOATS: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}


class _TypeTraits(ctypes.Structure):
    """ggml.h's `ggml_type_traits`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("block_weights", ctypes.c_int64),
        ("interleaved_block_weights", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
        ("from_float", ctypes.c_void_p),
    )


def can_decode(tensor_type: str) -> bool:
    """Whether tensors of that type hold weights that `decode` can give."""
    return tensor_type in FLOATS or _dequantizer(tensor_type) is not None


def decode(rows: Bytes, tensor_type: str) -> Array:
    """Rows of encoded weights (rows, bytes of a row) as an array (rows, width).

    The floating-point types stay what they are, a view as `formats.floats` has it; quantized ones become float32, bit
    for bit what llama.cpp computes with. Raises ValueError for a type that `can_decode` denies. Safe to call from
    several threads, and lets others run meanwhile.
    """
    contiguous = np.ascontiguousarray(rows)
    if tensor_type in FLOATS:
        return contiguous.view(FLOATS[tensor_type])
    dequantize = _dequantizer(tensor_type)
    if dequantize is None:
        raise ValueError(f"{tensor_type} can't be made weights")
    found = TYPES[tensor_type]
    weights = np.empty((len(rows), rows.shape[1] // found.block_bytes * found.block_weights), np.float32)
    dequantize(contiguous.ctypes.data, weights.ctypes.data, weights.size)
    return weights


@functools.cache
def _dequantizer(tensor_type: str) -> Callable[[int, int, int], None] | None:
    """ggml's function (address of the blocks, address of the weights, count of weights); None if it has none."""
    from llmasos.engine.bindings import shared  # 0.1 s that other types don't need

    traits_of = shared.ggml_get_type_traits
    traits_of.argtypes, traits_of.restype = [ctypes.c_int], ctypes.POINTER(_TypeTraits)
    traits = traits_of(TYPES[tensor_type].type_id).contents
    if not traits.is_quantized or not traits.to_float:
        return None
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return prototype(traits.to_float)
