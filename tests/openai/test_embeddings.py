"""`/v1/embeddings`: what a body asks for, and the response to the field."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from llmasos.engine.model import Model
from llmasos.errors import LlmasosError
from llmasos.openai.asked import Stamp
from llmasos.openai.interface import CHAT, EMBEDDINGS, EmbeddingInterface

STAMP = Stamp("7", 1_700_000_000, "tiny")


@pytest.fixture
def embedding(model: Model) -> EmbeddingInterface:
    return EmbeddingInterface(model, "tiny", 4)


def test_the_response_is_openais_to_the_field(embedding: EmbeddingInterface):
    asked = embedding.ask(EMBEDDINGS, {"input": ["ab", "c"], "model": "m", "user": "me"})
    assert asked.response([[0.6, 0.8], [1.0, 0.0]], STAMP) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.6, 0.8]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.0]},
        ],
        "model": "tiny",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def test_fewer_dimensions_are_a_vector_of_length_one_again(embedding: EmbeddingInterface):
    asked = embedding.ask(EMBEDDINGS, {"input": "a", "dimensions": 2})
    [entry] = asked.response([[0.3, 0.4, 0.5, 0.7]], STAMP)["data"]
    assert entry["embedding"] == pytest.approx([0.6, 0.8])


def test_base64_holds_the_same_numbers(embedding: EmbeddingInterface):
    asked = embedding.ask(EMBEDDINGS, {"input": [1, 2], "encoding_format": "base64"})
    [entry] = asked.response([[0.5, -0.25]], STAMP)["data"]
    assert struct.unpack("<2f", base64.b64decode(entry["embedding"])) == (0.5, -0.25)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "the input is a text"),
        ({"input": "a", "dimensions": 9}, "dimensions is 1 to 4"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format is one of"),
        ({"input": "a", "dimension": 2}, "did you mean `dimensions`"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(embedding: EmbeddingInterface, body: Any, message: str):
    with pytest.raises(LlmasosError, match=message):
        embedding.ask(EMBEDDINGS, body)


def test_such_a_model_does_not_chat(embedding: EmbeddingInterface):
    with pytest.raises(LlmasosError, match="does not answer to"):
        embedding.ask(CHAT, {"messages": []})
