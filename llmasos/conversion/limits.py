"""What llama.cpp can't compute: configurations that would not load, or load and answer something else.

An architecture's `problems` and `notes` are made of these.
"""

from __future__ import annotations

import math
from typing import Any

from llmasos.conversion.architecture import Metadata
from llmasos.conversion.config import Config, shown
from llmasos.conversion.hyperparameters import rotated_dimensions
from llmasos.conversion.rules import Sizes
from llmasos.errors import BadInputError

# llama.cpp has one GELU, by the hyperbolic tangent. The exact one differs from it by less than 0.001.
GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python")
SILU = ("silu", "swish")

# LLAMA_MAX_LAYERS and LLAMA_MAX_EXPERTS of llama-hparams.h.
MOST = {"layers": 512, "experts": 1024}

DEFAULT_BASE = 10000.0  # llama.cpp's, where the metadata gives none


def require_possible(sizes: Sizes) -> Sizes:
    """The sizes. Raises BadInputError for more layers or experts than llama.cpp has room for."""
    for name, most in MOST.items():
        if sizes.get(name, 0) > most:
            raise BadInputError(f"config.json describes {sizes[name]} {name}, and llama.cpp computes at most {most}")
    return sizes


def unlike(config: Config, name: str, *possible: Any) -> list[str]:
    """A problem if the configuration has something else there; nothing if it has none."""
    value = config.get(name)
    if value is None or value in possible:
        return []
    return [
        f"config.json has `{name}` = {shown(value)}, and llama.cpp can only do {' or '.join(map(shown, possible))} here"
    ]


def rope_problems(config: Config, *kinds: str) -> list[str]:
    """A problem if the rotary embedding is stretched, unless it is in one of the ways that are named."""
    kind = str(config.rope.get("rope_type") or "default")
    if kind in ("default", *kinds):
        return _yarn_problems(config.rope) if kind == "yarn" else []
    return [f"config.json stretches the rotary embedding by `{kind}`, which llama.cpp can't do for this architecture"]


def _yarn_problems(rope: dict[str, Any]) -> list[str]:
    """llama.cpp makes attention as much stronger as YaRN's paper does for a factor, whatever a file says."""
    factor, stated = rope.get("factor"), rope.get("attention_factor")
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return ["config.json has `mscale` and `mscale_all_dim`, which llama.cpp can't do for this architecture"]
    usual = 0.1 * math.log(factor) + 1 if factor and factor > 1 else 1.0
    if factor is None or stated is None or rope.get("long_factor") or math.isclose(stated, usual, rel_tol=1e-6):
        return []
    return [f"config.json has `attention_factor` = {shown(stated)}, and llama.cpp makes that {usual:g}"]


def window_notes(config: Config) -> list[str]:
    """What is told of a sliding window where llama.cpp has none, if the model reads texts that are longer than it."""
    if not config.get("sliding_window"):
        return []
    window = config.integer("sliding_window")
    if window >= config.integer("max_position_embeddings"):
        return []
    return [
        f"the sliding window of {window} tokens is not applied by the engine:"
        " texts longer than that are read differently than by the original"
    ]


def rotary_problems(config: Config) -> list[str]:
    """A problem if the share of a head's dimensions that rotates doesn't make up pairs."""
    rotated = rotated_dimensions(config)
    if rotated % 2 == 0 and 0 < rotated <= config.head_dim:
        return []
    return [
        f"config.json rotates {rotated} of a head's {config.head_dim} dimensions, which llama.cpp can't do in pairs"
    ]


def uneven_heads(config: Config) -> list[str]:
    """A problem if the heads together are not as wide as the model."""
    hidden, heads = config.integer("hidden_size", "n_embd"), config.integer("num_attention_heads", "n_head")
    if heads * config.head_dim == hidden:
        return []
    return [f"{heads} heads of {config.head_dim} dimensions don't make up the width of {hidden}, as llama.cpp takes it"]


def unusual_base(config: Config) -> Metadata:
    """The rotary embedding's base if llama.cpp has to be told: for metadata that by custom don't hold it."""
    base = config.rope_number("rope_theta") if config.rope.get("rope_theta") else DEFAULT_BASE
    return {} if base == DEFAULT_BASE else {"rope.freq_base": base}
