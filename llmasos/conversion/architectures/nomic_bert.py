"""Nomic's embedding models: BERT with a rotary embedding, and from version 2 on with experts in every other layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmasos.conversion.architecture import Architecture, Metadata, common_sizes
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import GELU, uneven_heads, unlike
from llmasos.conversion.pooling import pooling_metadata
from llmasos.conversion.rules import Keep, Rule, Shape, Sizes, layer_rules, rule, with_bias
from llmasos.formats.floats import Array

# (positions, longest text trained on) -> what the model is good for: v1 and v1.5, v2-moe
CONTEXT_LENGTHS = {(8192, 2048): 2048, (2048, 2048): 512}

RULES = (
    rule("embeddings.word_embeddings.weight", "token_embd.weight", "vocab hidden"),
    rule("embeddings.token_type_embeddings.weight", "token_types.weight", "token_types hidden", optional=True),
    *with_bias(rule("emb_ln.weight", "token_embd_norm.weight", "hidden"), optional=False),
    *layer_rules(
        "encoder.layers.{layer}.",
        *with_bias(rule("attn.Wqkv.weight", "attn_qkv.weight", "3*hidden hidden")),
        *with_bias(rule("attn.out_proj.weight", "attn_output.weight", "hidden hidden")),
        *with_bias(rule("norm1.weight", "attn_output_norm.weight", "hidden"), optional=False),
        *with_bias(rule("norm2.weight", "layer_output_norm.weight", "hidden"), optional=False),
    ),
)
GATED = (
    rule("mlp.fc11.weight", "ffn_up.weight", "feed_forward hidden"),
    rule("mlp.fc12.weight", "ffn_gate.weight", "feed_forward hidden"),
    rule("mlp.fc2.weight", "ffn_down.weight", "hidden feed_forward"),
)
PLAIN = (
    *with_bias(rule("mlp.fc1.weight", "ffn_up.weight", "feed_forward hidden")),
    *with_bias(rule("mlp.fc2.weight", "ffn_down.weight", "hidden feed_forward")),
)


@dataclass(frozen=True, slots=True)
class Experts(Keep):
    """Experts that stand below each other in one matrix, (experts * feed_forward, hidden), each by itself."""

    transposed: bool = False  # the matrices that lead back, which are stored the same way

    def apply(self, array: Array, sizes: Sizes) -> Array:
        each = array.reshape(sizes["experts"], -1, array.shape[-1])
        return each.swapaxes(1, 2) if self.transposed else each

    def undo(self, array: Array, sizes: Sizes) -> Array:
        each = array.swapaxes(1, 2) if self.transposed else array
        return each.reshape(-1, each.shape[-1])

    def shape(self, shape: Shape, sizes: Sizes) -> Shape:
        rows, width = shape[0] // sizes["experts"], shape[1]
        return (sizes["experts"], width, rows) if self.transposed else (sizes["experts"], rows, width)


EXPERTS = (
    rule("mlp.router.layer.weight", "ffn_gate_inp.weight", "experts hidden"),
    rule("mlp.experts.mlp.w1", "ffn_up_exps.weight", "experts*feed_forward hidden", Experts()),
    rule("mlp.experts.mlp.w2", "ffn_down_exps.weight", "experts*feed_forward hidden", Experts(transposed=True)),
)


def rules_for(config: Config) -> Sequence[Rule]:
    if not is_routed(config):
        return (*RULES, *layer_rules("encoder.layers.{layer}.", *GATED))
    every, layers = config.integer("moe_every_n_layers"), range(config.integer("num_hidden_layers", "n_layer"))
    return (*RULES, *(each for layer in layers for each in _of_layer(layer, EXPERTS if layer % every == 1 else PLAIN)))


def _of_layer(layer: int, rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of one layer alone, its number written out."""
    return tuple(
        replace(each, source=each.source.format(layer=layer), target=each.target.format(layer=layer))
        for each in layer_rules("encoder.layers.{layer}.", *rules)
    )


def sizes(config: Config) -> dict[str, int]:
    return {
        **common_sizes(config),
        "token_types": config.integer("type_vocab_size"),
        "experts": config.integer("num_experts") if is_routed(config) else 0,
    }


def metadata(config: Config, sizes: Sizes) -> Metadata:
    return {
        **common_metadata(config, sizes),
        **(_head_lengths(sizes) if config.get("hidden_size") is not None else {}),
        "context_length": _context_length(config),
        "attention.causal": False,
        "tokenizer.ggml.token_type_count": sizes["token_types"],
        **(_routing(config, sizes) if is_routed(config) else {}),
    }


def _context_length(config: Config) -> int:
    if config.get("n_positions") is None:
        return config.integer("max_position_embeddings")
    positions = config.integer("n_positions"), config.integer("max_trained_positions")
    return CONTEXT_LENGTHS.get(positions, min(positions))


def _head_lengths(sizes: Sizes) -> Metadata:
    """As transformers' own class states them, to be known by its names of the numbers."""
    return {"attention.key_length": sizes["head_dim"], "attention.value_length": sizes["head_dim"]}


def _routing(config: Config, sizes: Sizes) -> Metadata:
    return {
        "moe_every_n_layers": config.integer("moe_every_n_layers"),
        "expert_count": sizes["experts"],
        "expert_used_count": config.integer("moe_top_k"),
    }


def problems(config: Config) -> list[str]:
    routed = is_routed(config)
    return [
        *unlike(config, "activation_function", *(GELU if routed else ("swiglu",))),
        *unlike(config, "causal", False),
        *unlike(config, "prenorm", False),
        *unlike(config, "parallel_block", False),
        *unlike(config, "use_rms_norm", False),
        *unlike(config, "rotary_emb_fraction", 1.0),
        *unlike(config, "rotary_emb_interleaved", False),
        *([] if config.get("rotary_emb_scale_base") is None else ["llama.cpp has no xPos (`rotary_emb_scale_base`)"]),
        *(unlike(config, "num_shared_experts", 0) if routed else []),
        *uneven_heads(config),
    ]


def is_routed(config: Config) -> bool:
    """True if experts do the work of some layers."""
    return bool(config.get("moe_every_n_layers"))


DENSE = Architecture(
    name="nomic-bert",
    classes=("NomicBertModel",),
    suits=lambda config: not is_routed(config),
    rules=RULES,
    rules_for=rules_for,
    metadata=metadata,
    sizes=sizes,
    defaults={"type_vocab_size": 1, "max_trained_positions": 2048, "rotary_emb_base": 10000.0},
    ignored=("*pooler.dense.*", "*embeddings.position_ids"),
    problems=problems,
    folder_metadata=pooling_metadata,
)
# llama.cpp has no bias for what experts give; its own converter leaves it out as well.
ROUTED = replace(DENSE, name="nomic-bert-moe", suits=is_routed, ignored=(*DENSE.ignored, "*mlp.experts.bias"))
ARCHITECTURES = (DENSE, ROUTED)
