"""StarCoder 2."""

from __future__ import annotations

from llmasos.conversion.architecture import Architecture
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import GELU, rope_problems, uneven_heads, unlike, window_notes
from llmasos.conversion.rules import layer_rules, rule, with_bias

RULES = (
    rule("model.embed_tokens.weight", "token_embd.weight", "vocab hidden"),
    *with_bias(rule("model.norm.weight", "output_norm.weight", "hidden"), optional=False),
    rule("lm_head.weight", "output.weight", "vocab hidden", optional=True),
    *layer_rules(
        "model.layers.{layer}.",
        *with_bias(rule("input_layernorm.weight", "attn_norm.weight", "hidden"), optional=False),
        *with_bias(rule("self_attn.q_proj.weight", "attn_q.weight", "queries hidden"), optional=False),
        *with_bias(rule("self_attn.k_proj.weight", "attn_k.weight", "keys hidden"), optional=False),
        *with_bias(rule("self_attn.v_proj.weight", "attn_v.weight", "keys hidden"), optional=False),
        *with_bias(rule("self_attn.o_proj.weight", "attn_output.weight", "hidden queries"), optional=False),
        *with_bias(rule("post_attention_layernorm.weight", "ffn_norm.weight", "hidden"), optional=False),
        *with_bias(rule("mlp.c_fc.weight", "ffn_up.weight", "feed_forward hidden"), optional=False),
        *with_bias(rule("mlp.c_proj.weight", "ffn_down.weight", "hidden feed_forward"), optional=False),
    ),
)


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_act", *GELU),
        *unlike(config, "use_bias", True),
        *uneven_heads(config),
        *rope_problems(config, "linear", "yarn"),
    ]


ARCHITECTURE = Architecture(
    name="starcoder2",
    classes=("Starcoder2ForCausalLM",),
    rules=RULES,
    metadata=common_metadata,
    defaults={
        "vocab_size": 49152,
        "hidden_size": 3072,
        "intermediate_size": 12288,
        "num_hidden_layers": 30,
        "num_attention_heads": 24,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "norm_epsilon": 1e-5,
        "rope_theta": 10000.0,
    },
    problems=problems,
    notes=window_notes,
)
