"""The tiny models whose perplexity llama-perplexity has measured (`tools/make_perplexity_goldens.py`)."""

from __future__ import annotations

from doubles.tiny import TinyModel

TINY_CONTEXT, TINY_BYTES = 64, 4001
TINY = {
    "plain": TinyModel(),
    "with a beginning": TinyModel(beginning="<|system|>"),
    "near": TinyModel(noise=0.02),
}
PAIR = ("plain", "near")
