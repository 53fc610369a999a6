"""The type of every tensor of a conversion: what llama.cpp's own converter gives it, and its quantizer after that."""

from __future__ import annotations

from collections.abc import Iterable

from llmasos.conversion.rules import Shape
from llmasos.quantization.choices import Choices
from llmasos.quantization.mixes import refuse_needy
from llmasos.quantization.types import find_mix, main_type

AUTO = "auto"  # the 16-bit type of the checkpoint

# Small tensors that llama.cpp computes with in float32, whatever the rest is in.
ALWAYS_F32 = ("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "position_embd.weight", "token_types.weight")


def find_type(name: str) -> str:
    """`auto` or a mix, whatever its case.

    Raises BadInputError, with names like it, for one that there is not, and for one that needs an importance matrix.
    """
    if name.lower() == AUTO:
        return AUTO
    mix = find_mix(name)
    refuse_needy(mix)
    return mix


def as_choices(wanted: str | Choices) -> Choices:
    """Choices as they are, or those that a type alone stands for. Raises BadInputError as `find_type` does."""
    return wanted if isinstance(wanted, Choices) else Choices(find_type(wanted))


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


def estimated_size(weights_bytes: int, dtype: object, wanted: str) -> int:
    """About how many bytes the GGUF of a checkpoint will take, from `dtype` of its config.json; rather too few."""
    source_bits = 32 if dtype == "float32" else 16
    if wanted == AUTO:
        return weights_bytes * 16 // source_bits
    kind = main_type(wanted)
    return weights_bytes * kind.block_bytes * 8 // (kind.block_weights * source_bits)
