"""GGUF files with control vectors: a direction for each layer, which is added to what the layer gives.

The form is llama.cpp's: a tensor `direction.N` of float32 for the layer N, layers counted from 0. The first layer has
none: llama.cpp adds nothing to what it gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.gguf import GgufHeader

if TYPE_CHECKING:
    from llmasos.formats.floats import Array

ARCHITECTURE = "controlvector"
DIRECTION = re.compile(r"direction\.(\d{1,6})")
FIRST_LAYER = 1


def is_control_vector(header: GgufHeader) -> bool:
    return header.architecture == ARCHITECTURE


def require_control_vector(header: GgufHeader, name: str) -> None:
    """Raises BadInputError for a file that holds no control vector, CorruptModelError for a broken one."""
    if not is_control_vector(header):
        raise BadInputError(f"{name} is no control vector: it says that it is `{header.architecture}`")
    if not header.tensors:
        raise CorruptModelError(f"{name} is broken: it holds no directions")
    for tensor in header.tensors:
        found = DIRECTION.fullmatch(tensor.name)
        if not found or int(found[1]) < FIRST_LAYER or tensor.type_name != "F32" or len(_lengths(tensor.shape)) > 1:
            raise CorruptModelError(f"{name} is broken: `{tensor.name}` is no direction of float32")
    if len({_lengths(tensor.shape) for tensor in header.tensors}) > 1:
        raise CorruptModelError(f"{name} is broken: its directions have several lengths")


def require_same_model(header: GgufHeader, name: str, model: Sequence[GgufHeader], model_name: str) -> None:
    """Raises BadInputError if a control vector, sound by itself, was made for another model than the shards' of these.

    A file with all layers from the first on was made for a model with as many.
    """
    width, layers = model[0].number("embedding_length"), model[0].number("block_count") or 0
    own_width, numbers = header.tensors[0].shape[0], sorted(_layer(tensor.name) for tensor in header.tensors)
    has_all = len(numbers) > 1 and numbers == list(range(FIRST_LAYER, numbers[-1] + 1))
    if own_width != width:
        problem = f"its directions have {own_width} numbers, and the model's width is {width}"
    elif numbers[-1] >= layers or (has_all and numbers[-1] != layers - 1):
        problem = f"it has directions for the layers {numbers[0]} to {numbers[-1]}, and the model has {layers} layers"
    else:
        return
    raise BadInputError(
        f"{name} is a control vector for another model than {model_name}: {problem}",
        hint="use it with the model that it was made of",
    )


def read_directions(path: Path) -> Mapping[int, Array]:
    """The directions (width) by their layers. Raises as `require_control_vector` does."""
    import numpy as np  # which headers do without

    from llmasos.formats.gguf_tensors import open_gguf_model

    model = open_gguf_model([path])
    require_control_vector(model.header, path.name)
    found = {_layer(name): tensor.rows().reshape(-1).view(np.float32).copy() for name, tensor in model.tensors.items()}
    if not all(np.isfinite(each).all() for each in found.values()):
        raise CorruptModelError(f"{path.name} is broken: a direction holds what is no number")
    return found


def _layer(name: str) -> int:
    return int(name.rpartition(".")[2])


def _lengths(shape: Sequence[int]) -> tuple[int, ...]:
    """Without the dimensions of one number behind the first."""
    first, *others = shape
    return (first, *(each for each in others if each != 1))
