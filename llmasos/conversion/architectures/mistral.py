"""Mistral 7B, Nemo, Small and their like: llama.cpp's `llama`."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture
from llmasos.conversion.architectures import llama
from llmasos.conversion.limits import window_notes

DEFAULTS = {**llama.DEFAULTS, "max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096}

ARCHITECTURE = Architecture(
    name="llama",
    classes=("MistralForCausalLM",),
    rules=llama.RULES,
    metadata=llama.metadata,
    defaults=DEFAULTS,
    prefixes=llama.PREFIXES,
    extra_tensors=llama.rope_factors,
    problems=llama.problems,
    notes=window_notes,
    adjust_vocabulary=llama.adjust_vocabulary,
    config_of=llama.config_of,  # the same tensors, and llama.cpp keeps no window
)
