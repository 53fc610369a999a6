"""llama.cpp's own quantizer, called through the bindings as `llama-quantize` calls it: what ours is compared with."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmasos.engine.bindings import lib, log
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Importance
from llmasos.quantization.types import MIXES, TYPES


def llama_quantize(
    source: Path, output: Path, choices: Choices, importance: Importance | None = None, *, keep_split: bool = False
) -> bool:
    """Writes `output`, or with `keep_split` the parts whose names begin with it; False if llama.cpp refuses."""
    options = lib.llama_model_quantize_default_params()
    options.ftype, options.nthread = MIXES[choices.mix], 2
    options.pure, options.allow_requantize = choices.pure, choices.allow_requantize
    options.keep_split = keep_split
    if choices.output_type:
        options.output_tensor_type = TYPES[choices.output_type].type_id
    if choices.embedding_type:
        options.token_embedding_type = TYPES[choices.embedding_type].type_id
    options.tt_overrides = _overrides(choices.tensor_types)
    options.prune_layers = _layers(choices.pruned_layers)
    if importance:
        options.imatrix, options.kv_overrides = _matrix(importance), _metadata(importance)
    with log.off():
        return lib.llama_model_quantize(str(source).encode(), str(output).encode(), ctypes.byref(options)) == 0


def _matrix(importance: Importance) -> Any:
    entry = lib.llama_model_imatrix_data
    arrays = {name: entry.means.reshape(-1) for name, entry in importance.entries.items()}
    pointers = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in arrays.values()]
    entries = [
        entry(name.encode(), pointer, array.size)
        for (name, array), pointer in zip(arrays.items(), pointers, strict=True)
    ]
    table = (entry * (len(entries) + 1))(*entries, entry(None, None, 0))
    table.kept = arrays  # type: ignore[attr-defined]
    return table


def _metadata(importance: Importance) -> Any:
    """What llama-quantize notes: texts and whole numbers."""
    override, found = lib.llama_model_kv_override, []
    for key, value in importance.metadata.items():
        item = override(lib.LLAMA_KV_OVERRIDE_TYPE_STR if isinstance(value, str) else lib.LLAMA_KV_OVERRIDE_TYPE_INT)
        item.key = key.encode()
        if isinstance(value, str):
            item.value.val_str = value.encode()
        else:
            item.value.val_i64 = value
        found.append(item)
    return (override * (len(found) + 1))(*found, override())


def _overrides(tensor_types: Sequence[tuple[str, str]]) -> Any:
    entry = lib.llama_model_tensor_override
    if not tensor_types:
        return None
    entries = [entry(pattern.encode(), TYPES[name].type_id) for pattern, name in tensor_types]
    return (entry * (len(entries) + 1))(*entries, entry(None, 0))


def _layers(layers: Sequence[int]) -> Any:
    return (ctypes.c_int32 * (len(layers) + 1))(*layers, -1) if layers else None
