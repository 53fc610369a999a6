"""Which type a mix gives to which kind of tensor: llama.cpp's rules (src/llama-quant.cpp), as tables.

A mix that stands in no table of a tensor's kind gives that tensor its main type. Of a mix's cases the first one holds
whose condition does; if none does, again the main type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the choice of types asks of a model. Numbers of heads are those of the first layer."""

    architecture: str
    layer_count: int  # with those that predict further tokens
    head_count: int
    kv_head_count: int
    expert_count: int = 0
    next_token_layers: int = 0

    @property
    def heads_a_group(self) -> int:
        """Query heads that share a key and a value."""
        return self.head_count // self.kv_head_count if self.kv_head_count else 0

    @property
    def is_70b(self) -> bool:
        """True for what llama.cpp's loader takes for a 70B model: it goes by the number of layers."""
        layers = self.layer_count - self.next_token_layers
        if self.architecture in ("llama", "llama-embed"):
            return layers == 80 and self.expert_count != 8 and self.head_count != self.kv_head_count
        return layers == {"qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}.get(self.architecture)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands among the `count` of its kind, from 0, and in what model."""

    index: int
    count: int
    facts: ModelFacts
    has_importance: bool


Condition = Callable[[Place], bool]
Cases = tuple[tuple[Condition, str], ...]
Table = Mapping[str, Cases]


def always(place: Place) -> bool:
    return True


def is_grouped(place: Place) -> bool:
    """Values are shared by so many queries that they are small, and worth more bits."""
    return place.facts.heads_a_group >= 4


def is_grouped_or_expert(place: Place) -> bool:
    return is_grouped(place) or place.facts.expert_count >= 4


def has_eight_experts(place: Place) -> bool:
    return place.facts.expert_count == 8


def in_first_eighth(place: Place) -> bool:
    return place.index < place.count // 8


def in_first_sixteenth(place: Place) -> bool:
    return place.index < place.count // 16


def among_first_two(place: Place) -> bool:
    return place.index < 2


def among_first_four(place: Place) -> bool:
    return place.index < 4


def in_middle(place: Place) -> bool:
    return place.count // 8 <= place.index < 7 * place.count // 8


def earns_more_bits(place: Place) -> bool:
    """The first and the last eighth, and every third between them."""
    return not in_middle(place) or (place.index - place.count // 8) % 3 == 2


def is_unweighted(place: Place) -> bool:
    return not place.has_importance


def is_unweighted_in_first_eighth(place: Place) -> bool:
    return is_unweighted(place) and in_first_eighth(place)


def is_weighted_in_first_eighth(place: Place) -> bool:
    return place.has_importance and in_first_eighth(place)


def is_early_or_eight_experts(place: Place) -> bool:
    return in_first_eighth(place) or (has_eight_experts(place) and earns_more_bits(place))


def only(tensor_type: str) -> Cases:
    return ((always, tensor_type),)


# Mixes of at most 2.7 bits a weight have rules of their own.
TINY = frozenset(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"))

OUTPUT: Table = {mix: only("Q5_K") for mix in (*TINY, "IQ3_XXS")}

TOKEN_EMBEDDING: Table = {
    **{mix: only("Q2_K") for mix in ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS")},
    **{mix: only("IQ3_S") for mix in ("IQ2_S", "IQ2_M", "IQ3_XXS")},
    **{mix: only("Q4_K") for mix in ("TQ1_0", "TQ2_0", "Q2_0")},
}

ATTENTION_VALUE: Table = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), ((is_grouped_or_expert, "Q4_K"), (always, "Q2_K"))),
    **dict.fromkeys(("IQ2_S", "IQ2_M"), ((is_grouped_or_expert, "Q4_K"), (always, "IQ3_S"))),
    "Q2_K": ((is_grouped, "Q4_K"), (always, "Q3_K")),
    **dict.fromkeys(("Q2_K_S", "IQ3_XS", "IQ3_S"), ((is_grouped, "Q4_K"),)),
    "IQ3_XXS": ((is_grouped, "Q4_K"), (is_unweighted, "IQ3_S")),
    "IQ3_M": only("Q4_K"),
    "Q3_K_M": ((among_first_two, "Q5_K"), (always, "Q4_K")),
    "Q3_K_L": only("Q5_K"),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS"), ((is_grouped, "Q5_K"),)),
    "Q4_K_S": ((among_first_four, "Q5_K"),),
    **dict.fromkeys(("Q4_K_M", "Q5_K_M"), ((earns_more_bits, "Q6_K"),)),
}

ATTENTION_KEY: Table = {
    **dict.fromkeys(TINY, ((has_eight_experts, "Q4_K"),)),
    "IQ3_XS": only("IQ3_XXS"),
    "IQ3_XXS": only("IQ2_S"),
}

ATTENTION_QUERY: Table = {"IQ3_XS": only("IQ3_XXS"), "IQ3_XXS": only("IQ2_S")}

ATTENTION_OUTPUT: Table = {
    **dict.fromkeys(("IQ1_S", "IQ1_M"), ((has_eight_experts, "Q5_K"), (always, "IQ2_XXS"))),
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS"), ((has_eight_experts, "Q5_K"),)),
    **dict.fromkeys(("IQ2_S", "IQ2_M"), ((has_eight_experts, "Q5_K"), (always, "IQ3_S"))),
    **dict.fromkeys(
        ("IQ3_XS", "IQ3_S", "IQ4_NL", "IQ4_XS", "Q3_K_S", "Q4_K_S", "Q4_K_M"), ((has_eight_experts, "Q5_K"),)
    ),
    "Q2_K": ((has_eight_experts, "Q5_K"), (always, "Q3_K")),
    "IQ3_XXS": ((has_eight_experts, "Q5_K"), (always, "IQ3_S")),
    "Q3_K_M": ((has_eight_experts, "Q5_K"), (always, "Q4_K")),
    "Q3_K_L": ((lambda place: not has_eight_experts(place), "Q5_K"),),
    "IQ3_M": ((has_eight_experts, "Q5_K"), (always, "Q4_K")),
}

FEED_FORWARD_DOWN: Table = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), ((in_first_eighth, "Q2_K"),)),
    **dict.fromkeys(("IQ2_S", "IQ2_M"), ((in_first_eighth, "IQ3_S"),)),
    "Q2_K": only("Q3_K"),
    "Q2_K_S": ((in_first_eighth, "Q4_K"),),
    "IQ3_XXS": ((is_unweighted_in_first_eighth, "Q4_K"), (is_unweighted, "Q3_K")),
    "IQ3_M": ((is_early_or_eight_experts, "Q4_K"),),
    "Q3_K_M": ((in_first_sixteenth, "Q5_K"), (always, "Q4_K")),
    "Q3_K_L": only("Q5_K"),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS"), ((is_unweighted_in_first_eighth, "Q5_K"),)),
    "Q4_0": ((is_weighted_in_first_eighth, "Q4_1"),),
    "Q5_0": ((is_weighted_in_first_eighth, "Q5_1"),),
    "Q4_K_S": ((in_first_eighth, "Q5_K"),),
    **dict.fromkeys(("Q4_K_M", "Q5_K_M"), ((earns_more_bits, "Q6_K"),)),
}

FEED_FORWARD_IN: Table = {"IQ3_XS": ((in_middle, "IQ3_XXS"),)}  # gate and up

# Falcon departs from the tables above; a mix that is missing here keeps to them for `down`, to its main type elsewhere.
FALCON_ATTENTION_OUTPUT: Table = {"Q3_K_L": only("Q4_K")}
FALCON_DOWN: Table = {
    **FEED_FORWARD_DOWN,
    "Q3_K_M": ((in_first_sixteenth, "Q5_K"), (earns_more_bits, "Q4_K")),
    "Q3_K_L": only("Q4_K"),
    "Q4_K_M": ((in_first_sixteenth, "Q6_K"), (earns_more_bits, "Q5_K")),
    "Q4_K_S": (),
}

# What a type gives way to where its blocks don't divide the rows; F16 where that one's don't either.
FALL_BACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}

# Parts of names of tensors that stay as they are: norms, routers, positions, and matrices too small to matter.
NEVER_QUANTIZED = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
    *(f"time_mix_{each}.weight" for each in (
        "first", "w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2", "decay_w1", "decay_w2", "lerp_fused",
    )),
    "attn_rel_b.weight", ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd",
    ".patch_merger", "a.rvq.codebook", "mm.a.code_embd",
)  # fmt: skip
NEVER_QUANTIZED_NAMES = ("position_embd.weight", "token_types.weight")
NEVER_QUANTIZED_IN_GLM5_NEXT = (
    "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate", "indexer_compressor_ape",
    "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight", "ssm_beta.weight", "attn_kv_a_mqa.weight",
    "attn_k_b.weight", "attn_v_b.weight",
)  # fmt: skip
EIGHT_BITS_IN_GLM5_NEXT = ("attn_q_a", "attn_q_b", "nextn.eh_proj")
