"""Rows of weights in one tensor type as rows in another, or as they are; not a number is believed unseen."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from llmasos import native
from llmasos.errors import BadInputError
from llmasos.formats.floats import Array
from llmasos.quantization.decode import FLOATS, Bytes, can_decode, decode
from llmasos.quantization.encode import encode
from llmasos.quantization.types import FLOAT_TYPES, TYPES

EXPONENT_BITS = {"F16": 0x7C00, "BF16": 0x7F80}  # all of them are set in NaN and in infinities, and in nothing else


def reencode(
    rows: Bytes, stored_as: str, wanted: str, name: str = "", importance: native.Floats | None = None
) -> Bytes:
    """Rows (rows, bytes of a row) of the type `stored_as` as rows of the type `wanted`; the same bytes if it is that.

    `name` is the tensor's, for errors; `importance` as for `encode`. Raises BadInputError for NaN and infinities, as
    llama-quantize does, and for values beyond the range of the wanted type. Safe to call from several threads, and lets
    others run meanwhile.
    """
    if stored_as in FLOATS:
        values = decode(rows, stored_as)
        if wanted in FLOAT_TYPES or wanted == stored_as:  # else `encode` looks at them
            _require(_are_finite(values, stored_as), stored_as, name)
        return rows if wanted == stored_as else encode(values, wanted, name, importance)
    if can_decode(stored_as):
        _require(_are_valid(rows, stored_as), stored_as, name)
    return rows if wanted == stored_as else encode(decode(rows, stored_as), wanted, name, importance)


def _require(is_sound: bool, stored_as: str, name: str) -> None:
    if not is_sound:
        raise BadInputError(
            f"the tensor `{name}` ({stored_as}) holds NaN or infinity and can't be quantized",
            hint="fetch the model again; it may have been damaged",
        )


def _are_finite(values: Array, tensor_type: str) -> bool:
    if bits := EXPONENT_BITS.get(tensor_type):
        return not ((values.view(np.uint16) & bits) == bits).any()
    return bool(np.isfinite(values).all())


def _are_valid(rows: Bytes, tensor_type: str) -> bool:
    """Whether no block of a quantized type has a scale that is no number."""
    from llmasos.engine.bindings import shared  # 0.1 s that other types don't need

    validate: Any = shared.ggml_validate_row_data
    validate.argtypes, validate.restype = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_bool
    contiguous = np.ascontiguousarray(rows)
    return bool(validate(TYPES[tensor_type].type_id, contiguous.ctypes.data, contiguous.nbytes))
