"""What a person chooses of a quantization: a mix, and tensors that are to have another type than the mix gives them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmasos.errors import BadInputError
from llmasos.quantization.encode import ONLY_WITH_IMPORTANCE, QUANTIZED
from llmasos.quantization.types import FLOAT_TYPES, find_mix

TENSOR_TYPES = (*FLOAT_TYPES, *sorted({*QUANTIZED, *ONLY_WITH_IMPORTANCE}))


@dataclass(frozen=True, slots=True)
class Choices:
    """`tensor_types` are pairs of a regular expression and the type of the tensors in whose names it is found.

    The first expression that is found counts. `output_type` and `embedding_type` go before all else; `pure` leaves
    every other tensor the mix's main type. `allow_requantize` lets weights that are quantized already be quantized
    again. `pruned_layers`, from 0, are left out of the model. Where there are `types`, they are those of the tensors by
    name, all others stay as they are, and the mix only says what the file is called; `title` is its name then.
    """

    mix: str
    tensor_types: tuple[tuple[str, str], ...] = ()
    output_type: str | None = None
    embedding_type: str | None = None
    pure: bool = False
    allow_requantize: bool = False
    pruned_layers: tuple[int, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    title: str = ""

    @property
    def tag(self) -> str:
        """Of the name of a model that is made so."""
        return self.title or self.mix.lower()

    def type_for(self, tensor_name: str) -> str | None:
        """The type that `tensor_types` gives a tensor, if they give it one."""
        return next((chosen for pattern, chosen in self.tensor_types if re.search(pattern, tensor_name)), None)


def make_choices(
    type_name: str,
    *,
    tensor_types: Iterable[tuple[str, str]] = (),
    output_type: str | None = None,
    embedding_type: str | None = None,
    pure: bool = False,
    allow_requantize: bool = False,
    pruned_layers: Iterable[int] = (),
) -> Choices:
    """Choices, with types as people write them. Raises BadInputError for what is no type and no regular expression."""
    mix = find_mix(type_name)
    named = tuple((_checked(pattern), find_tensor_type(name)) for pattern, name in tensor_types)
    if named and mix in FLOAT_TYPES:
        raise BadInputError(
            f"single tensors can't be given a type in {mix}",
            hint="choose a quantized type for the model, and F16 or BF16 for tensors that are to keep their values",
        )
    return Choices(
        mix,
        named,
        find_tensor_type(output_type) if output_type else None,
        find_tensor_type(embedding_type) if embedding_type else None,
        pure,
        allow_requantize,
        tuple(sorted(set(pruned_layers))),
    )


def find_tensor_type(name: str) -> str:
    """The type of a single tensor by its name, whatever its case. Raises BadInputError, with names like it."""
    wanted = name.upper().replace("-", "_")
    if wanted in TENSOR_TYPES:
        return wanted
    near = difflib.get_close_matches(wanted, TENSOR_TYPES, n=3, cutoff=0.5)
    raise BadInputError(
        f"a tensor can't have the type `{name}`",
        hint=f"did you mean {' or '.join(f'`{each}`' for each in near)}?"
        if near
        else f"types: {', '.join(TENSOR_TYPES)}",
    )


def _checked(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInputError(
            f"`{pattern}` is no regular expression: {error}", hint=r"such as `attn_v` or `blk\.[0-3]\.ffn_down`"
        ) from error
    return pattern
