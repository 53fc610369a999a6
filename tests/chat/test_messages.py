"""Messages and tools: what is one, the one form they are brought to, and what is said of what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmasos.chat.messages import Reply, ToolCall, as_messages, new_call_id, normal_messages, normal_tools
from llmasos.errors import BadInputError

QUESTION = {"role": "user", "content": "What time is it?"}
NOW = {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"properties": {}}}}


def calling(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def call(name: str = "now", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {} if arguments is None else arguments}, **more}


def result(content: str = "noon", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


# Messages.


def test_plain_messages_stay_what_they_are():
    messages = [*as_messages("Hello", "Be brief."), {"role": "assistant", "content": "Hi", "name": "x"}]
    assert normal_messages(messages) == messages


def test_arguments_may_be_an_object_json_of_one_or_nothing():
    for arguments in ({"zone": "UTC"}, '{"zone": "UTC"}'):
        [message] = normal_messages([calling(call(arguments=arguments, id="a"))])
        assert message["tool_calls"] == [
            {"id": "a", "type": "function", "function": {"name": "now", "arguments": {"zone": "UTC"}}}
        ]
    for arguments in ("", {}, "{}"):
        [message] = normal_messages([calling(call(arguments=arguments))])
        assert message["tool_calls"][0]["function"]["arguments"] == {}


def test_a_result_knows_its_call_by_its_id():
    conversation = [QUESTION, calling(call("now", id="a"), call("today", id="b")), result(tool_call_id="b")]
    assert normal_messages(conversation)[-1] == {
        "role": "tool", "content": "noon", "tool_call_id": "b", "name": "today"
    }  # fmt: skip


def test_results_without_an_id_belong_to_the_calls_that_wait_by_name_or_in_their_order():
    two = calling(call("now"), call("today"))
    named = normal_messages([two, result(tool_name="today"), result(name="now")])
    assert [message["name"] for message in named[1:]] == ["today", "now"]
    in_order = normal_messages([two, result(), result()])
    assert [message["name"] for message in in_order[1:]] == ["now", "today"]
    ids = [each["id"] for each in in_order[0]["tool_calls"]]
    assert [message["tool_call_id"] for message in in_order[1:]] == ids
    assert len(set(ids)) == 2


def test_ids_may_come_again_and_need_be_no_texts():
    turn = [calling(call(id=7)), result(tool_call_id=7)]
    normal = normal_messages([*turn, *turn])
    assert [message["tool_call_id"] for message in normal[1::2]] == ["7", "7"]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_has_one_name(name: str):
    message = {"role": "assistant", "content": "Noon", name: "hm"}
    assert normal_messages([message]) == [{"role": "assistant", "content": "Noon", "reasoning_content": "hm"}]


def test_a_normal_form_is_its_own():
    messages = normal_messages([QUESTION, calling(call(), call()), result(), result(), {**calling(), "content": "x"}])
    assert normal_messages(messages) == messages
    assert normal_tools(normal_tools([NOW])) == normal_tools([NOW])


NONE = {
    "nothing": ([], "there are no messages"),
    "no mapping": (["Hello"], "message 0 is none"),
    "no role": ([{"content": "Hello"}], "a role"),
    "an unknown role": ([{"role": "pirate", "content": "Hello"}], "system, user, assistant, tool"),
    "calls of a user": ([{"role": "user", "content": "x", "tool_calls": [{}]}], "only an assistant's message has"),
    "no content": ([QUESTION, {"role": "user"}], "message 1 is none"),
    "parts as content": ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "content has to be text"),
    "an assistant who says and calls nothing": ([{"role": "assistant", "content": None}], "only beside tool_calls"),
    "reasoning that is no text": ([{"role": "assistant", "content": "x", "thinking": 1}], "reasoning has to be text"),
    "calls that are no list": ([calling() | {"tool_calls": call()}], "have to be a list"),
    "a call without a function": ([calling({"id": "a"})], "its call 0 needs"),
    "a call without a name": ([calling(call(), call(""))], "its call 1 needs"),
    "arguments that are no object": ([calling(call(arguments=[1]))], "neither an object nor JSON of one"),
    "arguments that are no numbers": ([calling(call(arguments='{"a": NaN}'))], "neither an object nor JSON of one"),
    "arguments that are no JSON": ([calling(call(arguments="{"))], "neither an object nor JSON of one"),
    "a result of nothing": ([QUESTION, result()], "the result of no call"),
    "a result of another call": ([calling(call(id="a")), result(tool_call_id="b")], "the result of no call"),
    "a result of another function": ([calling(call()), result(name="today")], "the result of no call"),
    "a second result": ([calling(call(id="a")), *[result(tool_call_id="a")] * 2], "message 2 is none"),
}


@pytest.mark.parametrize(("messages", "words"), NONE.values(), ids=NONE.keys())
def test_what_is_no_message_is_refused_with_its_number_and_the_reason(messages: Any, words: str):
    with pytest.raises(BadInputError) as error:
        normal_messages(messages)
    assert words in f"{error.value.message} {error.value.hint}"


# Tools.


def test_a_tool_has_all_its_parts_in_their_usual_order():
    assert json.dumps(normal_tools([{"function": {"strict": True, "name": "now"}}])) == (
        '[{"type": "function", "function": {"name": "now", "description": "", '
        '"parameters": {"type": "object", "properties": {}}, "strict": true}}]'
    )


NO_TOOLS = {
    "no list": ({"name": "now"}, "no list"),
    "no function": ([NOW, {"name": "now"}], "tool 1 is no function"),
    "another type": ([{"type": "retrieval", "function": {"name": "now"}}], "tool 0 is no function"),
    "no name": ([{"function": {}}], "no name that a call could give"),
    "a name that breaks templates": ([{"function": {"name": 'a"b'}}], "letters, digits and _"),
    "a description that is no text": ([{"function": {"name": "a", "description": 1}}], "a description that is text"),
    "parameters that are no schema": ([{"function": {"name": "a", "parameters": []}}], "a schema of an object"),
    "parameters of another type": (
        [{"function": {"name": "a", "parameters": {"type": "array"}}}],
        "schema of an object",
    ),
    "a list of properties": ([{"function": {"name": "a", "parameters": {"properties": []}}}], "a schema of an object"),
    "two of a name": ([NOW, NOW], "two tools are called 'now'"),
}


@pytest.mark.parametrize(("tools", "words"), NO_TOOLS.values(), ids=NO_TOOLS.keys())
def test_what_is_no_tool_is_refused_with_its_number_and_the_reason(tools: Any, words: str):
    with pytest.raises(BadInputError) as error:
        normal_tools(tools)
    assert words in f"{error.value.message} {error.value.hint}"


# Replies.


def test_a_reply_is_a_message_of_the_conversation():
    reply = Reply("", "hm", (ToolCall("now", {"zone": "Ü"}, "a"),))
    message = reply.as_message()
    assert message == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": '{"zone": "Ü"}'}}],
    }
    assert normal_messages([message])[0]["tool_calls"][0]["function"]["arguments"] == {"zone": "Ü"}
    assert Reply("Noon").as_message() == {"role": "assistant", "content": "Noon"}
    assert Reply("").as_message() == {"role": "assistant", "content": ""}


def test_ids_are_nine_letters_and_digits_and_differ():
    ids = {new_call_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 9 and each.isalnum() and each.isascii() for each in ids)
