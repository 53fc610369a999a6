"""Leaving layers out of a model: what becomes of its tensors' names and of its metadata, as llama-quantize has it.

Beyond what llama-quantize does, lists that hold something for each layer are shortened too: llama.cpp refuses a model
whose lists are longer than it has layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmasos.errors import BadInputError
from llmasos.quantization.header import Typed

LAYER = re.compile(r"blk\.(\d+)\.")
LAYER_COUNT = "block_count"
DENSE_LAYERS = "leading_dense_block_count"  # in mixtures of experts: the first layers, which have none
NOT_BY_LAYER = ("rope.dimension_sections",)  # of four numbers, in a model of four layers


def layers_kept(pruned: Iterable[int], layer_count: int) -> list[int]:
    """The layers that stay, in order. Raises BadInputError for layers that there are not, and if none would stay."""
    gone = set(pruned)
    if missing := sorted(layer for layer in gone if not 0 <= layer < layer_count):
        raise BadInputError(
            f"there is no layer {missing[0]} to prune: the model has {layer_count}",
            hint=f"layers are counted from 0 to {layer_count - 1}" if layer_count else None,
        )
    kept = [layer for layer in range(layer_count) if layer not in gone]
    if not kept:
        raise BadInputError("a model without any layers is none", hint="prune fewer layers")
    return kept


def pruned_name(name: str, kept: Sequence[int]) -> str | None:
    """The name that a tensor has once only those layers are left; None if it is in one of the others."""
    found = LAYER.match(name)
    if found is None:
        return name
    layer = int(found[1])
    return f"blk.{kept.index(layer)}.{name[found.end() :]}" if layer in kept else None


def pruned_metadata(metadata: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Metadata for a model of only those layers; the number of layers stands last, as llama-quantize puts it.

    Values that stay what they are stay the same objects.
    """
    architecture = metadata["general.architecture"]
    count = metadata[f"{architecture}.{LAYER_COUNT}"]
    own = {key: key.removeprefix(f"{architecture}.") for key in metadata}
    pruned = {
        key: _pruned_value(own[key], value, kept, count) if own[key] != key else value
        for key, value in metadata.items()
        if own[key] != LAYER_COUNT
    }
    return {**pruned, f"{architecture}.{LAYER_COUNT}": len(kept)}


def _pruned_value(key: str, value: Any, kept: Sequence[int], layer_count: int) -> Any:
    if key == DENSE_LAYERS and isinstance(value, int):
        return sum(layer < value for layer in kept)
    if isinstance(value, Typed):
        return replace(value, value=_pruned_value(key, value.value, kept, layer_count))
    if isinstance(value, (list, tuple)) and len(value) == layer_count and key not in NOT_BY_LAYER:
        return [value[layer] for layer in kept]
    return value
