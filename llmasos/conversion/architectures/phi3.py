"""Phi-3, Phi-3.5 and Phi-4, mini too: fused matrices stay fused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from llmasos.conversion.architecture import Architecture, Metadata, common_sizes
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import rotated_dimensions
from llmasos.conversion.limits import SILU, rope_problems, rotary_problems, uneven_heads, unlike, window_notes
from llmasos.conversion.rules import Sizes, layer_rules, rule
from llmasos.formats.floats import Array

LONG_KINDS = ("longrope", "su", "yarn")  # three names of one thing here: two are those of early checkpoints

RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    rule("model.norm.weight", "output_norm.weight", "hidden"),
    rule("lm_head.weight", "output.weight", "vocab hidden", optional=True),
    *layer_rules(
        "model.layers.{layer}.",
        rule("input_layernorm.weight", "attn_norm.weight", "hidden"),
        rule("self_attn.qkv_proj.weight", "attn_qkv.weight", "queries_keys_values hidden"),
        rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries"),
        rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden"),
        rule("mlp.gate_up_proj.weight", "ffn_up.weight", "2*feed_forward hidden"),
        rule("mlp.down_proj.weight", "ffn_down.weight", "hidden feed_forward"),
    ),
)


def sizes(config: Config) -> dict[str, int]:
    common = common_sizes(config)
    return {**common, "queries_keys_values": common["queries"] + 2 * common["keys"]}


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "context_length": config.integer("n_positions", "max_position_embeddings"),
        "rope.scaling.original_context_length": config.integer("original_max_position_embeddings"),
        "embedding_length": sizes["hidden"],
        "feed_forward_length": sizes["feed_forward"],
        "block_count": sizes["layers"],
        "attention.head_count": sizes["heads"],
        "attention.head_count_kv": sizes["kv_heads"],
        "attention.layer_norm_rms_epsilon": config.number("rms_norm_eps"),
        "rope.dimension_count": rotated_dimensions(config),
        "rope.freq_base": config.rope_number("rope_theta"),
        "attention.sliding_window": config.integer("sliding_window") if config.get("sliding_window") else 0,
        **({"rope.scaling.attn_factor": attention_factor(config)} if config.rope.get("long_factor") else {}),
    }


def attention_factor(config: Config) -> float:
    """How much stronger attention is for a longer context. Source: the Phi-3 model code."""
    first = config.integer("original_max_position_embeddings")
    scale = config.integer("n_positions", "max_position_embeddings") / first
    return math.sqrt(1 + math.log(scale) / math.log(first)) if scale > 1 and first > 1 else 1.0


def rope_factors(config: Config, sizes: Sizes) -> dict[str, Array]:
    """What each rotary frequency is divided by, (rotated / 2,), float32: in a long context and in a short one."""
    if not config.rope.get("long_factor"):
        return {}
    return {
        f"rope_factors_{name}.weight": np.array(config.rope[f"{name}_factor"], dtype=np.float32)
        for name in ("long", "short")
    }


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_act", *SILU),
        *uneven_heads(config),
        *rotary_problems(config),
        *rope_problems(config, *LONG_KINDS),
        *_factor_problems(config.rope, rotated_dimensions(config) // 2),
        *_attention_problems(config),
    ]


def _factor_problems(rope: dict[str, Any], wanted: int) -> list[str]:
    """The factors come as two lists of numbers, one for each pair of dimensions, or not at all."""
    if not rope.get("long_factor") and rope.get("rope_type") not in LONG_KINDS:
        return []
    return [
        f"config.json should give {wanted} rotary factors as `{name}`"
        for name in ("long_factor", "short_factor")
        if not _is_list_of_numbers(rope.get(name), wanted)
    ]


def _is_list_of_numbers(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(each) in (int, float) for each in value)


def _attention_problems(config: Config) -> list[str]:
    """llama.cpp is told one factor of attention, which follows from the two lengths of context."""
    rope = config.rope
    if not rope.get("long_factor"):
        return []
    scale = config.integer("max_position_embeddings") / config.integer("original_max_position_embeddings")
    usual = {"factor": scale, "attention_factor": attention_factor(config)}
    return [
        f"config.json has `{name}` = {rope[name]!r}, and its lengths of context make that {value:g}"
        for name, value in usual.items()
        if rope.get(name) is not None and not math.isclose(config.rope_number(name), value, rel_tol=1e-6)
    ]


def model_name(name: str, tokenizer: Mapping[str, Any]) -> str:
    """Only in models that are called Phi-3 llama.cpp takes the space after the marks away, as the tokenizer does."""
    is_called_so = "phi-3" in name.lower() or "phi3" in name.lower()
    return name if is_called_so or tokenizer["tokenizer.ggml.model"] != "llama" else f"{name} (Phi-3)"


ARCHITECTURE = Architecture(
    name="phi3",
    classes=("Phi3ForCausalLM",),
    rules=RULES,
    metadata=metadata,
    sizes=sizes,
    defaults={
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    },
    extra_tensors=rope_factors,
    problems=problems,
    notes=window_notes,
    model_name=model_name,
)
