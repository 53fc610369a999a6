"""Gemma 1 and CodeGemma."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.architectures import llama, qwen2
from llmasos.conversion.config import Config
from llmasos.conversion.limits import GELU, rope_problems, unlike, unusual_base
from llmasos.conversion.rules import AddOne, Rule, Sizes, layer_rules, rule

# The head is the embedding; a copy of it that some tools write is left out.
OUTER_RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    rule("model.norm.weight", "output_norm.weight", "hidden", AddOne()),
)
IGNORED = ("lm_head.weight",)
ATTENTION_RULES = (
    rule("input_layernorm.weight", "attn_norm.weight", "hidden", AddOne()),
    rule("self_attn.q_proj.weight", "attn_q.weight", "queries hidden"),
    rule("self_attn.k_proj.weight", "attn_k.weight", "keys hidden"),
    rule("self_attn.v_proj.weight", "attn_v.weight", "keys hidden"),
    rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries"),
)
RULES: tuple[Rule, ...] = (
    *OUTER_RULES,
    *layer_rules(
        "model.layers.{layer}.",
        *ATTENTION_RULES,
        rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden", AddOne()),
        *qwen2.FEED_FORWARD_RULES,
    ),
)

DEFAULTS = {
    "vocab_size": 256000,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
}

END_OF_TURN = 107  # the token's number in every vocabulary of this family


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "context_length": config.integer("max_position_embeddings"),
        "embedding_length": sizes["hidden"],
        "block_count": sizes["layers"],
        "feed_forward_length": sizes["feed_forward"],
        "attention.head_count": sizes["heads"],
        "attention.head_count_kv": sizes["kv_heads"],
        "attention.layer_norm_rms_epsilon": config.number("rms_norm_eps"),
        "attention.key_length": sizes["head_dim"],
        "attention.value_length": sizes["head_dim"],
        **unusual_base(config),
    }


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_activation", *GELU),
        *unlike(config, "use_bidirectional_attention", False),
        *rope_problems(config),
    ]


def without_space_prefix(config: Config, tokenizer: Metadata) -> Metadata:
    return {**tokenizer, "tokenizer.ggml.add_space_prefix": False}


def adjust_vocabulary(config: Config, tokenizer: Metadata) -> Metadata:
    return {**without_space_prefix(config, tokenizer), "tokenizer.ggml.eot_token_id": END_OF_TURN}


ARCHITECTURE = Architecture(
    name="gemma",
    classes=("GemmaForCausalLM",),
    rules=RULES,
    metadata=metadata,
    defaults={**DEFAULTS, "num_key_value_heads": 16},
    prefixes=llama.PREFIXES,
    ignored=IGNORED,
    problems=problems,
    adjust_vocabulary=adjust_vocabulary,
)
