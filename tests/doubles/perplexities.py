"""The tiny models whose perplexity llama-perplexity has measured (`tools/make_perplexity_goldens.py`)."""

from __future__ import annotations

from pathlib import Path

from doubles.tiny import TinyModel

TINY_CONTEXT, TINY_BYTES = 64, 4001
TINY = {
    "plain": TinyModel(),
    "with a beginning": TinyModel(beginning="<|system|>"),
    "near": TinyModel(noise=0.02),
}
PAIR = ("plain", "near")


def processor() -> str:
    """The model of this machine's processor: on another the engine's kernels add up in another order."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
