"""A text, tiny models that read it, and what llama-imatrix made of that (`tools/make_importance_goldens.py`)."""

from __future__ import annotations

import random
from pathlib import Path

from doubles.checkpoints import write_checkpoint
from doubles.tiny import write_tiny
from llmasos.conversion.convert import convert
from llmasos.quantization.importance import Importance

GOLDENS = Path(__file__).parents[1] / "goldens" / "importance"
NAMES = ("tiny", "qwen3-moe", "qwen2-moe", "gpt2")
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "that", "hat", "one", "dog", "is", "it", "in", "of", "birds")
TEXT = " ".join(random.Random(1).choices(WORDS, k=1500)) + "\n"


def write_model(name: str, folder: Path) -> Path:
    """The GGUF of one of the models, in F32."""
    if name == "tiny":
        return write_tiny(folder / "tiny.gguf")
    return convert(write_checkpoint(folder / name, name), folder / f"{name}.gguf", "F32")[0]


def totals_of(importance: Importance) -> dict[str, list[float]]:
    """Of each tensor the sum of its sums, and its count."""
    return {
        name: [float(entry.sums.sum(dtype=float)), int(entry.counts[0])]
        for name, entry in sorted(importance.entries.items())
    }
