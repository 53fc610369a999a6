"""`/v1/chat/completions`: what a body asks for, and the response to the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.bodies import JSON
from llmasos.engine.figures import figures_in
from llmasos.engine.model import Model
from llmasos.engine.options import ScoreOptions
from llmasos.errors import LlmasosError, UsageError
from llmasos.openai.bodies import Defaults
from llmasos.openai.chat import KNOWN, read_messages
from llmasos.openai.interface import CHAT, TextInterface

QUESTION = {"messages": [{"role": "user", "content": "cat"}]}
FIXED = {**QUESTION, "temperature": 0, "max_tokens": 5, "ignore_eos": True}
TOOL = {"type": "function", "function": {"name": "look", "description": "", "parameters": {"type": "object"}}}


def test_the_response_is_openais_to_the_field(ask):
    response = ask(CHAT, FIXED)
    [choice] = response.pop("choices")
    assert response == {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "tiny",
        "usage": {
            "prompt_tokens": 6,
            "completion_tokens": 5,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": response["usage"]["prompt_tokens_details"]["cached_tokens"]},
        },
    }
    text = choice["message"].pop("content")
    assert isinstance(text, str) and text
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "refusal": None},
        "logprobs": None,
        "finish_reason": "length",
    }


def test_several_answers_have_seeds_of_their_own_and_share_a_prompt(ask):
    response = ask(CHAT, {**FIXED, "temperature": 2, "seed": 5, "n": 3})
    texts = [choice["message"]["content"] for choice in response["choices"]]
    assert len(set(texts)) > 1
    assert [choice["index"] for choice in response["choices"]] == [0, 1, 2]
    assert response["usage"]["prompt_tokens"] == 6
    assert response["usage"]["completion_tokens"] == 15
    second = ask(CHAT, {**FIXED, "temperature": 2, "seed": 6})
    assert second["choices"][0]["message"]["content"] == texts[1]


def test_a_choice_has_all_figures_of_its_answer_if_they_are_asked_for(ask):
    [choice] = ask(CHAT, {**FIXED, "figures": True, "logprobs": True, "top_logprobs": 1})["choices"]
    figures = choice["figures"]
    assert figures_in(figures).as_json() == figures
    assert figures["tokens"]["completion"] == len(figures["logprobs"]) == len(choice["logprobs"]["content"])
    assert [entry["token"] for entry in figures["logprobs"]] == [
        entry["token"] or "<|end|>" for entry in choice["logprobs"]["content"]
    ]
    assert figures["finish_reason"] in ("stop", "length")


def test_logprobs_are_of_each_token_with_its_bytes(ask):
    content = ask(CHAT, {**FIXED, "logprobs": True, "top_logprobs": 2})["choices"][0]["logprobs"]["content"]
    assert len(content) == 5
    for entry in content:
        assert entry["logprob"] < 0
        assert bytes(entry["bytes"]).decode("utf-8", "replace") == entry["token"]
        assert [each["logprob"] for each in entry["top_logprobs"]] == sorted(
            (each["logprob"] for each in entry["top_logprobs"]), reverse=True
        )
        assert entry["top_logprobs"][0]["token"] == entry["token"]  # greedy


@pytest.mark.parametrize(
    "shape",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "colour", "schema": {"enum": ["red"]}}}},
        {"response_format": {"type": "json_object", "schema": {"enum": ["red"]}}},
        {"schema": {"enum": ["red"]}},
        {"json_schema": {"enum": ["red"]}},
        {"regex": '"red"'},
        {"grammar": 'root ::= "\\"red\\""'},
    ],
    ids=lambda shape: next(iter(shape)),
)
def test_an_answer_has_the_shape_that_is_asked_for(ask, shape):
    response = ask(CHAT, {**QUESTION, **shape, "max_tokens": 20})
    assert response["choices"][0]["message"]["content"] == '"red"'
    assert response["choices"][0]["finish_reason"] == "stop"


def test_any_json_object_is_a_shape(ask):
    body = {**QUESTION, "response_format": {"type": "json_object"}, "max_tokens": 200, "logit_bias": {"92": 50}}
    text = ask(CHAT, body)["choices"][0]["message"]["content"]
    assert text.startswith("{")


def test_a_tool_that_has_to_be_called_is(ask):
    tools = [{**TOOL, "function": {**TOOL["function"], "name": "look"}}]
    response = ask(CHAT, {**QUESTION, "tools": tools, "tool_choice": "required", "max_tokens": 100})
    [choice] = response["choices"]
    [call] = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert (choice["message"]["content"], call["type"], call["function"]["name"]) == (None, "function", "look")
    assert json.loads(call["function"]["arguments"]) == {}


def test_names_of_options_are_openais_ours_and_those_of_others(interface: TextInterface):
    asked = interface.ask(
        CHAT, {**QUESTION, "max_completion_tokens": 7, "stop": "x", "repetition_penalty": 2, "seed": -3}
    )
    assert (asked.limits.max_tokens, asked.limits.stop) == (7, ("x",))
    assert asked.sampling.repeat_penalty == 2.0
    assert asked.sampling.seed == 2**32 - 4
    assert interface.ask(CHAT, {**QUESTION, "logit_bias": {"5": -100, "6": False}}).sampling.logit_bias == (
        "5=-100",
        "6=-inf",
    )
    assert interface.ask(CHAT, {**QUESTION, "logprobs": True}).scores == ScoreOptions(top=0)


def test_what_says_nothing_of_the_answer_is_passed_over_and_what_is_mistyped_is_not(interface: TextInterface):
    interface.ask(CHAT, {**QUESTION, "model": "gpt-5", "user": "me", "metadata": {}, "store": True, "n": None})
    with pytest.raises(UsageError, match="did you mean `max_tokens`"):
        interface.ask(CHAT, {**QUESTION, "max_tokes": 5})


def test_texts_in_parts_are_joined_and_a_developer_is_the_system(model: Model):
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    read = read_messages([{"role": "developer", "content": "be"}, {"role": "user", "content": parts}], "own")
    assert read == [{"role": "system", "content": "be"}, {"role": "user", "content": "ab"}]
    assert read_messages(QUESTION["messages"], "own")[0] == {"role": "system", "content": "own"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "the messages are no list"),
        ({"messages": []}, "there are no messages"),
        ({"messages": ["cat"]}, "message 0 is none"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "no text"),
        ({**QUESTION, "n": 0}, "n is 1 to 128"),
        ({**QUESTION, "n": "two"}, "n takes a whole number"),
        ({**QUESTION, "temperature": "hot"}, "temperature can't be"),
        ({**QUESTION, "top_logprobs": 3}, "goes with logprobs"),
        ({**QUESTION, "logprobs": True, "top_logprobs": 10_000}, "top_logprobs is 0 to"),
        ({**QUESTION, "response_format": {"type": "yaml"}}, "has no type `yaml`"),
        ({**QUESTION, "response_format": {"type": "json_schema"}}, "response_format takes"),
        ({**QUESTION, "schema": {}, "regex": "a"}, "each say what the answer looks like"),
        ({**QUESTION, "tools": "look"}, "tools takes"),
        ({**QUESTION, "tool_choice": "required"}, "no tool for the choice"),
        ({**QUESTION, "reasoning_effort": "mad"}, "reasoning_effort is one of"),
        ({**QUESTION, "logit_bias": {"5": "much"}}, "the bias of 5"),
        ({**QUESTION, "modalities": ["audio"]}, "text alone"),
        (["messages"], "no JSON object"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(interface: TextInterface, body: Any, message: str):
    with pytest.raises(LlmasosError, match=message):
        interface.ask(CHAT, body)


@given(body=st.dictionaries(st.sampled_from(sorted(KNOWN)), JSON, max_size=4))
def test_no_body_breaks_the_reader(model: Model, body: dict[str, Any]):
    try:
        TextInterface(model, model.template, "tiny", Defaults()).ask(CHAT, {**QUESTION, **body})
    except LlmasosError as error:
        assert error.message
