"""Embeddings by a tiny BERT: together as alone, of length 1, and clear words for what can't be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from doubles.checkpoints import write_checkpoint
from doubles.logits import embeddings_of_gguf
from llmasos import LLM
from llmasos.conversion.convert import convert
from llmasos.engine.embedder import Embedder
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.pooled import PooledOptions
from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError

TEXTS = ["the cat sat", "a dog", "some birds sat on a mat", "one"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding")
    return convert(write_checkpoint(folder / "bert", "bert"), folder / "bert.gguf", "F32")[0]


@pytest.fixture
def model(bert: Path) -> Iterator[Model]:
    model = load_model([bert], ModelOptions())
    yield model
    model.close()


@pytest.fixture
def embedder(model: Model) -> Iterator[Embedder]:
    with Embedder(model, PooledOptions(min(64, model.trained_context_length), threads=1)) as embedder:
        yield embedder


def tokens_of(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=True, parse_special=False)


def test_a_vector_is_that_of_llama_cpps_pooling(embedder: Embedder, bert: Path):
    tokens = tokens_of(embedder.model, TEXTS[0])
    [vector] = embedder.embed([tokens], normalize=False)
    np.testing.assert_allclose(
        vector, embeddings_of_gguf(bert, tokens, pooled=True), atol=2e-3
    )  # plain attention there


def test_vectors_have_length_1_unless_they_are_left_as_they_are(embedder: Embedder):
    tokens = [tokens_of(embedder.model, text) for text in TEXTS]
    raw, unit = embedder.embed(tokens, normalize=False), embedder.embed(tokens)
    for one, other in zip(raw, unit, strict=True):
        assert math.hypot(*other) == pytest.approx(1)
        np.testing.assert_allclose(np.array(one) / math.hypot(*one), other, atol=1e-6)


def test_many_together_are_as_each_alone(embedder: Embedder):
    tokens = [tokens_of(embedder.model, f"{text} {number}") for number in range(60) for text in TEXTS]
    together = embedder.embed(tokens)
    alone = [embedder.embed([each])[0] for each in tokens]
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_no_texts_have_no_vectors(embedder: Embedder):
    assert embedder.embed([]) == []


def test_what_is_too_long_or_nothing_is_refused(embedder: Embedder):
    with pytest.raises(PromptTooLongError, match="the text is 65 tokens long and the context holds 64"):
        embedder.embed([[5] * (embedder.longest + 1)])
    with pytest.raises(BadInputError, match="text 1 is empty"):
        embedder.embed([[5], []])
    assert len(embedder.embed([[5] * embedder.longest])) == 1


def test_a_closed_one_says_so(model: Model):
    embedder = Embedder(model, PooledOptions(32, threads=1))
    embedder.close()
    with pytest.raises(LlmasosError, match="closed"):
        embedder.embed([[5]])


def test_a_model_without_pooling_is_refused(tiny_model: Path):
    model = load_model([tiny_model], ModelOptions())
    with pytest.raises(BadInputError, match="gives no embeddings"):
        Embedder(model, PooledOptions(32, threads=1))
    model.close()


# From Python.


def test_python_embeds_one_or_several(bert: Path):
    with LLM.from_pretrained(str(bert), threads=1) as model:
        one, several = model.embed(TEXTS[0]), model.embed(TEXTS)
        assert len(several) == len(TEXTS)
        np.testing.assert_allclose(several[0], one, atol=1e-3)
        assert model.context_length > 0
        with pytest.raises(BadInputError, match="is an embedding model"):
            model.generate("the cat")


def test_a_model_that_writes_does_not_embed(tiny_model: Path):
    with LLM.from_pretrained(str(tiny_model), threads=1) as model, pytest.raises(BadInputError, match="writes text"):
        model.embed("the cat")
