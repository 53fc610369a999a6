"""Qwen 1.5, 2 and 2.5, and the embedding models made of them."""

from __future__ import annotations

from typing import Any

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.architectures import llama
from llmasos.conversion.config import Config
from llmasos.conversion.exporting.configuration import bias_config, common_config
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import SILU, rope_problems, unlike
from llmasos.conversion.pooling import pooling_metadata
from llmasos.conversion.rules import Rule, Sizes, layer_rules, rule, with_bias
from llmasos.errors import BadInputError

ATTENTION_RULES = (
    rule("input_layernorm.weight", "attn_norm.weight", "hidden"),
    *with_bias(rule("self_attn.q_proj.weight", "attn_q.weight", "queries hidden")),
    *with_bias(rule("self_attn.k_proj.weight", "attn_k.weight", "keys hidden")),
    *with_bias(rule("self_attn.v_proj.weight", "attn_v.weight", "keys hidden")),
    rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries"),
    rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden"),
)
FEED_FORWARD_RULES = (
    rule("mlp.gate_proj.weight", "ffn_gate.weight", "feed_forward hidden"),
    rule("mlp.up_proj.weight", "ffn_up.weight", "feed_forward hidden"),
    rule("mlp.down_proj.weight", "ffn_down.weight", "hidden feed_forward"),
)
RULES: tuple[Rule, ...] = (
    *llama.OUTER_RULES,
    *layer_rules("model.layers.{layer}.", *ATTENTION_RULES, *FEED_FORWARD_RULES),
)

DEFAULTS = {
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_window_layers": 28,
}


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {**common_metadata(config, sizes), "attention.head_count_kv": sizes["kv_heads"]}


def problems(config: Config) -> list[str]:
    return [*shared_problems(config), *_window_problems(config)]


def shared_problems(config: Config) -> list[str]:
    """Those of the whole family; what layers have a window differs within it."""
    return [*unlike(config, "hidden_act", *SILU), *rope_problems(config, "linear", "yarn", "dynamic")]


def _window_problems(config: Config) -> list[str]:
    """A problem if layers have a sliding window: the first `max_window_layers` have none, even if windows are used."""
    found, kinds = unlike(config, "use_sliding_window", False), config.get("layer_types")
    if not found:
        return []
    if isinstance(kinds, list):
        return found if "sliding_attention" in kinds else []
    windowless = config.integer("max_window_layers") if config.get("max_window_layers") else 0
    return found if windowless < config.integer("num_hidden_layers") else []


def config_of(described: Described) -> dict[str, Any]:
    """The family's attention always has a bias for queries, keys and values."""
    if not has_biases(described):
        raise BadInputError("attn_q, attn_k and attn_v have no bias, which every Qwen 2 has")
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "use_sliding_window": False,
        **common_config(described),
    }


def has_biases(described: Described) -> bool:
    """Whether queries, keys and values have a bias. Raises BadInputError if only some have."""
    return bias_config(described, "attention_bias", ("attn_q", "attn_k", "attn_v"))["attention_bias"]


ARCHITECTURE = Architecture(
    name="qwen2",
    classes=("Qwen2ForCausalLM", "Qwen2Model"),
    rules=RULES,
    metadata=metadata,
    defaults=DEFAULTS,
    prefixes=llama.PREFIXES,
    problems=problems,
    folder_metadata=pooling_metadata,
    config_of=config_of,
)
