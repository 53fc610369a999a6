"""Mixtral 8x7B and 8x22B: llama.cpp's `llama` with experts."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, common_sizes
from llmasos.conversion.architectures import llama, mistral
from llmasos.conversion.config import Config
from llmasos.conversion.limits import window_notes
from llmasos.conversion.rules import Rule, layer_rules, rule, separate_experts, stacked_experts

RULES: tuple[Rule, ...] = (
    *llama.OUTER_RULES,
    *layer_rules(
        "model.layers.{layer}.",
        *llama.ATTENTION_RULES,
        rule("block_sparse_moe.gate.weight", "ffn_gate_inp.weight", "experts hidden"),
        rule("mlp.gate.weight", "ffn_gate_inp.weight", "experts hidden"),
        *separate_experts("block_sparse_moe.experts", gate="w1", up="w3", down="w2"),
        *stacked_experts("mlp.experts"),
    ),
)


def sizes(config: Config) -> dict[str, int]:
    common = common_sizes(config)
    return {
        **common,
        "experts": config.integer("num_local_experts", "num_experts"),
        "expert_feed_forward": common["feed_forward"],
    }


ARCHITECTURE = Architecture(
    name="llama",
    classes=("MixtralForCausalLM",),
    rules=RULES,
    metadata=llama.head_metadata,
    sizes=sizes,
    defaults={
        **mistral.DEFAULTS,
        "sliding_window": None,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    prefixes=llama.PREFIXES,
    extra_tensors=llama.rope_factors,
    problems=llama.problems,
    notes=window_notes,
    adjust_vocabulary=llama.adjust_vocabulary,
)
