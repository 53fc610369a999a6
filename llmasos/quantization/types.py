"""Names of tensor types and of mixes, as people write them, and what they stand for.

A tensor type says how one tensor is stored (Q4_K); a mix is a recipe of types over a whole model (Q4_K_M). The tables
of both are those of `formats.gguf`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from llmasos.errors import BadInputError
from llmasos.formats.gguf import FILE_TYPES, TENSOR_TYPES

FLOAT_TYPES = ("F32", "F16", "BF16")
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # llama-quantize's
WITHOUT_RECIPE = ("NVFP4",)  # llama.cpp reads such files and can't make them

# The type that most tensors of a mix get, where the mix is not named after it.
MAIN_TYPES = {
    "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K", "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S",
    "MXFP4_MOE": "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorType:
    """How ggml stores a tensor: `block_weights` weights of a row at a time in `block_bytes` bytes."""

    name: str
    type_id: int
    block_weights: int
    block_bytes: int

    def divides(self, width: int) -> bool:
        """True if rows of `width` weights are whole blocks."""
        return width % self.block_weights == 0

    def row_bytes(self, width: int) -> int:
        return width // self.block_weights * self.block_bytes


TYPES: Mapping[str, TensorType] = {
    name: TensorType(name, type_id, weights, size) for type_id, (name, weights, size) in TENSOR_TYPES.items()
}
MIXES = {name: number for number, name in FILE_TYPES.items() if name not in WITHOUT_RECIPE}


def find_mix(name: str) -> str:
    """A mix by its name in capitals, small letters or with hyphens. Raises BadInputError, with names like it."""
    wanted = name.upper().replace("-", "_")
    wanted = ALIASES.get(wanted, wanted)
    if wanted in MIXES:
        return wanted
    near = difflib.get_close_matches(wanted, MIXES, n=3, cutoff=0.5)
    raise BadInputError(
        f"there is no type `{name}`",
        hint=f"did you mean {' or '.join(f'`{each}`' for each in near)}?" if near else f"types: {', '.join(MIXES)}",
    )


def file_type(mix: str) -> int:
    """The number of a mix that `general.file_type` holds."""
    return MIXES[mix]


def main_type(mix: str) -> TensorType:
    """The type that a mix gives to tensors it has no rule for."""
    return TYPES[MAIN_TYPES.get(mix, mix)]
