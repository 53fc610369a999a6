"""The tiny checkpoints are what they claim to be: transformers reads each one, and writes the same names and shapes."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer

from doubles import logits
from doubles.checkpoints import CHECKPOINTS, TinyCheckpoint, tensors, write_checkpoint
from doubles.real_vocabularies import PACKAGES, real_vocabulary
from doubles.vocabularies import KINDS, MIXED_TEXT, write_vocabulary

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

READABLE = [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.readable_as is None]
AS_SAVED = [name for name in READABLE if name != "gpt2"]  # published before the names of today
# `tokenizer_class` is GPT2Tokenizer: transformers 5 splits their texts as GPT-2 does, whatever tokenizer.json says
GIVEN_GPT2S_REGEX = {"gpt-4o", "olmo2", "stablelm2"}
CARRIED_ALONG = {"falcon-7b": {"lm_head.weight"}}  # the embeddings a second time


@pytest.mark.parametrize("name", READABLE)
def test_transformers_reads_a_checkpoint_without_a_missing_or_unexpected_tensor(name, tmp_path):
    _model, report = _load(CHECKPOINTS[name], write_checkpoint(tmp_path / name, name))
    assert {kind: list(names) for kind, names in report.items() if names} == {}


@pytest.mark.parametrize("name", AS_SAVED)
def test_transformers_writes_the_same_names_and_shapes(name, tmp_path):
    model, _report = _load(CHECKPOINTS[name], write_checkpoint(tmp_path / name, name))
    model.save_pretrained(tmp_path / "saved")
    written = _names_and_shapes(tmp_path / "saved" / "model.safetensors")
    ours = dict(CHECKPOINTS[name].shapes)
    for carried in CARRIED_ALONG.get(name, ()):
        del ours[carried]
    assert written == ours


def test_the_published_gpt2_is_the_saved_one_by_other_names():
    published, saved = tensors(CHECKPOINTS["gpt2"]), tensors(CHECKPOINTS["gpt2-saved"])
    for name, values in saved.items():
        assert np.array_equal(published.pop(name.removeprefix("transformer.")), values)
    assert sorted(published) == ["h.0.attn.bias", "h.1.attn.bias"]


@pytest.mark.parametrize("name", [name for name in READABLE if not CHECKPOINTS[name].is_encoder])
def test_logits_are_neither_flat_nor_saturated(name, tmp_path):
    folder = write_checkpoint(tmp_path / name, name)
    found = logits.logits_of_checkpoint(folder, logits.sample_tokens(folder))
    best = np.exp(found - found.max(-1, keepdims=True))
    probabilities = (best / best.sum(-1, keepdims=True)).max(-1)
    assert np.isfinite(found).all()
    assert 2 / found.shape[-1] < float(np.median(probabilities)) < 0.9


@pytest.mark.parametrize("layout", ["shards", "pickle", "pickle-shards"])
def test_every_layout_gives_transformers_the_same_numbers(layout, tmp_path):
    one, _ = _load(CHECKPOINTS["qwen2"], write_checkpoint(tmp_path / "one", "qwen2"))
    other, report = _load(CHECKPOINTS["qwen2"], write_checkpoint(tmp_path / layout, "qwen2", layout=layout))
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    for name, values in one.state_dict().items():
        assert torch.equal(values, other.state_dict()[name]), name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in GIVEN_GPT2S_REGEX])
def test_a_small_vocabulary_is_the_one_that_transformers_reads(kind, tmp_path):
    folder = write_vocabulary(tmp_path / kind, kind)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(MIXED_TEXT).ids
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    named = "tokenizer_class" in config
    reader = transformers.AutoTokenizer if named else transformers.GPT2TokenizerFast
    assert reader.from_pretrained(folder)(MIXED_TEXT)["input_ids"] == ours


SIZES = {
    "smollm": 49152, "gpt2": 50257, "phi-2": 50295, "olmo2": 100268, "stablelm2": 100281, "gpt-4o": 200006,
    "llama3": 128012, "qwen2": 151660, "tekken": 131072, "mistral-v1": 32000, "mistral-v3": 32768, "bert": 30522,
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_real_vocabulary_has_every_token_of_its_family(kind):
    tokenizer = Tokenizer.from_file(str(real_vocabulary(kind) / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == SIZES[kind]
    tokens = tokenizer.encode(MIXED_TEXT, add_special_tokens=False).ids
    if kind not in {"bert", "qwen2", "mistral-v1", "mistral-v3"}:  # which normalize, or add a space
        assert tokenizer.decode(tokens, skip_special_tokens=False) == MIXED_TEXT
    assert len(tokens) < len(MIXED_TEXT)


def _load(checkpoint: TinyCheckpoint, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The model of transformers, and what it reports about missing and unexpected tensors."""
    readers = {"gemma3": transformers.AutoModelForImageTextToText}
    reader = readers.get(checkpoint.config["model_type"], transformers.AutoModelForCausalLM)
    reader = transformers.AutoModel if checkpoint.is_encoder else reader
    reader = transformers.AutoModelForSequenceClassification if checkpoint.is_classifier else reader
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, report = reader.from_pretrained(folder, output_loading_info=True)
    return model, report


def _names_and_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return {name: tuple(held["shape"]) for name, held in header.items() if name != "__metadata__"}
