"""Control vectors: directions that are added to what layers give, as strongly as is asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmasos.engine.bindings import lib, log
from llmasos.errors import LlmasosError
from llmasos.formats.control_vector import FIRST_LAYER
from llmasos.formats.floats import Array


@dataclass(frozen=True)
class Control:
    """What is added (layers from the first that can have it, width) to the layers `first` to `last`, both included."""

    values: Array
    first: int
    last: int

    def apply(self, context: Any) -> None:
        """Lets a context, llama.cpp's handle of one, add it. Raises LlmasosError with its reason."""
        count, width = self.values.shape
        place = ctypes.cast(self.values.ctypes.data, ctypes.POINTER(ctypes.c_float))
        log.clear()
        if lib.llama_set_adapter_cvec(context, place, count * width, width, self.first, self.last) != 0:
            raise LlmasosError(f"the control vector can't be used: {log.last_errors() or 'llama.cpp gives no reason'}")


def combined(
    vectors: Iterable[tuple[Mapping[int, Array], float]], layer_count: int, layers: tuple[int, int]
) -> Control:
    """The sum of directions by layer, each times its scale, on the layers from the one to the other."""
    [first, last] = layers
    values: Array | None = None
    for directions, scale in vectors:
        if values is None:
            values = np.zeros((layer_count - FIRST_LAYER, len(next(iter(directions.values())))), np.float32)
        for layer, direction in directions.items():
            values[layer - FIRST_LAYER] += np.float32(scale) * direction
    assert values is not None
    return Control(values, first, last)
