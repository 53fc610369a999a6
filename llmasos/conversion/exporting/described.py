"""What a GGUF says of its model, as an architecture asks for it to write `config.json`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmasos.conversion.rules import Sizes
from llmasos.errors import BadInputError
from llmasos.formats.floats import Array


@dataclass(frozen=True, slots=True)
class Described:
    """Metadata under its full keys, the sizes that the shapes give, the tensors' names, and a way to read one."""

    architecture: str  # llama.cpp's name
    metadata: Mapping[str, Any]
    sizes: Sizes
    tensors: Collection[str]
    read: Callable[[str], Array]

    def get(self, key: str, default: Any = None) -> Any:
        """The architecture's own value of a key."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def integer(self, key: str) -> int:
        """Raises BadInputError if there is none, or no single whole number: layers may differ in llama.cpp."""
        value = self.get(key)
        if type(value) is not int:
            raise self._wrong(key, value)
        return value

    def number(self, key: str) -> float:
        """A number as a person would have written it. Raises BadInputError if there is none."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(key, value)
        return shortest(value)

    def _wrong(self, key: str, value: Any) -> BadInputError:
        stated = "nothing" if value is None else repr(value)
        return BadInputError(f"the metadata says {stated} under `{self.architecture}.{key}`, where a number should be")


def shortest(value: float) -> float:
    """The shortest decimal that a float32 of the metadata may have been: 1e-05 for 9.99999974e-06."""
    return float(str(np.float32(value)))
