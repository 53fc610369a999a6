"""Phi-1, 1.5 and 2."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, Metadata, common_sizes
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import rotated_dimensions
from llmasos.conversion.limits import GELU, rope_problems, rotary_problems, uneven_heads, unlike, unusual_base
from llmasos.conversion.rules import Sizes, layer_rules, rule, with_bias

RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    *with_bias(rule("model.final_layernorm.weight", "output_norm.weight", "hidden"), optional=False),
    *with_bias(rule("lm_head.weight", "output.weight", "vocab hidden"), optional=False),
    *layer_rules(
        "model.layers.{layer}.",
        *with_bias(rule("input_layernorm.weight", "attn_norm.weight", "hidden"), optional=False),
        *with_bias(rule("self_attn.q_proj.weight", "attn_q.weight", "hidden hidden"), optional=False),
        *with_bias(rule("self_attn.k_proj.weight", "attn_k.weight", "hidden hidden"), optional=False),
        *with_bias(rule("self_attn.v_proj.weight", "attn_v.weight", "hidden hidden"), optional=False),
        *with_bias(rule("self_attn.dense.weight", "attn_output.weight", "hidden hidden"), optional=False),
        *with_bias(rule("mlp.fc1.weight", "ffn_up.weight", "feed_forward hidden"), optional=False),
        *with_bias(rule("mlp.fc2.weight", "ffn_down.weight", "hidden feed_forward"), optional=False),
    ),
)


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "context_length": config.integer("n_positions", "max_position_embeddings"),
        "embedding_length": sizes["hidden"],
        "feed_forward_length": sizes["feed_forward"],
        "block_count": sizes["layers"],
        "attention.head_count": sizes["heads"],
        "attention.head_count_kv": sizes["heads"],
        "attention.layer_norm_epsilon": config.number("layer_norm_epsilon", "layer_norm_eps"),
        "rope.dimension_count": rotated_dimensions(config),
        **unusual_base(config),
        "tokenizer.ggml.add_bos_token": False,
    }


def problems(config: Config) -> list[str]:
    sizes = common_sizes(config)
    return [
        *unlike(config, "num_key_value_heads", sizes["heads"]),
        *unlike(config, "intermediate_size", 4 * sizes["hidden"]),
        *unlike(config, "qk_layernorm", False),
        *unlike(config, "hidden_act", *GELU),
        *uneven_heads(config),
        *rotary_problems(config),
        *rope_problems(config),
    ]


ARCHITECTURE = Architecture(
    name="phi2",
    classes=("PhiForCausalLM",),
    rules=RULES,
    metadata=metadata,
    defaults={
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "partial_rotary_factor": 0.5,
    },
    problems=problems,
)
