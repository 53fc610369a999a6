"""Gemma 3, and the text half of those of its models that see."""

from __future__ import annotations

from typing import Any

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.architectures import gemma, gemma2, llama
from llmasos.conversion.config import Config
from llmasos.conversion.exporting.configuration import DEFAULT_BASE, common_config, head_dim_of, softcap_config
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import GELU, rope_problems, unlike
from llmasos.conversion.rules import AddOne, Rule, Sizes, layer_rules, rule

RULES: tuple[Rule, ...] = (
    *gemma.OUTER_RULES,
    rule("lm_head.weight", "output.weight", "vocab hidden", optional=True),
    *layer_rules(
        "model.layers.{layer}.",
        *gemma2.LAYER_RULES,
        rule("self_attn.q_norm.weight", "attn_q_norm.weight", "head_dim", AddOne()),
        rule("self_attn.k_norm.weight", "attn_k_norm.weight", "head_dim", AddOne()),
    ),
)

# The text half has stood in two places within the whole.
PREFIXES = {
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "model.language_model.": "model.",
    "language_model.": "model.",
    **llama.PREFIXES,
}
VISION = ("*vision_tower.*", "*vision_model.*", "*multi_modal_projector.*")

# Checkpoints that see leave most of this out of their `text_config`.
DEFAULTS = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 256,
}


EVERY_LAYER = 1  # as `sliding_window_pattern`: all attend to everything
WINDOW_PATTERN = 6  # the last of so many layers attends to everything, the others have a window
LAYERS_OF_27B = 62


def metadata(config: Config, sizes: Sizes) -> Metadata:
    metadata = {**common_metadata(config, sizes), "attention.head_count_kv": sizes["kv_heads"]}
    if config.get("final_logit_softcapping"):
        metadata["final_logit_softcapping"] = config.number("final_logit_softcapping")
    if config.get("sliding_window_pattern") != EVERY_LAYER:
        metadata["attention.sliding_window"] = config.integer("sliding_window")
    return metadata


def problems(config: Config) -> list[str]:
    windows = config.get("sliding_window_pattern") != EVERY_LAYER
    return [
        *unlike(config, "hidden_activation", *GELU),
        *unlike(config, "attn_logit_softcapping", 0),
        *unlike(config, "use_bidirectional_attention", False),
        *unlike(config, "sliding_window_pattern", EVERY_LAYER, WINDOW_PATTERN),
        *gemma2.scale_problems(config, layers_of_27b=LAYERS_OF_27B),
        *(gemma2.window_problems(config, every=WINDOW_PATTERN) if windows else ()),
        *rope_problems(config, "linear"),
    ]


def adjust_vocabulary(config: Config, tokenizer: Metadata) -> Metadata:
    """Only SentencePiece's way of cutting text puts a space in front that has to be told not to."""
    spaced = tokenizer.get("tokenizer.ggml.model") == "llama"
    return gemma.without_space_prefix(config, tokenizer) if spaced else tokenizer


def config_of(described: Described) -> dict[str, Any]:
    """Of the text half. What llama.cpp knows without being told is written out: layers with a window, the scale."""
    config = {"head_dim": head_dim_of(described), **common_config(described)}
    layers, windowed = config["num_hidden_layers"], described.get("attention.sliding_window") is not None
    share = config["hidden_size"] // config["num_attention_heads"]
    local_base = described.get("rope.freq_base_swa") is not None
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        **config,
        "query_pre_attn_scalar": share if layers == LAYERS_OF_27B else config["head_dim"],
        "rope_local_base_freq": described.number("rope.freq_base_swa") if local_base else DEFAULT_BASE,
        "sliding_window_pattern": WINDOW_PATTERN if windowed else EVERY_LAYER,
        "layer_types": [
            "sliding_attention" if windowed and layer % WINDOW_PATTERN else "full_attention"
            for layer in range(1, layers + 1)
        ],
        **({"sliding_window": described.integer("attention.sliding_window")} if windowed else {}),
        **softcap_config(described, "final_logit_softcapping"),
    }


ARCHITECTURE = Architecture(
    name="gemma3",
    classes=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    rules=RULES,
    metadata=metadata,
    defaults=DEFAULTS,
    prefixes=PREFIXES,
    ignored=VISION,
    problems=problems,
    adjust_vocabulary=adjust_vocabulary,
    config_of=config_of,
)
