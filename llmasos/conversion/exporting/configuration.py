"""From the keys of a GGUF to those of `config.json`: the inverse of `conversion.hyperparameters`."""

from __future__ import annotations

from typing import Any

from llmasos.conversion.exporting.described import Described
from llmasos.errors import BadInputError

YARN = {
    "rope.scaling.yarn_ext_factor": "extrapolation_factor",
    "rope.scaling.yarn_attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
# Keys that have a place in `config.json`, or that say nothing which isn't known without them.
UNDERSTOOD = frozenset((
    "block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon", "attention.sliding_window", "final_logit_softcapping", "rope.dimension_count",
    "rope.freq_base", "rope.freq_base_swa", "rope.scaling.type", "rope.scaling.factor",
    "rope.scaling.original_context_length", *YARN,
))  # fmt: skip
DEFAULT_BASE = 10000.0  # llama.cpp's, where the metadata gives none


def common_config(described: Described) -> dict[str, Any]:
    """What the families with rotary embeddings, RMS norms and gated layers share.

    Raises BadInputError for values that no such `config.json` can hold.
    """
    heads = described.integer("attention.head_count")
    kv_heads = described.integer("attention.head_count_kv") if _states(described, "attention.head_count_kv") else heads
    head_dim = head_dim_of(described)
    if described.get("attention.value_length", head_dim) != head_dim:
        raise BadInputError("keys and values have different widths, which no checkpoint of this family can have")
    if described.get("rope.dimension_count", head_dim) != head_dim:
        raise BadInputError("only a part of each head rotates, which no checkpoint of this family can say")
    return {
        "hidden_size": described.integer("embedding_length"),
        "intermediate_size": described.integer("feed_forward_length"),
        "num_hidden_layers": described.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        **({"head_dim": head_dim} if _states(described, "attention.key_length") else {}),
        "max_position_embeddings": described.integer("context_length"),
        "rms_norm_eps": described.number("attention.layer_norm_rms_epsilon"),
        "vocab_size": described.sizes["vocab"],
        "tie_word_embeddings": "output.weight" not in described.tensors,
        **rope_config(described),
    }


def head_dim_of(described: Described) -> int:
    """The width of an attention head: stated, or the model's width shared among the heads."""
    if _states(described, "attention.key_length"):
        return described.integer("attention.key_length")
    return described.integer("embedding_length") // described.integer("attention.head_count")


def rope_config(described: Described) -> dict[str, Any]:
    """The rotary embedding: its base, and how it is stretched over a longer context.

    Raises BadInputError for a way of stretching that is neither linear nor YaRN.
    """
    has_base = _states(described, "rope.freq_base")
    config: dict[str, Any] = {"rope_theta": described.number("rope.freq_base") if has_base else DEFAULT_BASE}
    kind = described.get("rope.scaling.type", "none")
    if kind == "none":
        return config
    if kind not in ("linear", "yarn"):
        raise BadInputError(f"the rotary embedding is stretched by `{kind}`, which can't be exported")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": described.number("rope.scaling.factor")}
    if kind == "yarn":
        for key, name in YARN.items():
            if _states(described, key):
                scaling[name] = described.number(key)
        if _states(described, "rope.scaling.original_context_length"):
            length = described.integer("rope.scaling.original_context_length")
            scaling["original_max_position_embeddings"] = length
    return {**config, "rope_scaling": scaling}


def bias_config(described: Described, name: str, parts: tuple[str, ...]) -> dict[str, bool]:
    """Whether those parts of a layer (`attn_q`, …) have a bias; all of them or none.

    Raises BadInputError if only some have one: then it can't be said by one flag.
    """
    wanted = {f"blk.{layer}.{part}.bias" for layer in range(described.sizes["layers"]) for part in parts}
    found = wanted & set(described.tensors)
    if found and found != wanted:
        raise BadInputError(f"some of {', '.join(parts)} have a bias and some have none, as `{name}` can't say")
    return {name: bool(found)}


def softcap_config(described: Described, key: str) -> dict[str, float]:
    """The bound that logits are bent to, if there is one: the same name in both worlds."""
    return {key: described.number(key)} if described.get(key) else {}


def _states(described: Described, key: str) -> bool:
    return described.get(key) is not None
