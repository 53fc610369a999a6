"""Falcon 7B, 40B, 180B and 11B, and the files of the first two from before their class had its name."""

from __future__ import annotations

from collections.abc import Sequence

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.limits import GELU, rope_problems, uneven_heads, unlike, unusual_base
from llmasos.conversion.rules import Regrouped, Rule, Sizes, layer_rules, rule, with_bias

RULES = (
    rule("transformer.word_embeddings.weight", "token_embd.weight", "vocab hidden"),
    *with_bias(rule("transformer.ln_f.weight", "output_norm.weight", "hidden"), optional=False),
    rule("lm_head.weight", "output.weight", "vocab hidden", optional=True),
    *layer_rules(
        "transformer.h.{layer}.",
        rule("self_attention.query_key_value.weight", "attn_qkv.weight", "queries_keys_values hidden", Regrouped()),
        rule("self_attention.dense.weight", "attn_output.weight", "hidden hidden"),
        rule("mlp.dense_h_to_4h.weight", "ffn_up.weight", "feed_forward hidden"),
        rule("mlp.dense_4h_to_h.weight", "ffn_down.weight", "hidden feed_forward"),
    ),
)
ONE_NORM = layer_rules(
    "transformer.h.{layer}.",
    *with_bias(rule("input_layernorm.weight", "attn_norm.weight", "hidden"), optional=False),
)
TWO_NORMS = layer_rules(
    "transformer.h.{layer}.",
    *with_bias(rule("ln_mlp.weight", "attn_norm.weight", "hidden"), optional=False),
    *with_bias(rule("ln_attn.weight", "attn_norm_2.weight", "hidden"), optional=False),
)


def is_new_decoder(config: Config) -> bool:
    """Falcon 40B's layout; its first files tell it only by their groups of queries."""
    return config.flag("new_decoder_architecture", default=config.get("n_head_kv") is not None)


def rules_for(config: Config) -> Sequence[Rule]:
    two_norms = is_new_decoder(config) and config.get("num_ln_in_parallel_attn", default=2) == 2
    return (*RULES, *(TWO_NORMS if two_norms else ONE_NORM))


def sizes(config: Config) -> dict[str, int]:
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads", "n_head")
    kv_heads = _kv_heads(config, heads)
    return {
        "layers": config.integer("num_hidden_layers", "n_layer"),
        "hidden": hidden,
        "vocab": config.integer("vocab_size"),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": hidden // heads,
        "keys": kv_heads * (hidden // heads),
        "queries_keys_values": (heads + 2 * kv_heads) * (hidden // heads),
        "feed_forward": 4 * hidden,
    }


def _kv_heads(config: Config, heads: int) -> int:
    if is_new_decoder(config):
        return config.integer("num_kv_heads", "n_head_kv")
    return 1 if config.flag("multi_query") else heads


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "context_length": config.integer("max_position_embeddings"),
        "tensor_data_layout": "jploski",  # by whom the order of queries, keys and values is
        "embedding_length": sizes["hidden"],
        "feed_forward_length": sizes["feed_forward"],
        "block_count": sizes["layers"],
        "attention.head_count": sizes["heads"],
        "attention.head_count_kv": sizes["kv_heads"],
        "attention.layer_norm_epsilon": config.number("layer_norm_epsilon"),
        **unusual_base(config),
    }


def problems(config: Config) -> list[str]:
    parallel = [] if is_new_decoder(config) else unlike(config, "parallel_attn", True)
    return [
        *parallel,
        *unlike(config, "alibi", False),
        *unlike(config, "bias", False),
        *unlike(config, "ffn_hidden_size", 4 * config.integer("hidden_size")),
        *unlike(config, "activation", *GELU),
        *uneven_heads(config),
        *rope_problems(config),
    ]


ARCHITECTURE = Architecture(
    name="falcon",
    classes=("FalconForCausalLM", "RWForCausalLM"),
    rules=RULES,
    rules_for=rules_for,
    metadata=metadata,
    sizes=sizes,
    defaults={"layer_norm_epsilon": 1e-5, "multi_query": True, "max_position_embeddings": 2048},
    problems=problems,
)
