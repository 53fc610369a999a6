"""GPT-2 and DistilGPT-2."""

from __future__ import annotations

from typing import Any

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.limits import GELU, unlike
from llmasos.conversion.rules import Sizes, Transpose, layer_rules, rule, with_bias

RULES = (
    rule("transformer.wte.weight", "token_embd.weight", "vocab hidden"),
    rule("transformer.wpe.weight", "position_embd.weight", "context hidden"),
    *with_bias(rule("transformer.ln_f.weight", "output_norm.weight", "hidden"), optional=False),
    rule("lm_head.weight", "output.weight", "vocab hidden", optional=True),
    *layer_rules(
        "transformer.h.{layer}.",
        *with_bias(rule("ln_1.weight", "attn_norm.weight", "hidden"), optional=False),
        rule("attn.c_attn.weight", "attn_qkv.weight", "hidden 3*hidden", Transpose()),
        rule("attn.c_attn.bias", "attn_qkv.bias", "3*hidden"),
        rule("attn.c_proj.weight", "attn_output.weight", "hidden hidden", Transpose()),
        rule("attn.c_proj.bias", "attn_output.bias", "hidden"),
        *with_bias(rule("ln_2.weight", "ffn_norm.weight", "hidden"), optional=False),
        rule("mlp.c_fc.weight", "ffn_up.weight", "hidden feed_forward", Transpose()),
        rule("mlp.c_fc.bias", "ffn_up.bias", "feed_forward"),
        rule("mlp.c_proj.weight", "ffn_down.weight", "feed_forward hidden", Transpose()),
        rule("mlp.c_proj.bias", "ffn_down.bias", "hidden"),
    ),
)

# openai-community's files leave out what every name begins with.
PREFIXES = {name: f"transformer.{name}" for name in ("wte.", "wpe.", "h.", "ln_f.")}


def sizes(config: Config) -> dict[str, int]:
    hidden = config.integer("n_embd", "hidden_size")
    return {
        "layers": config.integer("n_layer", "num_hidden_layers"),
        "hidden": hidden,
        "vocab": config.integer("vocab_size"),
        "context": config.integer("n_positions", "n_ctx"),
        "feed_forward": config.integer("n_inner") if config.get("n_inner") else 4 * hidden,
    }


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        "block_count": sizes["layers"],
        "context_length": sizes["context"],
        "embedding_length": sizes["hidden"],
        "feed_forward_length": sizes["feed_forward"],
        "attention.head_count": config.integer("n_head", "num_attention_heads"),
        "attention.layer_norm_epsilon": config.number("layer_norm_epsilon"),
    }


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "activation_function", *GELU),
        *unlike(config, "scale_attn_weights", True),
        *unlike(config, "scale_attn_by_inverse_layer_idx", False),
        *unlike(config, "add_cross_attention", False),
    ]


def config_of(described: Described) -> dict[str, Any]:
    hidden, inner = described.integer("embedding_length"), described.integer("feed_forward_length")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_positions": described.sizes["context"],
        "n_ctx": described.sizes["context"],
        "n_embd": hidden,
        "n_inner": None if inner == 4 * hidden else inner,
        "n_layer": described.integer("block_count"),
        "n_head": described.integer("attention.head_count"),
        "layer_norm_epsilon": described.number("attention.layer_norm_epsilon"),
        "vocab_size": described.sizes["vocab"],
        "tie_word_embeddings": "output.weight" not in described.tensors,
    }


ARCHITECTURE = Architecture(
    name="gpt2",
    classes=("GPT2LMHeadModel", "GPT2Model"),
    rules=RULES,
    metadata=metadata,
    sizes=sizes,
    defaults={
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "layer_norm_epsilon": 1e-5,
    },
    prefixes=PREFIXES,
    problems=problems,
    config_of=config_of,
)
