"""A tensor's place in a file, whatever the file's format, and the tensor as a NumPy view of that place.

`safetensors` and `torch_archive` find the places; what is in them is read here. Every tensor is mapped by itself, for
as long as its array lives: a view holds one file descriptor, copies nothing, and its pages leave the process with it.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.floats import Array

# Types that can be read, as NumPy holds them: BF16 and the two F8 types by their bits.
READABLE: Mapping[str, np.dtype[np.generic]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# The bits of one element. Types beyond the readable ones may stand in a file as long as nobody reads them; U16 is one
# of them because our 16-bit integers hold bfloat16.
BITS: Mapping[str, int] = {
    **{name: 8 * dtype.itemsize for name, dtype in READABLE.items()},
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "U32": 32, "U64": 64, "C64": 64,
}  # fmt: skip

MOST_DIMENSIONS = 32  # NumPy's limit before version 2
MOST_BYTES = 2**62  # of one tensor, were it without empty dimensions


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a checkpoint.

    `dtype` is the type of its values as they are read, `stored_as` that of the bytes in the file. The two differ only
    for weights that are dequantized on their way in.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]  # the slowest-running dimension first, as in PyTorch
    path: Path
    offset: int  # in bytes, from the start of the file, to the first element
    stored_as: str
    strides: tuple[int, ...] | None = None  # in elements; None if the elements lie in their order, without holes

    @property
    def weight_count(self) -> int:
        return math.prod(self.shape)


def is_possible_shape(shape: tuple[int, ...], dtype: str) -> bool:
    """True if NumPy can hold such an array; even an empty one has limits."""
    byte_count = math.prod(max(dimension, 1) for dimension in shape) * BITS[dtype] // 8
    return len(shape) <= MOST_DIMENSIONS and byte_count <= MOST_BYTES


def map_tensor(tensor: StoredTensor) -> Array:
    """The tensor's bytes as a read-only view of its file, of type `stored_as`.

    The view may be unaligned, and have the file's strides. Raises BadInputError if the type can't be read or the file
    is gone, CorruptModelError if it has become shorter.
    """
    if tensor.stored_as not in READABLE:
        raise BadInputError(
            f"`{tensor.name}` in {tensor.path} has the type {tensor.stored_as}, which can't be converted",
            hint="name the unquantized model that it was made from",
        )
    dtype = READABLE[tensor.stored_as]
    if tensor.weight_count == 0:
        empty = np.empty(tensor.shape, dtype)
        empty.flags.writeable = False
        return empty
    strides = strides_of(tensor.shape) if tensor.strides is None else tensor.strides
    byte_count = extent(tensor.shape, strides) * dtype.itemsize
    start = tensor.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    pages = _map_pages(tensor.path, start, tensor.offset - start + byte_count)
    byte_strides = tuple(stride * dtype.itemsize for stride in strides)
    return np.ndarray(tensor.shape, dtype, pages, tensor.offset - start, byte_strides)


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor whose elements lie in their order."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """From the first element to the end of the last one, in elements; for a shape without empty dimensions."""
    return 1 + sum((dimension - 1) * stride for dimension, stride in zip(shape, strides, strict=True))


def _map_pages(path: Path, start: int, byte_count: int) -> mmap.mmap:
    """Part of a file; `start` is a multiple of the granularity. Closed with the last array that looks at it."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), byte_count, access=mmap.ACCESS_READ, offset=start)
    except ValueError as error:
        raise CorruptModelError(f"{path} has become shorter while it was used") from error
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
