"""LoRA adapters: folders as PEFT writes them, and GGUF files for the tiny models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from doubles.tensor_files import write_safetensors
from doubles.tiny import TinyModel

Array = np.ndarray
WRAPPER = "base_model.model."


def random_factors(outputs: int, inputs: int, rank: int, seed: int = 1) -> tuple[Array, Array]:
    """A (rank, inputs) and B (outputs, rank)."""
    generator = np.random.default_rng([seed, outputs, inputs, rank])
    return (
        generator.normal(0, 0.3, (rank, inputs)).astype(np.float32),
        generator.normal(0, 0.3, (outputs, rank)).astype(np.float32),
    )


def write_peft(folder: Path, factors: Mapping[str, tuple[Array, Array]], **config: Any) -> Path:
    """A folder with the factors (A, B) of each module; `config` goes into adapter_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for module, (a, b) in factors.items():
        tensors[f"{WRAPPER}{module}.lora_A.weight"] = a
        tensors[f"{WRAPPER}{module}.lora_B.weight"] = b
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    first = next(iter(factors.values()))[0] if factors else np.zeros((4, 1))
    stated = {"peft_type": "LORA", "r": len(first), "lora_alpha": 8, "bias": "none", "use_dora": False, **config}
    (folder / "adapter_config.json").write_text(json.dumps(stated), "utf-8")
    return folder


def write_adapter(
    path: Path,
    *,
    model: TinyModel | None = None,
    rank: int = 4,
    architecture: str = "llama",
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Array] | None = None,
) -> Path:
    """A GGUF adapter that adds to the queries and the feed-forward part of every layer of a tiny model.

    `metadata` and `tensors` replace what it would have under those names; None leaves a name out.
    """
    model = model or TinyModel()
    width, feed = model.embedding_length, model.feed_forward_length
    values: dict[str, Any] = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 8.0}
    values |= metadata or {}
    arrays: dict[str, Any] = {}
    for layer in range(model.layer_count):
        for name, outputs, inputs in (("attn_q", width, width), ("ffn_down", width, feed)):
            a, b = random_factors(outputs, inputs, rank, seed=layer)
            arrays |= {f"blk.{layer}.{name}.weight.lora_a": a, f"blk.{layer}.{name}.weight.lora_b": b}
    arrays |= tensors or {}
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in values.items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        elif value is not None:
            writer.add_string(key, value)
    for name, array in arrays.items():
        if array is not None:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
