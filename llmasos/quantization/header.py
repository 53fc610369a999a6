"""The header of a GGUF file to be written: metadata and tensors' places, as bytes (ggml's `docs/gguf.md`, version 3).

Packed here, an array at a time: the gguf package's writer packs item by item, which took 1.9 s for a vocabulary of
262,144 tokens, longer than the weights of a small model take. Tests compare the two.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.formats.gguf import ARRAY, BOOL, MAGIC, SCALARS, STRING
from llmasos.quantization.types import TensorType

VERSION = 3
DEFAULT_ALIGNMENT = 32
LEAST_ALIGNMENT = 8
ALIGNMENT_KEY = "general.alignment"

UINT8, UINT32, INT32, FLOAT32, UINT64, INT64 = 0, 4, 5, 6, 10, 11
KINDS = {
    "UINT8": UINT8, "INT8": 1, "UINT16": 2, "INT16": 3, "UINT32": UINT32, "INT32": INT32, "FLOAT32": FLOAT32,
    "BOOL": BOOL, "UINT64": UINT64, "INT64": INT64, "FLOAT64": 12,
}  # fmt: skip
RANGES = {UINT32: (0, 2**32 - 1), INT32: (-(2**31), 2**31 - 1), UINT64: (0, 2**64 - 1), INT64: (-(2**63), 2**63 - 1)}


@dataclass(frozen=True, slots=True)
class Typed:
    """A number, or the numbers of an array, stored as `kind`, such as `UINT16`, where another one would be chosen."""

    value: int | float | Sequence[int] | Sequence[float]
    kind: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as it stands in a GGUF, its type before it."""

    content: bytes


# Integers are stored as UINT32, or INT32, UINT64, INT64 if they don't fit; in arrays as INT32 or INT64. Floats are
# FLOAT32; bytes are an array of UINT8.
Value = (
    str
    | bool
    | int
    | float
    | bytes
    | Sequence[str]
    | Sequence[bytes]
    | Sequence[int]
    | Sequence[float]
    | Typed
    | Encoded
)


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor as a header lists it. The shape's slowest-running dimension stands first."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int  # in bytes, from the start of the data section


def header_bytes(metadata: Mapping[str, Value], tensors: Sequence[PlacedTensor]) -> bytes:
    """Everything before the tensors' data, padding included; keys and tensors in the order given.

    Arrays without items are left out, since they would have no type.
    """
    entries = [_string(key) + _value(value) for key, value in metadata.items() if not _is_empty_array(value)]
    places = [_place(tensor) for tensor in tensors]
    header = b"".join((struct.pack("<4sIQQ", MAGIC, VERSION, len(places), len(entries)), *entries, *places))
    return header + bytes(-len(header) % alignment_of(metadata))


def alignment_of(metadata: Mapping[str, Value]) -> int:
    """In bytes: every tensor's data begins at a multiple of it."""
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < LEAST_ALIGNMENT or alignment & (alignment - 1):
        raise ValueError(f"{ALIGNMENT_KEY} can't be {alignment!r}")
    return alignment


def _place(tensor: PlacedTensor) -> bytes:
    dimensions = len(tensor.shape)
    numbers = struct.pack(f"<I{dimensions}QIQ", dimensions, *tensor.shape[::-1], tensor.type.type_id, tensor.offset)
    return _string(tensor.name) + numbers


def _is_empty_array(value: Value) -> bool:
    if isinstance(value, Encoded):
        return False
    items = value.value if isinstance(value, Typed) else value
    return not isinstance(items, (str, int, float)) and len(items) == 0


def _value(value: Value) -> bytes:
    if isinstance(value, Encoded):
        return value.content
    kind = KINDS[value.kind] if isinstance(value, Typed) else None
    plain: Any = value.value if isinstance(value, Typed) else value
    if isinstance(plain, str):
        return struct.pack("<I", STRING) + _string(plain)
    if isinstance(plain, (int, float)):
        kind = _kind(plain) if kind is None else kind
        return struct.pack("<I", kind) + struct.pack(SCALARS[kind], plain)
    kind = _item_kind(plain) if kind is None else kind
    return struct.pack("<IIQ", ARRAY, kind, len(plain)) + _items(plain, kind)


def _kind(value: bool | int | float) -> int:
    if isinstance(value, bool):
        return BOOL
    return _first_that_holds((value,), (UINT32, INT32, UINT64, INT64)) if isinstance(value, int) else FLOAT32


def _item_kind(items: Sequence[Any]) -> int:
    if isinstance(items, bytes):
        return UINT8
    kinds = set(map(type, items))
    if kinds <= {str, bytes}:
        return STRING
    if kinds == {bool}:
        return BOOL
    if kinds == {int}:
        return _first_that_holds((min(items), max(items)), (INT32, INT64))
    if kinds <= {int, float}:
        return FLOAT32
    raise TypeError(f"an array can't hold {', '.join(sorted(each.__name__ for each in kinds))}")


def _first_that_holds(values: Sequence[int], kinds: Sequence[int]) -> int:
    for kind in kinds:
        least, most = RANGES[kind]
        if all(least <= value <= most for value in values):
            return kind
    raise ValueError(f"{max(values, key=abs)} has more than 64 bits")


def _items(items: Sequence[Any], kind: int) -> bytes:
    if kind == STRING:
        return b"".join(map(_string, items))
    return struct.pack(f"<{len(items)}{SCALARS[kind][1]}", *items)


def _string(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return len(content).to_bytes(8, "little") + content
