"""OLMo 2, and OLMo 3, which adds a sliding window to three layers of four."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture, Metadata
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import SILU, rope_problems, uneven_heads, unlike
from llmasos.conversion.rules import Sizes, layer_rules, rule
from llmasos.errors import BadInputError

RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    rule("model.norm.weight", "output_norm.weight", "hidden"),
    rule("lm_head.weight", "output.weight", "vocab hidden"),
    *layer_rules(
        "model.layers.{layer}.",
        rule("self_attn.q_proj.weight", "attn_q.weight", "queries hidden"),
        rule("self_attn.k_proj.weight", "attn_k.weight", "keys hidden"),
        rule("self_attn.v_proj.weight", "attn_v.weight", "keys hidden"),
        rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries"),
        rule("self_attn.q_norm.weight", "attn_q_norm.weight", "queries"),
        rule("self_attn.k_norm.weight", "attn_k_norm.weight", "keys"),
        rule("post_attention_layernorm.weight", "post_attention_norm.weight", "hidden"),
        rule("mlp.gate_proj.weight", "ffn_gate.weight", "feed_forward hidden"),
        rule("mlp.up_proj.weight", "ffn_up.weight", "feed_forward hidden"),
        rule("mlp.down_proj.weight", "ffn_down.weight", "hidden feed_forward"),
        rule("post_feedforward_layernorm.weight", "post_ffw_norm.weight", "hidden"),
    ),
)


def metadata(config: Config, sizes: Sizes) -> Metadata:
    common = {**common_metadata(config, sizes), "attention.head_count_kv": sizes["kv_heads"]}
    if config.get("sliding_window") is None:
        return common
    return {
        **common,
        "attention.sliding_window": config.integer("sliding_window"),
        "attention.sliding_window_pattern": has_window(config, sizes["layers"]),
    }


def has_window(config: Config, layers: int) -> list[bool]:
    """Which layers look back no farther than the sliding window; unless told, all but every fourth."""
    kinds = config.get("layer_types")
    if kinds is None:
        return [(layer + 1) % 4 != 0 for layer in range(layers)]
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise BadInputError(f"config.json has `layer_types` that are no list of {layers}")
    return [kind == "sliding_attention" for kind in kinds]


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_act", *SILU),
        *unlike(config, "attention_bias", False),
        *uneven_heads(config),
        *rope_problems(config, "linear", "yarn"),
    ]


DEFAULTS = {
    "vocab_size": 50304,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
OLMO2 = Architecture(
    name="olmo2",
    classes=("Olmo2ForCausalLM",),
    rules=RULES,
    metadata=metadata,
    defaults=DEFAULTS,
    problems=problems,
)
OLMO3 = Architecture(
    name="olmo2",
    classes=("Olmo3ForCausalLM",),
    rules=RULES,
    metadata=metadata,
    defaults={**DEFAULTS, "rope_theta": 500000.0, "local_rope_theta": 500000.0, "sliding_window": 4096},
    problems=problems,
)
ARCHITECTURES = (OLMO2, OLMO3)
