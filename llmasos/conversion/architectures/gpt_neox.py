"""GPT-NeoX and Pythia."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import rotated_dimensions
from llmasos.conversion.limits import GELU, rope_problems, rotary_problems, uneven_heads, unlike, unusual_base
from llmasos.conversion.rules import Regrouped, Sizes, layer_rules, rule, with_bias

FUSED = rule("attention.query_key_value.weight", "attn_qkv.weight", "3*hidden hidden", Regrouped())

RULES = (
    rule("gpt_neox.embed_in.weight", "token_embd.weight", "vocab hidden"),
    *with_bias(rule("gpt_neox.final_layer_norm.weight", "output_norm.weight", "hidden"), optional=False),
    rule("embed_out.weight", "output.weight", "vocab hidden"),
    *layer_rules(
        "gpt_neox.layers.{layer}.",
        *with_bias(rule("input_layernorm.weight", "attn_norm.weight", "hidden"), optional=False),
        *with_bias(FUSED, optional=False),
        *with_bias(rule("attention.dense.weight", "attn_output.weight", "hidden hidden"), optional=False),
        *with_bias(rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden"), optional=False),
        *with_bias(rule("mlp.dense_h_to_4h.weight", "ffn_up.weight", "feed_forward hidden"), optional=False),
        *with_bias(rule("mlp.dense_4h_to_h.weight", "ffn_down.weight", "hidden feed_forward"), optional=False),
    ),
)


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "context_length": config.integer("max_position_embeddings"),
        "embedding_length": sizes["hidden"],
        "block_count": sizes["layers"],
        "feed_forward_length": sizes["feed_forward"],
        "rope.dimension_count": rotated_dimensions(config),
        "attention.head_count": sizes["heads"],
        "use_parallel_residual": config.flag("use_parallel_residual"),
        "attention.layer_norm_epsilon": config.number("layer_norm_eps"),
        **unusual_base(config),
    }


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_act", *GELU),
        *unlike(config, "attention_bias", True),
        *uneven_heads(config),
        *rotary_problems(config),
        *rope_problems(config),
    ]


ARCHITECTURE = Architecture(
    name="gptneox",
    classes=("GPTNeoXForCausalLM",),
    rules=RULES,
    metadata=metadata,
    defaults={
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
    },
    problems=problems,
)
