"""BERT: encoders whose output is a sentence's embedding, or the scores of a classifier."""

from __future__ import annotations

from collections.abc import Sequence

from llmasos.conversion.architecture import Architecture, Metadata, common_sizes
from llmasos.conversion.config import Config
from llmasos.conversion.hyperparameters import common_metadata
from llmasos.conversion.limits import GELU, uneven_heads, unlike
from llmasos.conversion.pooling import pooling_metadata
from llmasos.conversion.rules import Rule, Sizes, layer_rules, rule, with_bias
from llmasos.errors import BadInputError
from llmasos.formats.purpose import Pooling

CLASSIFIER = "BertForSequenceClassification"
MOST_LABELS = 100_000  # so that no file makes us name more

RULES = (
    rule("embeddings.word_embeddings.weight", "token_embd.weight", "vocab hidden"),
    rule("embeddings.position_embeddings.weight", "position_embd.weight", "context hidden"),
    rule("embeddings.token_type_embeddings.weight", "token_types.weight", "token_types hidden"),
    *with_bias(rule("embeddings.LayerNorm.weight", "token_embd_norm.weight", "hidden"), optional=False),
    *layer_rules(
        "encoder.layer.{layer}.",
        *with_bias(rule("attention.self.query.weight", "attn_q.weight", "queries hidden")),
        *with_bias(rule("attention.self.key.weight", "attn_k.weight", "keys hidden")),
        *with_bias(rule("attention.self.value.weight", "attn_v.weight", "keys hidden")),
        *with_bias(rule("attention.output.dense.weight", "attn_output.weight", "hidden queries")),
        *with_bias(rule("attention.output.LayerNorm.weight", "attn_output_norm.weight", "hidden"), optional=False),
        *with_bias(rule("intermediate.dense.weight", "ffn_up.weight", "feed_forward hidden")),
        *with_bias(rule("output.dense.weight", "ffn_down.weight", "hidden feed_forward")),
        *with_bias(rule("output.LayerNorm.weight", "layer_output_norm.weight", "hidden"), optional=False),
    ),
)
# llama.cpp's own converter leaves out the pooler, through which a classifier reads the first token: other scores.
HEAD_RULES = (
    *with_bias(rule("pooler.dense.weight", "cls.weight", "hidden hidden"), optional=False),
    *with_bias(rule("classifier.weight", "cls.output.weight", "labels hidden"), optional=False),
)


def is_classifier(config: Config) -> bool:
    return CLASSIFIER in config.classes


def rules_for(config: Config) -> Sequence[Rule]:
    return (*RULES, *HEAD_RULES) if is_classifier(config) else RULES


def sizes(config: Config) -> dict[str, int]:
    return {
        **common_sizes(config),
        "context": config.integer("max_position_embeddings"),
        "token_types": config.integer("type_vocab_size"),
        "labels": len(labels(config)),
    }


def labels(config: Config) -> list[str]:
    """The names of the classifier's outputs, in their order."""
    stated = config.get("id2label")
    if isinstance(stated, dict) and all(str(number).isdecimal() for number in stated):
        return [str(stated[number]) for number in sorted(stated, key=int)]
    count = config.integer("num_labels")
    if count > MOST_LABELS:
        raise BadInputError(f"config.json has `num_labels` = {count}, more than {MOST_LABELS}")
    return [f"LABEL_{number}" for number in range(count)]


def is_told(names: Sequence[str]) -> bool:
    """False for the two labels that every configuration has if nobody gives it any."""
    return len(names) != 2 or names[0] != "LABEL_0"


def metadata(config: Config, sizes: Sizes) -> Metadata:
    names = labels(config)
    shown = {"classifier.output_labels": names} if is_classifier(config) or is_told(names) else {}
    pooling = {"pooling_type": int(Pooling.RANK)} if is_classifier(config) else {}
    return {
        **common_metadata(config, sizes),
        "attention.causal": False,
        "tokenizer.ggml.token_type_count": sizes["token_types"],
        **pooling,
        **shown,
    }


def problems(config: Config) -> list[str]:
    return [
        *unlike(config, "hidden_act", *GELU),
        *unlike(config, "position_embedding_type", "absolute"),
        *unlike(config, "is_decoder", False),
        *uneven_heads(config),
    ]


def notes(config: Config) -> list[str]:
    count = len(labels(config))
    if not is_classifier(config) or count == 1:
        return []
    return [f"it sorts texts into {count} classes; `llmasos rerank` takes models that give a pair of texts one score"]


ARCHITECTURE = Architecture(
    name="bert",
    classes=("BertModel", "BertForMaskedLM", CLASSIFIER),
    rules=RULES,
    rules_for=rules_for,
    metadata=metadata,
    sizes=sizes,
    defaults={
        "vocab_size": 30522,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "num_labels": 2,
    },
    prefixes={"bert.": ""},
    suffixes={".gamma": ".weight", ".beta": ".bias"},
    ignored=("*embeddings.position_ids", "*pooler.dense.*", "cls.predictions*", "cls.seq_relationship*"),
    problems=problems,
    notes=notes,
    folder_metadata=pooling_metadata,
)
