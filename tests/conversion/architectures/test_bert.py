"""BERT: files of every age, classifiers, and how a sentence's embedding is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors, write_checkpoint
from doubles.planned import planned
from llmasos.conversion.architectures import bert
from llmasos.conversion.config import Config
from llmasos.conversion.convert import convert
from llmasos.conversion.pooling import pooling_metadata
from llmasos.errors import BadInputError
from llmasos.formats.gguf import read_header

BERT = CHECKPOINTS["bert"]


def with_heads(labels: int) -> dict[str, np.ndarray]:
    """The encoder below a classifier."""
    heads = {"bert.pooler.dense.weight": (64, 64), "bert.pooler.dense.bias": (64,)}
    heads |= {"classifier.weight": (labels, 64), "classifier.bias": (labels,)}
    body = {f"bert.{name}": array for name, array in tensors(BERT).items() if "pooler" not in name}
    return body | {name: np.ones(shape, np.float32) for name, shape in heads.items()}


def classifier(labels: int, **changes: Any) -> dict[str, Any]:
    names = {str(number): f"LABEL_{number}" for number in range(labels)}
    return {**BERT.config, "architectures": ["BertForSequenceClassification"], "id2label": names, **changes}


def test_a_file_of_2018_makes_the_same_tensors():
    """Norms of `gamma` and `beta`, a prefix, and what the model was trained with."""
    arrays = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in tensors(BERT).items()
    }
    arrays |= {f"cls.predictions.{name}": np.zeros(64, np.float32) for name in ("bias", "transform.LayerNorm.gamma")}
    arrays["cls.seq_relationship.weight"] = np.zeros((2, 64), np.float32)
    old = planned({**BERT.config, "architectures": ["BertForMaskedLM"]}, arrays)
    new = planned(BERT.config, tensors(BERT))
    assert old.problems == []
    assert old.tensors.keys() == new.tensors.keys()


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_a_classifier_reads_the_first_token_through_the_pooler(labels):
    made = planned(classifier(labels), with_heads(labels))
    assert made.problems == []
    assert made.tensors["cls.weight"].shape == (64, 64)
    assert made.tensors["cls.output.weight"].shape == (labels, 64)
    assert made.metadata["classifier.output_labels"] == [f"LABEL_{number}" for number in range(labels)]
    assert made.metadata["pooling_type"] == 4


def test_a_classifier_without_its_pooler_is_none():
    arrays = {name: array for name, array in with_heads(2).items() if "pooler" not in name}
    assert planned(classifier(2), arrays).problems[0].startswith("the checkpoint lacks pooler.dense.weight")


def test_what_sorts_into_classes_is_told_to_be_no_reranker():
    assert bert.notes(Config(classifier(1))) == bert.notes(Config(BERT.config | {"num_labels": 2})) == []
    assert "sorts texts into 3 classes" in bert.notes(Config(classifier(3)))[0]


def test_a_classifier_ranks_whatever_sentence_transformers_says(tmp_path):
    folder = pooling(write_checkpoint(tmp_path, "bert-reranker"), pooling_mode_mean_tokens=True)
    [converted] = convert(folder, tmp_path / "made.gguf", "F32")
    assert read_header(converted).number("pooling_type") == 4


def test_labels_are_in_the_order_of_their_numbers():
    assert bert.labels(Config({"id2label": {"10": "k", "9": "j", "1": "b"}})) == ["b", "j", "k"]


def test_an_encoder_has_no_labels_to_show():
    metadata = planned(BERT.config, tensors(BERT)).metadata
    assert not {"classifier.output_labels", "pooling_type"} & metadata.keys()


def test_no_file_makes_us_name_a_billion_labels():
    with pytest.raises(BadInputError, match="num_labels"):
        bert.labels(Config({"num_labels": 10**9}))


def pooling(folder: Path, place: str = "1_Pooling", **stated: object) -> Path:
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    modules.append({"type": "sentence_transformers.models.Pooling", "path": place})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(stated))
    return folder


@pytest.mark.parametrize(
    ("stated", "number"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, 1),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, 2),
        ({"pooling_mode_lasttoken": True}, 3),
        ({"pooling_mode": "mean"}, 1),
    ],
)
def test_the_pooling_is_that_of_sentence_transformers(tmp_path, stated, number):
    assert pooling_metadata(pooling(tmp_path, **stated)) == {"pooling_type": number}


def test_a_checkpoint_without_modules_has_no_pooling(tmp_path):
    assert pooling_metadata(tmp_path) == {}


def test_a_pooling_that_llama_cpp_lacks_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="pooling other than"):
        pooling_metadata(pooling(tmp_path, pooling_mode_max_tokens=True))


@pytest.mark.parametrize("place", ["../1_Pooling", "/etc"])
def test_a_pooling_outside_the_checkpoint_is_not_looked_at(tmp_path, place):
    with pytest.raises(BadInputError, match="outside the checkpoint"):
        pooling_metadata(pooling(tmp_path, place))
