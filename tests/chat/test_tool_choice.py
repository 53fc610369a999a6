"""Which tools may be called, and grammars that make a model call one: what they let through is a sound call."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from doubles.gbnf import Grammar
from llmasos.chat.answers.families import FAMILIES, GENERIC, AnswerForm, Family
from llmasos.chat.answers.reader import read_reply
from llmasos.chat.messages import normal_tools
from llmasos.chat.tool_choice import call_grammar, chosen_tools
from llmasos.errors import BadInputError

PLACE = {
    "type": "object",
    "properties": {"place": {"$ref": "#/$defs/place"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["place"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "anyOf": [
                {"type": "string", "maxLength": 9},
                {"type": "array", "items": {"$ref": "#/$defs/place"}, "maxItems": 2},
            ]
        }
    },
}
KIND = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}, "additionalProperties": False}
TOOLS = normal_tools([
    {"function": {"name": "weather", "parameters": PLACE}},
    {"function": {"name": "kind", "parameters": KIND}},
    {"function": {"name": "now"}},
])  # fmt: skip
FUNCTIONS = {tool["function"]["name"]: tool["function"] for tool in TOOLS}
EVERY = [*FAMILIES, GENERIC]
every_family = pytest.mark.parametrize("family", EVERY, ids=lambda family: family.name)


def names_of(tools: Any) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


@pytest.mark.parametrize(
    ("choice", "names", "is_forced"),
    [
        ("auto", ["weather", "kind", "now"], False),
        ("none", [], False),
        ("required", ["weather", "kind", "now"], True),
        ("now", ["now"], True),
        ({"type": "function", "function": {"name": "kind"}}, ["kind"], True),
        ({"name": "kind"}, ["kind"], True),
    ],
)
def test_a_choice_names_the_tools_that_may_be_called(choice: Any, names: list[str], is_forced: bool):
    tools, forced = chosen_tools(TOOLS, choice)
    assert (names_of(tools), forced) == (names, is_forced)


@pytest.mark.parametrize("choice", ["unheard_of", {"type": "function"}, {"function": "now"}, {"function": {}}, {}])
def test_a_choice_that_can_not_be_made_is_refused(choice: Any):
    with pytest.raises(BadInputError, match="there is no tool for the choice"):
        chosen_tools(TOOLS, choice)


def test_no_call_can_be_required_where_there_are_no_tools():
    with pytest.raises(BadInputError):
        chosen_tools((), "required")
    assert chosen_tools((), "auto") == ((), False)


@every_family
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_what_a_grammar_lets_through_is_one_call_with_arguments_that_fit(family: Family, seed: int):
    answer = Grammar(call_grammar(family, TOOLS)).write(random.Random(seed))
    reply = read_reply(answer, AnswerForm(family=family, tools=FUNCTIONS))
    assert reply.content == ""
    [call] = reply.tool_calls
    Draft202012Validator(FUNCTIONS[call.name]["parameters"]).validate(call.arguments)
    assert call.name != "now" or call.arguments == {}


@every_family
def test_every_function_can_be_called(family: Family):
    grammar = Grammar(call_grammar(family, TOOLS))
    for name in FUNCTIONS:
        before, after = family.around(name)
        assert grammar.accepts(f"{before}{{}}{after}") == (name != "weather")
        assert grammar.accepts(f'{before}{{"place":["x"]}}{after}') == (name == "weather")
    assert not grammar.accepts("The weather is fine.")


def test_parameters_that_no_grammar_can_promise_are_refused():
    tools = normal_tools([{"function": {"name": "f", "parameters": {"properties": {"a": {"not": {}}}}}}])
    with pytest.raises(BadInputError):
        call_grammar(GENERIC, tools)
