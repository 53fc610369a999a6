"""Several schemas in one grammar, each between texts of its own."""

from __future__ import annotations

import pytest

from doubles.gbnf import Grammar
from llmasos.engine.schema import grammar_of_alternatives
from llmasos.errors import BadInputError

TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
    "additionalProperties": False,
}
NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
    "additionalProperties": False,
}
LIST = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}


def test_a_document_stands_between_the_texts_of_its_schema():
    grammar = Grammar(grammar_of_alternatives([("<tree>", TREE, "</tree>"), ("<list>", LIST, "")]))
    assert grammar.accepts('<tree>{"children": [{"children": []}]}</tree>')
    assert grammar.accepts('<list>{"value": 1, "next": {}}')
    for wrong in ('<tree>{"value": 1}</tree>', '<list>{"children": []}', "{}", "<tree>{}"):
        assert not grammar.accepts(wrong)


def test_references_lead_to_places_in_their_own_schema():
    own = {"properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"], "additionalProperties": False}
    texts = [{**own, "$defs": {"x": {"const": value}}} for value in (1, 2)]
    grammar = Grammar(grammar_of_alternatives([("one", texts[0], ""), ("two", texts[1], "")]))
    accepted = [grammar.accepts(f'{name}{{"a": {value}}}') for name in ("one", "two") for value in (1, 2)]
    assert accepted == [True, False, False, True]


def test_one_that_nothing_satisfies_is_left_out():
    never = {"type": "integer", "minimum": 1, "maximum": 0}
    grammar = Grammar(grammar_of_alternatives([("a", never, ""), ("b", {"const": 1}, "")]))
    assert grammar.accepts("b1")
    with pytest.raises(BadInputError, match="no document can satisfy"):
        grammar_of_alternatives([("a", never, "")])


def test_a_mistake_is_told_with_its_place():
    with pytest.raises(BadInputError, match="#/1/nowhere"):
        grammar_of_alternatives([("", {}, ""), ("", {"properties": {"a": {"$ref": "#/nowhere"}}}, "")])
