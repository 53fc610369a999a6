"""Qwen3, and the embedding models made of it."""

from __future__ import annotations

from typing import Any

from llmasos.conversion.architecture import Architecture
from llmasos.conversion.architectures import llama, qwen2
from llmasos.conversion.exporting.configuration import common_config, head_dim_of
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.pooling import pooling_metadata
from llmasos.conversion.rules import Rule, layer_rules, rule
from llmasos.errors import BadInputError

ATTENTION_RULES = (
    *qwen2.ATTENTION_RULES,
    rule("self_attn.q_norm.weight", "attn_q_norm.weight", "head_dim"),
    rule("self_attn.k_norm.weight", "attn_k_norm.weight", "head_dim"),
)
RULES: tuple[Rule, ...] = (
    *llama.OUTER_RULES,
    *layer_rules("model.layers.{layer}.", *ATTENTION_RULES, *qwen2.FEED_FORWARD_RULES),
)


def config_of(described: Described) -> dict[str, Any]:
    """A bias of queries, keys and values comes, in transformers, with one of the output, which llama.cpp has not."""
    if qwen2.has_biases(described):
        raise BadInputError("attn_q, attn_k and attn_v have a bias and attn_output has none, as no Qwen 3 has it")
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "attention_bias": False,
        "head_dim": head_dim_of(described),
        "use_sliding_window": False,
        **common_config(described),
    }


ARCHITECTURE = Architecture(
    name="qwen3",
    classes=("Qwen3ForCausalLM", "Qwen3Model"),
    rules=RULES,
    metadata=qwen2.metadata,
    defaults={**qwen2.DEFAULTS, "head_dim": 128},
    prefixes=llama.PREFIXES,
    problems=qwen2.problems,
    folder_metadata=pooling_metadata,
    config_of=config_of,
)
