"""The type of every tensor of a conversion: what llama.cpp's own converter gives it, and its quantizer after that."""

from __future__ import annotations

from collections.abc import Iterable

from llmasos.conversion.rules import Shape
from llmasos.quantization.types import find_mix

AUTO = "auto"  # the 16-bit type of the checkpoint

# Small tensors that llama.cpp computes with in float32, whatever the rest is in.
ALWAYS_F32 = ("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "position_embd.weight", "token_types.weight")


def find_type(name: str) -> str:
    """`auto` or a mix, whatever its case. Raises BadInputError, with names like it, for one that there is not."""
    return AUTO if name.lower() == AUTO else find_mix(name)


def resolve_auto(tensors: Iterable[tuple[str, Shape]]) -> str:
    """BF16 for a checkpoint in bfloat16, F16 for any other, by the type and the shape of its tensors.

    The first matrix decides: some configurations state a type that the weights don't have.
    """
    first = next((dtype for dtype, shape in tensors if len(shape) >= 2), "F32")
    return "BF16" if first == "BF16" else "F16"


def plain_type(name: str, shape: Shape, wanted: str) -> str:
    """F32 for vectors, norms and what else has to be exact; the wanted one of the plain types for all others."""
    is_matrix = len(shape) >= 2 and name.endswith(".weight")
    return "F32" if not is_matrix or name.endswith(("_norm.weight", *ALWAYS_F32)) else wanted
