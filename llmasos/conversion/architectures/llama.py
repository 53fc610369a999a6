"""Llama 2, 3, 3.1, 3.2, SmolLM2, TinyLlama and what else has their shape."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.exporting.configuration import bias_config, common_config
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import SILU, rope_problems, unlike
from llmasos.conversion.rules import PairRotated, Rule, Sizes, layer_rules, rule, with_bias
from llmasos.errors import BadInputError
from llmasos.formats.floats import Array, as_float32

OUTER_RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    rule("model.norm.weight", "output_norm.weight", "hidden"),
    rule("lm_head.weight", "output.weight", "vocab hidden", optional=True),
)
ATTENTION_RULES = (
    rule("input_layernorm.weight", "attn_norm.weight", "hidden"),
    *with_bias(rule("self_attn.q_proj.weight", "attn_q.weight", "queries hidden", PairRotated("heads"))),
    *with_bias(rule("self_attn.k_proj.weight", "attn_k.weight", "keys hidden", PairRotated("kv_heads"))),
    *with_bias(rule("self_attn.v_proj.weight", "attn_v.weight", "keys hidden")),
    *with_bias(rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries")),
    rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden"),
)
FEED_FORWARD_RULES = (
    *with_bias(rule("mlp.gate_proj.weight", "ffn_gate.weight", "feed_forward hidden")),
    *with_bias(rule("mlp.up_proj.weight", "ffn_up.weight", "feed_forward hidden")),
    *with_bias(rule("mlp.down_proj.weight", "ffn_down.weight", "hidden feed_forward")),
)
RULES: tuple[Rule, ...] = (
    *OUTER_RULES,
    *layer_rules("model.layers.{layer}.", *ATTENTION_RULES, *FEED_FORWARD_RULES),
)

# Without its head a model's tensors begin with what stands in it.
PREFIXES = {"layers.": "model.layers.", "embed_tokens.": "model.embed_tokens.", "norm.": "model.norm."}

DEFAULTS = {
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}

ROPE_FACTORS = "rope_freqs.weight"
# What Llama 3.1's way of stretching has been published with (the first of each), and what fine-tunes made of it.
FACTORS, HIGH_FACTORS = (8.0, 32.0, 16.0, 4.0, 2.0, 64.0), (4.0, 2.0, 8.0, 16.0, 32.0)
OLD_LENGTHS = (8192, 4096, 2048, 16384, 32768, 65536, 131072)

CODE_LLAMA_VOCABULARY, CODE_LLAMA_END = 32016, 32010  # the token that ends what fills a gap
VOCABULARY_WITHOUT_BEGINNING = 49152  # SmolLM2's and Granite's: a text begins with nothing


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        **head_metadata(config, sizes),
        "attention.key_length": sizes["head_dim"],
        "attention.value_length": sizes["head_dim"],
    }


def head_metadata(config: Config, sizes: Sizes) -> Metadata:
    """What also those of the family say that need not state the width of their heads."""
    return {
        **common_metadata(config, sizes),
        "attention.head_count_kv": sizes["kv_heads"],
        "vocab_size": sizes["vocab"],
        "rope.dimension_count": sizes["head_dim"],
    }


def rope_factors(config: Config, sizes: Sizes) -> dict[str, Array]:
    """What Llama 3.1 divides each rotary frequency by, (head_dim / 2,), float32; nothing for other models.

    Long waves are slowed by `factor`, short ones are left, and between the two it changes smoothly. Source: the Llama
    3.1 model code, `apply_scaling`. Rounded to float32 where PyTorch rounds, whose division of a number by a tensor is
    a product with the reciprocal.
    """
    rope = config.rope
    if str(rope.get("rope_type", "")).lower() != "llama3":
        return {}
    low, high = rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0)
    old_length = rope.get("original_max_position_embeddings", 8192)
    if not 0 < low < high:
        raise BadInputError("config.json has a `high_freq_factor` that isn't above its `low_freq_factor`")
    one, factor, base = np.float32(1), np.float32(rope.get("factor", 8.0)), np.float32(rope.get("rope_theta", 10000.0))
    if factor <= 0 or base <= 0:
        raise BadInputError("config.json stretches the rotary embedding by numbers that aren't above 0")
    exponents = np.arange(0, sizes["head_dim"], 2, dtype=np.float32) / np.float32(sizes["head_dim"])
    frequencies = one / np.power(base, exponents, dtype=np.float64).astype(np.float32)
    wavelengths = one / frequencies * np.float32(2 * math.pi)
    waves = one / wavelengths * np.float32(old_length)  # in the context that the model first learned
    smooth = (waves - np.float32(low)) / np.float32(high - low)
    slowed = np.clip(smooth, 0, 1)  # what is outside is not used, and mustn't divide by 0
    between = one / ((one - slowed) / factor + slowed)
    short, long = wavelengths < np.float32(old_length / high), wavelengths > np.float32(old_length / low)
    return {ROPE_FACTORS: np.where(short, one, np.where(long, factor, between))}


def config_of(described: Described) -> dict[str, Any]:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        **common_config(described),
        **bias_config(described, "attention_bias", ("attn_q", "attn_k", "attn_v", "attn_output")),
        **bias_config(described, "mlp_bias", ("ffn_gate", "ffn_up", "ffn_down")),
    }
    return config | _llama3_scaling(described, config["rope_theta"]) if ROPE_FACTORS in described.tensors else config


def _llama3_scaling(described: Described, rope_theta: float) -> dict[str, Any]:
    """The parameters that give the file's factors, bit for bit. Raises BadInputError if none of the known ones do."""
    factors = as_float32(described.read(ROPE_FACTORS)).reshape(-1)
    if (factors == 1).all():
        return {}
    largest = float(factors.max())  # that of the longest waves, if any is long enough
    sizes = {"head_dim": described.sizes["head_dim"]}
    for old_length, high, factor in itertools.product(OLD_LENGTHS, HIGH_FACTORS, (largest, *FACTORS)):
        scaling = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": high,
            "original_max_position_embeddings": old_length,
        }
        made = rope_factors(Config({"rope_theta": rope_theta, "rope_scaling": scaling}), sizes)[ROPE_FACTORS]
        if np.array_equal(made, factors):
            return {"rope_scaling": scaling}
    raise BadInputError(f"no known parameters of Llama 3's rotary embedding give the factors in `{ROPE_FACTORS}`")


def problems(config: Config) -> list[str]:
    """A rope that is `dynamic` is as it always was within the context that the model has learned."""
    return [*unlike(config, "hidden_act", *SILU), *rope_problems(config, "linear", "yarn", "llama3", "dynamic")]


def adjust_vocabulary(config: Config, tokenizer: Metadata) -> Metadata:
    """What the tokenizer's own configuration, and the size of the vocabulary, tell about a family that has many."""
    adjusted = dict(tokenizer)
    stated = config.beside("tokenizer_config.json")
    if isinstance(stated, dict) and stated.get("add_prefix_space") is not None:
        adjusted["tokenizer.ggml.add_space_prefix"] = bool(stated["add_prefix_space"])
    if config.get("vocab_size") == CODE_LLAMA_VOCABULARY:
        adjusted["tokenizer.ggml.eot_token_id"] = CODE_LLAMA_END
    if config.get("vocab_size") == VOCABULARY_WITHOUT_BEGINNING:
        adjusted["tokenizer.ggml.add_bos_token"] = False
    return adjusted


ARCHITECTURE = Architecture(
    name="llama",
    classes=("LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"),
    rules=RULES,
    metadata=metadata,
    defaults=DEFAULTS,
    prefixes=PREFIXES,
    extra_tensors=rope_factors,
    problems=problems,
    adjust_vocabulary=adjust_vocabulary,
    config_of=config_of,
)
