"""A checkpoint in memory through an architecture's tensor map: no files, no tokenizer, no types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmasos.conversion.architecture import Architecture, find_architecture
from llmasos.conversion.config import Config
from llmasos.conversion.plan import canonical_names, make_pieces, plan_tensors
from llmasos.formats.floats import Array
from llmasos.formats.stored import StoredTensor


@dataclass(frozen=True)
class Planned:
    """What became of the checkpoint: values by the GGUF's names, the hyper-parameters, and what was in the way."""

    architecture: Architecture
    tensors: dict[str, Array]
    metadata: dict[str, Any]
    problems: list[str]


def planned(values: Mapping[str, Any], arrays: Mapping[str, Array]) -> Planned:
    """Converts arrays (2-byte integers hold bfloat16) by the configuration that `config.json` would hold."""
    config = Config(values)
    architecture = find_architecture(config)
    config = config.with_defaults(architecture.defaults)
    sizes = architecture.sizes(config)
    own, twice = canonical_names(list(arrays), architecture.canonical)
    stored = {name: _stored(name, arrays[raw]) for name, raw in own.items()}
    plan = plan_tensors(architecture.tensor_map(config), sizes, stored, architecture.ignores)
    made = {
        tensor.name: np.stack(list(make_pieces(tensor, lambda name: arrays[own[name]], sizes)())).reshape(tensor.shape)
        for tensor in plan.tensors
        if not plan.problems
    }
    problems = [*architecture.problems(config), *twice, *plan.problems]
    return Planned(architecture, made, architecture.metadata(config, sizes), problems)


def _stored(name: str, array: Array) -> StoredTensor:
    dtype = {"float32": "F32", "float16": "F16", "uint16": "BF16"}[array.dtype.name]
    return StoredTensor(name, dtype, array.shape, Path("model.safetensors"), 0, dtype)
