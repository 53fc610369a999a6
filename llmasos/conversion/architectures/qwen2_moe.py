"""Qwen 1.5 MoE and Qwen2 57B-A14B: experts, and one that every token goes through."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, Metadata, common_sizes
from llmasos.conversion.architectures import llama, qwen2
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import unlike
from llmasos.conversion.rules import Rule, Sizes, layer_rules, rule, separate_experts, stacked_experts

EXPERT_RULES = (
    rule("mlp.gate.weight", "ffn_gate_inp.weight", "experts hidden"),
    *separate_experts("mlp.experts", gate="gate_proj", up="up_proj", down="down_proj"),
    *stacked_experts("mlp.experts"),
)
SHARED_EXPERT_RULES = (
    rule("mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight", "1 hidden"),
    rule("mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight", "shared_feed_forward hidden"),
    rule("mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight", "shared_feed_forward hidden"),
    rule("mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight", "hidden shared_feed_forward"),
)
RULES: tuple[Rule, ...] = (
    *llama.OUTER_RULES,
    *layer_rules("model.layers.{layer}.", *qwen2.ATTENTION_RULES, *EXPERT_RULES, *SHARED_EXPERT_RULES),
)


def sizes(config: Config) -> dict[str, int]:
    return {**expert_sizes(config), "shared_feed_forward": config.integer("shared_expert_intermediate_size")}


def expert_sizes(config: Config) -> dict[str, int]:
    return {
        **common_sizes(config),
        "experts": config.integer("num_local_experts", "num_experts"),
        "expert_feed_forward": config.integer("moe_intermediate_size"),
    }


def metadata(config: Config, sizes: Sizes) -> Metadata:
    widths = {
        "expert_feed_forward_length": config.get("moe_intermediate_size"),
        "expert_shared_feed_forward_length": config.get("shared_expert_intermediate_size"),
    }
    return {**common_metadata(config, sizes), **{key: width for key, width in widths.items() if width is not None}}


def problems(config: Config) -> list[str]:
    return [
        *qwen2.shared_problems(config),
        *unlike(config, "use_sliding_window", False),
        *unlike(config, "norm_topk_prob", False),
    ]


ARCHITECTURE = Architecture(
    name="qwen2moe",
    classes=("Qwen2MoeForCausalLM",),
    rules=RULES,
    metadata=metadata,
    sizes=sizes,
    defaults={
        **qwen2.DEFAULTS,
        "num_key_value_heads": 16,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
    },
    prefixes=llama.PREFIXES,
    problems=problems,
)
