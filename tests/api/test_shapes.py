"""The shape of an answer from Python: a schema, a regular expression, JSON, a grammar."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from doubles.tiny import TinyModel
from llmasos import LLM
from llmasos.errors import BadInputError, UsageError

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}, "name": {"enum": ["a", "b"]}},
    "required": ["x", "name"],
}


class Point:
    """As far as a shape is concerned, a model class of pydantic."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return POINT


@pytest.fixture(scope="module")
def model(make_tiny) -> Iterator[LLM]:
    with LLM.from_pretrained(str(make_tiny(TinyModel(context_length=1024))), threads=1) as model:
        yield model


@pytest.mark.parametrize("schema", [POINT, json.dumps(POINT), Point], ids=["mapping", "JSON", "class"])
def test_an_answer_fits_its_schema(model: LLM, schema: Any):
    for answer in model.generate("a point", schema=schema, seed=1, num_return_sequences=3):
        Draft202012Validator(POINT).validate(json.loads(answer))


def test_an_answer_matches_its_regular_expression(model: LLM):
    pattern = r"[a-f]{2,5}(-\d{1,3}){1,2}!"
    streamed = "".join(model.stream("a word", regex=pattern, seed=2))
    answers = [streamed, model.chat("a word", regex=pattern), *model.generate(["a", "b"], regex=pattern, seed=3)]
    answers.append(asyncio.run(model.agenerate("a word", regex=pattern, num_beams=3)))
    assert [answer for answer in answers if not re.fullmatch(pattern, answer)] == []


def test_an_answer_is_json_if_asked(model: LLM):
    answer = model.generate("an object", format="json", seed=4, logit_bias=['"=4', "}=5"])
    assert isinstance(json.loads(answer), dict)


@pytest.mark.parametrize(
    ("wanted", "error", "told"),
    [
        ({"schema": POINT, "regex": "a"}, UsageError, "schema and regex each say"),
        ({"format": "yaml"}, UsageError, "the format is `json`"),
        ({"regex": "(?=a)"}, BadInputError, "lookahead"),
        ({"schema": {"type": "integer", "minimum": 3, "maximum": 2}}, BadInputError, "no document can satisfy"),
    ],
    ids=str,
)
def test_a_shape_that_can_not_be_is_refused(model: LLM, wanted: dict[str, Any], error: type[Exception], told: str):
    with pytest.raises(error, match=told):
        model.generate("a", **wanted)


def test_a_shape_of_this_call_wins_over_a_configured_one(model: LLM, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMASOS_GRAMMAR", 'root ::= "configured"')
    assert model.generate("a") == "configured"
    assert model.generate("a", regex="called") == "called"
