"""Qwen3 30B-A3B, 235B-A22B and their like: every layer has experts, none is shared."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture
from llmasos.conversion.architectures import llama, qwen2, qwen2_moe, qwen3
from llmasos.conversion.config import Config
from llmasos.conversion.limits import unlike
from llmasos.conversion.rules import Rule, layer_rules

RULES: tuple[Rule, ...] = (
    *llama.OUTER_RULES,
    *layer_rules("model.layers.{layer}.", *qwen3.ATTENTION_RULES, *qwen2_moe.EXPERT_RULES),
)


def problems(config: Config) -> list[str]:
    return [
        *qwen2.shared_problems(config),
        *unlike(config, "use_sliding_window", False),
        *unlike(config, "norm_topk_prob", True),
    ]


ARCHITECTURE = Architecture(
    name="qwen3moe",
    classes=("Qwen3MoeForCausalLM",),
    rules=RULES,
    metadata=qwen2_moe.metadata,
    sizes=qwen2_moe.expert_sizes,
    defaults={
        **qwen2.DEFAULTS,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "norm_topk_prob": False,
    },
    prefixes=llama.PREFIXES,
    problems=problems,
)
