"""The quantizers of ggml and of the kernels, called with bare pointers: what one is compared with the other by."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from llmasos import kernels, native
from llmasos.engine.bindings import shared
from llmasos.formats.floats import Array
from llmasos.quantization.types import TYPES

KERNEL_TYPES = ("Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
LEVELS = [0, *kernels.available_levels()]
needs_kernels = pytest.mark.skipif(not kernels.available_levels(), reason="the kernels are not compiled here")

Blocks = npt.NDArray[np.uint8]

_pointer, _count = ctypes.c_void_p, ctypes.c_int64
_ggml = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_int, _pointer, _pointer, _count, _count, _count, _pointer)(
    ("ggml_quantize_chunk", shared)
)


@functools.cache
def _kernels() -> ctypes.CDLL:
    library = ctypes.CDLL(str(kernels.LIBRARY))
    library.llmasos_quantize.argtypes = [*[ctypes.c_int] * 3, _pointer, _pointer, _count, _count, _pointer]
    library.llmasos_quantize.restype = _count
    return library


def _room(type_name: str, rows: Array) -> Blocks:
    found = TYPES[type_name]
    return np.full((rows.size // found.block_weights, found.block_bytes), 0xAA, np.uint8)


def _address(array: Array | None) -> int | None:
    return None if array is None else array.ctypes.data


def by_ggml(type_name: str, rows: Array, importance: Array | None = None) -> Blocks:
    """The blocks (blocks, bytes of a block) of contiguous float32 rows."""
    blocks, type_id = _room(type_name, rows), TYPES[type_name].type_id
    assert rows.dtype == np.float32 and rows.flags.c_contiguous
    _ggml(type_id, rows.ctypes.data, blocks.ctypes.data, 0, *rows.shape, _address(importance))
    return blocks


def by_kernels(
    level: int, type_name: str, rows: Array, importance: Array | None = None, blocks: Blocks | None = None
) -> tuple[Blocks, int]:
    """The same by the kernels of a level, from rows of any type, and how many blocks were left to plain C."""
    blocks = _room(type_name, rows) if blocks is None else blocks
    left = call(level, TYPES[type_name].type_id, native.SOURCE_TYPES[rows.dtype], rows, blocks, *rows.shape, importance)
    return blocks, left


def call(
    level: int, type_id: int, source_type: int, source: Array, target: Blocks, rows: int, width: int,
    importance: Array | None = None,
) -> int:  # fmt: skip
    """The library's function as it is."""
    left: int = _kernels().llmasos_quantize(
        level, type_id, source_type, source.ctypes.data, target.ctypes.data, rows, width, _address(importance)
    )
    return left


def spoiled(
    quantize: Callable[..., int], condition: Callable[[Array | None], bool] = lambda importance: True
) -> Callable[..., int]:
    """`native.quantize` with a wrong last byte where the condition holds for the importance; plain code stays right."""

    def quantize_wrongly(
        type_id: int, rows: Array, target: Blocks, importance: Array | None = None, *, by_plain_code: bool = False
    ) -> int:
        left = quantize(type_id, rows, target, importance, by_plain_code=by_plain_code)
        if not by_plain_code and condition(importance):
            target[-1, -1] ^= 1
        return left

    return quantize_wrongly
