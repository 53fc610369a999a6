"""Gemma 2: norms before and after, every other layer with a sliding window, capped logits."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.architectures import gemma, llama, qwen2
from llmasos.conversion.config import Config
from llmasos.conversion.limits import unlike
from llmasos.conversion.rules import AddOne, Rule, Sizes, layer_rules, rule

LAYER_RULES = (
    *gemma.ATTENTION_RULES,
    rule("post_attention_layernorm.weight", "post_attention_norm.weight", "hidden", AddOne()),
    rule("pre_feedforward_layernorm.weight", "ffn_norm.weight", "hidden", AddOne()),
    *qwen2.FEED_FORWARD_RULES,
    rule("post_feedforward_layernorm.weight", "post_ffw_norm.weight", "hidden", AddOne()),
)
RULES: tuple[Rule, ...] = (*gemma.OUTER_RULES, *layer_rules("model.layers.{layer}.", *LAYER_RULES))


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        **gemma.metadata(config, sizes),
        "attn_logit_softcapping": config.number("attn_logit_softcapping"),
        "final_logit_softcapping": config.number("final_logit_softcapping"),
        "attention.sliding_window": config.integer("sliding_window"),
    }


def problems(config: Config) -> list[str]:
    return [
        *gemma.problems(config),
        *scale_problems(config, layers_of_27b=46),
        *window_problems(config, every=2),
    ]


def scale_problems(config: Config, *, layers_of_27b: int) -> list[str]:
    """llama.cpp divides attention by the root of a head's width, save in the model that it knows by its layers."""
    is_27b = config.integer("num_hidden_layers") == layers_of_27b
    share = config.integer("hidden_size") // config.integer("num_attention_heads")
    return unlike(config, "query_pre_attn_scalar", share if is_27b else config.head_dim)


def window_problems(config: Config, *, every: int) -> list[str]:
    """llama.cpp lets the last of every so many layers attend to everything, and gives the others a window."""
    pattern = ["full_attention" if layer % every == 0 else "sliding_attention" for layer in range(1, every + 1)]
    layers = config.integer("num_hidden_layers")
    return unlike(config, "layer_types", (pattern * layers)[:layers])


ARCHITECTURE = Architecture(
    name="gemma2",
    classes=("Gemma2ForCausalLM",),
    rules=RULES,
    metadata=metadata,
    defaults={
        **gemma.DEFAULTS,
        "num_key_value_heads": 4,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
    },
    prefixes=llama.PREFIXES,
    ignored=gemma.IGNORED,
    problems=problems,
    adjust_vocabulary=gemma.without_space_prefix,
)
