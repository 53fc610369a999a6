"""Rows of weights as the bytes of a tensor type: the floating-point types by NumPy, the others by quantizers.

ggml's quantizers say what the bytes are. Kernels of our own, which give the same bytes in a fraction of the time, are
used where there are any, after each has been compared with ggml's once.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmasos import native
from llmasos.errors import BadInputError, UnsuitableTypeError
from llmasos.formats.floats import Array, as_bfloat16, as_float16, as_float32
from llmasos.quantization.types import TYPES, TensorType

Bytes = npt.NDArray[np.uint8]

FLOATS: Mapping[str, Callable[[Array], Array]] = {"F32": as_float32, "F16": as_float16, "BF16": as_bfloat16}

# What `ggml_quantize_chunk` can make without an importance matrix; it ends the process on any other type.
QUANTIZED = frozenset((
    "Q1_0", "Q2_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_M", "IQ2_S",
    "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4",
))  # fmt: skip


def encode(rows: Array, tensor_type: str, name: str = "") -> Bytes:
    """The rows of an array (rows, width), which holds values as `formats.floats` says, as (rows, bytes of a row).

    Where the array has the type already, what comes back is a view of it. `name` is the tensor's, for errors. Raises
    BadInputError for NaN and infinities in a quantized type, whose blocks would be noise, and for values beyond the
    range of any type.
    Safe to call from several threads, and lets others run meanwhile.
    """
    contiguous = np.ascontiguousarray(rows)
    if contiguous.dtype == np.float64:
        contiguous = _kept(contiguous, as_float32(contiguous), tensor_type, name)
    if tensor_type in FLOATS:
        return _kept(contiguous, FLOATS[tensor_type](contiguous), tensor_type, name).view(np.uint8)
    if tensor_type not in QUANTIZED:
        raise ValueError(f"weights can't be made {tensor_type}")
    if _has_kernel(tensor_type):
        return _quantize_by_kernel(contiguous, TYPES[tensor_type], name)
    values = as_float32(contiguous)
    _require_finite(values, tensor_type, name)
    encoded = _quantize_by_ggml(values, TYPES[tensor_type])
    _require_valid(encoded, TYPES[tensor_type], name)
    return encoded


def _kept(rows: Array, encoded: Array, tensor_type: str, name: str) -> Array:
    """What the rows became, if no number became infinite; among the bits of BF16 none does but from float64."""
    if encoded is not rows and encoded.dtype.kind == "f" and (infinite := np.isinf(encoded)).any():
        values = rows if rows.dtype == np.float64 else as_float32(rows)
        if np.isfinite(values[infinite]).any():
            raise _too_large(tensor_type, name)
    return encoded


def _too_large(tensor_type: str, name: str) -> UnsuitableTypeError:
    hint = None if tensor_type in ("F32", "BF16") else "choose BF16, which has the range"
    return UnsuitableTypeError(f"the tensor `{name}` holds values too large for {tensor_type}", hint=hint)


def _require_finite(values: Array, tensor_type: str, name: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()  # one that is not finite shows in the sum, and this reads everything but once
    if not np.isfinite(total) and not np.isfinite(values).all():
        raise BadInputError(
            f"the tensor `{name}` holds NaN or infinity and can't be made {tensor_type}",
            hint="fetch the checkpoint again, or choose BF16, which keeps such values",
        )


def _require_valid(encoded: Bytes, tensor_type: TensorType, name: str) -> None:
    if not _ggml().validate_row_data(tensor_type.type_id, encoded.ctypes.data, encoded.nbytes):
        raise _too_large(tensor_type.name, name)


def _quantize_by_kernel(rows: Array, tensor_type: TensorType, name: str) -> Bytes:
    """Only blocks that the kernel left to plain code can hold what has to be refused."""
    encoded = _room(rows, tensor_type)
    if native.quantize(tensor_type.type_id, rows, encoded):
        _require_finite(as_float32(rows), tensor_type.name, name)
        _require_valid(encoded, tensor_type, name)
    return encoded


def _quantize_by_ggml(values: Array, tensor_type: TensorType) -> Bytes:
    encoded = _room(values, tensor_type)
    _ggml().quantize_chunk(tensor_type.type_id, values.ctypes.data, encoded.ctypes.data, 0, *values.shape, None)
    return encoded


def _room(rows: Array, tensor_type: TensorType) -> Bytes:
    return np.empty((len(rows), tensor_type.row_bytes(rows.shape[1])), np.uint8)


def _has_kernel(tensor_type: str) -> bool:
    """Whether a kernel makes the type, and, on the processors where ggml's bytes are the same everywhere, as ggml does.

    On others ggml may fuse operations, and give bytes of its own; the kernels keep to those of x86-64.
    """
    if not native.quantizes(TYPES[tensor_type].type_id):
        return False
    return platform.machine().lower() not in ("x86_64", "amd64") or _kernel_agrees(tensor_type, native.level())


@functools.cache
def _kernel_agrees(tensor_type: str, level: int) -> bool:
    """Compares a kernel with the installed ggml; a few milliseconds, once. A difference is told in the engine's log."""
    samples, found = _samples(), TYPES[tensor_type]
    encoded = _room(samples, found)
    doubtful = native.quantize(found.type_id, samples, encoded)
    if doubtful == 0 and np.array_equal(encoded, _quantize_by_ggml(samples, found)):
        return True
    from llmasos.engine.bindings import log

    log.tell(f"the {native.LEVELS[level]} kernel for {tensor_type} differs from ggml, which is used instead")
    return False


def _samples() -> Array:
    """Weights (16, 512) such as models have, of several sizes, and some on a grid, where roundings meet halves."""
    rows = np.random.default_rng(1).standard_normal((16, 512), np.float32)
    rows *= np.float32(2) ** -np.arange(16, dtype=np.float32)[:, None]
    rows[::4] = np.round(rows[::4] * 64) / 64
    return rows


@dataclass(frozen=True, slots=True)
class _Ggml:
    """Functions of ggml's library. The first fills its tables under a lock of its own; calls free the interpreter."""

    quantize_chunk: Any
    validate_row_data: Any


@functools.cache
def _ggml() -> _Ggml:
    from llmasos.engine.bindings import shared  # 0.1 s that other types don't need

    quantize, validate = shared.ggml_quantize_chunk, shared.ggml_validate_row_data
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    quantize.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    quantize.restype = ctypes.c_size_t
    validate.argtypes, validate.restype = [ctypes.c_int, pointer, ctypes.c_size_t], ctypes.c_bool
    return _Ggml(quantize, validate)
