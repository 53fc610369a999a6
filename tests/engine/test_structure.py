"""The shape of an answer: whatever says it, one grammar comes out, or a clear refusal."""

from __future__ import annotations

from typing import Any

import pytest

from doubles.gbnf import Grammar
from llmasos.engine.structure import grammar_of_shape
from llmasos.errors import BadInputError, UsageError

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Person:
    """As far as a shape is concerned, a model class of pydantic."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"title": "Person", **PERSON}


@pytest.mark.parametrize(
    ("shape", "accepted", "stopped"),
    [
        ({"format": "json"}, '{"a": [1]}', "[1]"),
        ({"schema": PERSON}, '{"name": "A"}', "{}"),
        ({"schema": '{"type": "integer"}'}, "7", '"7"'),
        ({"schema": "name, age int"}, '{"name": "A", "age": 1}', '{"name": "A"}'),
        ({"schema": Person}, '{"name": "A"}', "{}"),
        ({"schema": True}, "null", "nul"),
        ({"regex": r"\d+ \w+", "schema": None, "format": None}, "3 cats", "cats"),
        ({"grammar": 'root ::= "yes" | "no"\n'}, "yes", "maybe"),
    ],
    ids=str,
)
def test_each_way_to_say_it_gives_a_grammar(shape: dict[str, Any], accepted: str, stopped: str):
    text = grammar_of_shape(shape)
    assert text is not None
    grammar = Grammar(text)
    assert (grammar.accepts(accepted), grammar.accepts(stopped)) == (True, False)


@pytest.mark.parametrize("shape", [{}, {"schema": None, "regex": None}], ids=str)
def test_nothing_said_is_no_grammar(shape: dict[str, Any]):
    assert grammar_of_shape(shape) is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"schema": "name", "regex": "a"}, "schema and regex each say what the answer looks like"),
        ({"format": "json", "grammar": 'root ::= "a"'}, "format and grammar each say"),
        ({"format": "xml"}, "the format is `json`, not `xml`"),
        ({"regex": b"a"}, "regex takes a text, not bytes"),
        ({"grammar": 3}, "grammar takes a text, not int"),
    ],
    ids=str,
)
def test_a_call_that_says_two_things_or_none_is_wrong(shape: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        grammar_of_shape(shape)


@pytest.mark.parametrize(
    "shape", [{"schema": "a, a"}, {"schema": 3}, {"schema": {"not": {}}}, {"regex": "(a"}], ids=str
)
def test_a_shape_that_can_not_be_kept_to_is_bad_input(shape: dict[str, Any]):
    with pytest.raises(BadInputError):
        grammar_of_shape(shape)
