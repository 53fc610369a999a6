"""Hyper-parameters that most architectures share, from `config.json` to the keys of a GGUF."""

from __future__ import annotations

from typing import Any

from llmasos.conversion.architecture import Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.rules import Sizes

# GGUF key -> the names that the number has had in config.json
INTEGERS = {
    "context_length": ("max_position_embeddings", "n_ctx", "n_positions", "max_length", "model_max_length"),
    "embedding_length": ("hidden_size", "n_embd"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "expert_count": ("num_local_experts", "num_experts"),
    "expert_used_count": ("num_experts_per_tok", "num_experts_per_token"),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
}
FLOATS = {
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps"),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
}


def common_metadata(config: Config, sizes: Sizes) -> Metadata:
    """Every shared key that the configuration has a value for."""
    metadata: Metadata = {"block_count": sizes["layers"]}
    for key, names in INTEGERS.items():
        if config.get(*names):  # 0 is how some say that there are none: experts, say
            metadata[key] = config.integer(*names)
    for key, names in FLOATS.items():
        if config.get(*names) is not None:
            metadata[key] = config.number(*names)
    if config.get("is_causal") is False:
        metadata["attention.causal"] = False
    return {**metadata, **rope_metadata(config)}


def rope_metadata(config: Config) -> Metadata:
    """The rotary embedding: its base, and how it is stretched over a longer context (linear, YaRN)."""
    rope, metadata = config.rope, Metadata()
    if rope.get("rope_theta") is not None:
        metadata["rope.freq_base"] = float(rope["rope_theta"])
    if config.local_rope.get("rope_theta") is not None:
        metadata["rope.freq_base_swa"] = float(config.local_rope["rope_theta"])
    kind = rope.get("rope_type")
    if kind in ("linear", "yarn") and rope.get("factor") is not None:
        metadata |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
        if kind == "yarn":
            metadata |= _yarn_metadata(rope)
    elif kind in ("su", "longrope"):
        metadata["rope.scaling.type"] = "longrope"
    return metadata


def _yarn_metadata(rope: dict[str, Any]) -> Metadata:
    metadata: Metadata = {}
    if (length := rope.get("original_max_position_embeddings")) is not None:
        metadata["rope.scaling.original_context_length"] = int(length)
    for key, names in {
        "rope.scaling.yarn_ext_factor": ("extrapolation_factor",),
        "rope.scaling.yarn_attn_factor": ("attention_factor", "attn_factor"),
        "rope.scaling.yarn_beta_fast": ("beta_fast",),
        "rope.scaling.yarn_beta_slow": ("beta_slow",),
    }.items():
        value = next((rope[name] for name in names if rope.get(name) is not None), None)
        if value is not None:
            metadata[key] = float(value)
    return metadata


def rotated_dimensions(config: Config) -> int:
    """How many dimensions of a head rotate, where not all of them do. Raises BadInputError without such a share."""
    return int(config.rope_number("partial_rotary_factor") * config.head_dim)
