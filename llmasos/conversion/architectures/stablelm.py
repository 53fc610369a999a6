"""StableLM 3B, Zephyr, StableLM 2 and Stable Code, and the first of them under the name of their training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import rotated_dimensions
from llmasos.conversion.limits import SILU, rope_problems, rotary_problems, uneven_heads, unlike, unusual_base
from llmasos.conversion.rules import Rule, Sizes, layer_rules, rule, with_bias

LAYER = "model.layers.{layer}."

RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    *with_bias(rule("model.norm.weight", "output_norm.weight", "hidden"), optional=False),
    rule("lm_head.weight", "output.weight", "vocab hidden"),
    *layer_rules(
        LAYER,
        *with_bias(rule("input_layernorm.weight", "attn_norm.weight", "hidden"), optional=False),
        *with_bias(rule("self_attn.q_proj.weight", "attn_q.weight", "queries hidden")),
        *with_bias(rule("self_attn.k_proj.weight", "attn_k.weight", "keys hidden")),
        *with_bias(rule("self_attn.v_proj.weight", "attn_v.weight", "keys hidden")),
        rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries"),
        rule("mlp.gate_proj.weight", "ffn_gate.weight", "feed_forward hidden"),
        rule("mlp.up_proj.weight", "ffn_up.weight", "feed_forward hidden"),
        rule("mlp.down_proj.weight", "ffn_down.weight", "hidden feed_forward"),
    ),
)
FEED_FORWARD_NORM = layer_rules(
    LAYER, *with_bias(rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden"), optional=False)
)
HEAD_NORMS = layer_rules(
    LAYER,
    rule("self_attn.q_layernorm.norms.{part}.weight", "attn_q_norm.weight", "head_dim", parts="heads"),
    rule("self_attn.k_layernorm.norms.{part}.weight", "attn_k_norm.weight", "head_dim", parts="kv_heads"),
)


def rules_for(config: Config) -> Sequence[Rule]:
    """Attention and feed-forward that run side by side have no norm between them: llama.cpp knows them by that."""
    between = () if config.flag("use_parallel_residual") else FEED_FORWARD_NORM
    return (*RULES, *between, *(HEAD_NORMS if config.flag("qk_layernorm") else ()))


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "context_length": config.integer("max_position_embeddings"),
        "embedding_length": sizes["hidden"],
        "block_count": sizes["layers"],
        "feed_forward_length": sizes["feed_forward"],
        "rope.dimension_count": rotated_dimensions(config),
        "attention.head_count": sizes["heads"],
        "attention.head_count_kv": sizes["kv_heads"],
        "use_parallel_residual": config.flag("use_parallel_residual"),
        "attention.layer_norm_epsilon": config.number("layer_norm_eps", "norm_eps"),
        **unusual_base(config),
    }


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_act", *SILU),
        *uneven_heads(config),
        *rotary_problems(config),
        *rope_problems(config),
    ]


STABLELM = Architecture(
    name="stablelm",
    classes=("StableLmForCausalLM",),
    rules=RULES,
    rules_for=rules_for,
    metadata=metadata,
    defaults={
        "vocab_size": 50304,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "layer_norm_eps": 1e-5,
        "partial_rotary_factor": 0.25,
    },
    problems=problems,
)
EPOCH = replace(
    STABLELM,
    classes=("StableLMEpochForCausalLM",),
    rules=(*RULES, *FEED_FORWARD_NORM),
    rules_for=None,
    # llama.cpp's own converter says so of this class, and nobody reads it: the layers run one after the other.
    defaults={"partial_rotary_factor": 0.25, "use_parallel_residual": True},
)
ARCHITECTURES = (STABLELM, EPOCH)
