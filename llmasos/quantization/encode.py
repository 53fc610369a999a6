"""Rows of weights as the bytes of a tensor type: the floating-point types by NumPy, the others by quantizers.

ggml's quantizers say what the bytes are. Kernels of our own, which give the same bytes in a fraction of the time, are
used where there are any, after each has been compared with ggml's once.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import platform
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmasos import kernels, native
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
ONLY_WITH_IMPORTANCE = ("IQ1_S", "IQ2_XXS", "IQ2_XS")

_comparing = threading.Lock()


def encode(rows: Array, tensor_type: str, name: str = "", importance: native.Floats | None = None) -> Bytes:
    """The rows of an array (rows, width), which holds values as `formats.floats` says, as (rows, bytes of a row).

    Where the array has the type already, what comes back is a view of it. `name` is the tensor's, for errors.
    `importance` (width), none of it negative, says what errors in each column weigh. Raises BadInputError for NaN and
    infinities in a quantized type, whose blocks would be noise, and for values beyond the range of any type.
    Safe to call from several threads, and lets others run meanwhile.
    """
    contiguous = np.ascontiguousarray(rows)
    if contiguous.dtype == np.float64:
        contiguous = _kept(contiguous, as_float32(contiguous), tensor_type, name)
    if tensor_type in FLOATS:
        return _kept(contiguous, FLOATS[tensor_type](contiguous), tensor_type, name).view(np.uint8)
    if tensor_type not in QUANTIZED and (importance is None or tensor_type not in ONLY_WITH_IMPORTANCE):
        raise ValueError(f"weights can't be made {tensor_type}")
    if importance is not None:
        importance = _weighing(importance, contiguous)
    if _has_kernel(tensor_type):
        return _quantize_by_kernel(contiguous, TYPES[tensor_type], name, importance)
    values = as_float32(contiguous)
    _require_finite(values, tensor_type, name)
    encoded = _quantize_by_ggml(values, TYPES[tensor_type], importance)
    _require_valid(encoded, TYPES[tensor_type], name)
    return encoded


def _weighing(importance: native.Floats, rows: Array) -> native.Floats:
    if importance.shape != rows.shape[1:]:
        raise ValueError(f"{importance.size} weights of columns don't fit rows of {rows.shape[1]}")
    return np.ascontiguousarray(importance, np.float32)


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


def _quantize_by_kernel(rows: Array, tensor_type: TensorType, name: str, importance: native.Floats | None) -> Bytes:
    """Only blocks that the kernel left to plain code can hold what has to be refused."""
    encoded = _room(rows, tensor_type)
    if native.quantize(tensor_type.type_id, rows, encoded, importance):
        _require_finite(as_float32(rows), tensor_type.name, name)
        _require_valid(encoded, tensor_type, name)
    return encoded


def _quantize_by_ggml(values: Array, tensor_type: TensorType, importance: native.Floats | None = None) -> Bytes:
    encoded, weights = _room(values, tensor_type), None if importance is None else importance.ctypes.data
    _ggml().quantize_chunk(tensor_type.type_id, values.ctypes.data, encoded.ctypes.data, 0, *values.shape, weights)
    return encoded


def _quantize_by_plain_code(values: Array, tensor_type: TensorType, importance: native.Floats | None = None) -> Bytes:
    encoded = _room(values, tensor_type)
    native.quantize(tensor_type.type_id, values, encoded, importance, by_plain_code=True)
    return encoded


def _room(rows: Array, tensor_type: TensorType) -> Bytes:
    return np.empty((len(rows), tensor_type.row_bytes(rows.shape[1])), np.uint8)


def _has_kernel(tensor_type: str) -> bool:
    with _comparing:  # else each of the threads that begin together would compare, and tell of a difference
        return native.quantizes(TYPES[tensor_type].type_id) and _kernel_agrees(tensor_type, kernels.level())


@functools.cache
def _kernel_agrees(tensor_type: str, level: int) -> bool:
    """Compares a kernel with what defines its bytes; some milliseconds, once. A difference is told in the engine's log.

    That is the installed ggml where it computes as it is written, on x86-64. On other processors it may fuse
    operations and give bytes of its own; there the kernels' plain code, compiled without that, says what x86-64's are.
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    judge, judging = (_quantize_by_ggml, "ggml") if is_x86 else (_quantize_by_plain_code, "the plain code")
    samples, found = _samples(), TYPES[tensor_type]
    encoded = _room(samples, found)
    for source, importance in itertools.product((samples, as_float16(samples)), (None, _sample_importance())):
        doubtful = native.quantize(found.type_id, source, encoded, importance)
        if doubtful or not np.array_equal(encoded, judge(as_float32(source), found, importance)):
            break
    else:
        return True
    from llmasos.engine.bindings import log

    log.tell(f"the {kernels.LEVELS[level]} kernel for {tensor_type} differs from {judging}; ggml is used instead")
    return False


def _samples() -> Array:
    """Weights (16, 512) such as models have, of several sizes, and some on a grid, where roundings meet halves."""
    rows = np.random.default_rng(1).standard_normal((16, 512), np.float32)
    rows *= np.float32(2) ** -np.arange(16, dtype=np.float32)[:, None]
    rows[::4] = np.round(rows[::4] * 64) / 64
    return rows


def _sample_importance() -> native.Floats:
    return np.random.default_rng(2).uniform(0, 2, 512).astype(np.float32)


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
