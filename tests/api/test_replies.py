"""Replies of a chat on a tiny model: what it says, thinks and calls. Grammars make it say what is to be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT
from doubles.tiny import TinyModel
from llmasos import LLM, Reply
from llmasos.api.requests import Chatting
from llmasos.chat.answers.reader import Thought, as_reply
from llmasos.chat.messages import ToolCall
from llmasos.engine.options import ChatOptions
from llmasos.errors import BadInputError, UsageError

TEMPLATES = PROJECT / "tests/data/templates"
WEATHER = {"type": "object", "properties": {"city": {"enum": ["Paris", "Nice"]}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "How it will be.", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now", "description": "The time."}},
]
THOUGHTFUL: dict[str, Any] = {"grammar": 'root ::= "<think>\\nhm\\n</think>\\n\\nYes"', "temperature": 0}
CALLING: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "temperature": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """A Mistral by its template, whose marks of calls are control tokens."""
    from doubles.tiny import write_tiny

    template = (TEMPLATES / "mistral-small-3.2.jinja").read_text(encoding="utf-8")
    marks = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[INST]", "[/INST]")
    path = tmp_path_factory.mktemp("models") / "mistral.gguf"
    write_tiny(path, TinyModel(template=template, controls=marks, context_length=2048))
    with LLM.from_pretrained(str(path), threads=1, parallel=2, deterministic=True) as model:
        yield model


# Reasoning.


def test_a_reply_has_the_reasoning_that_a_chat_leaves_out(model: LLM):
    assert model.reply("Really?", **THOUGHTFUL) == Reply("Yes", "hm")
    assert model.chat("Really?", **THOUGHTFUL) == "Yes"


def test_a_reply_comes_in_parts(model: LLM):
    parts = list(model.stream_reply("Really?", **THOUGHTFUL))
    assert parts[0] == Thought("h")
    assert as_reply(parts) == Reply("Yes", "hm")
    assert "".join(model.stream_chat("Really?", **THOUGHTFUL)) == "Yes"


def test_replies_are_awaited(model: LLM):
    async def ask() -> list[Any]:
        parts = [part async for part in model.astream_reply("Really?", **THOUGHTFUL)]
        text = "".join([piece async for piece in model.astream_chat("Really?", **THOUGHTFUL)])
        reply = await model.areply("Really?", **THOUGHTFUL)
        return [as_reply(parts), text, reply, await model.achat("Really?", **THOUGHTFUL)]

    reply = Reply("Yes", "hm")
    assert asyncio.run(ask()) == [reply, "Yes", reply, "Yes"]


def test_a_stream_that_is_left_ends_its_answer(model: LLM):
    endless: dict[str, Any] = {"max_new_tokens": 10_000, "ignore_eos": True, "on_overflow": "shift"}
    for stream in (model.stream_reply("Really?", **endless), model.stream_chat("Really?", **endless)):
        next(stream)
        stream.close()

    async def leave() -> None:
        async for _ in model.astream_chat("Really?", **endless):
            break

    asyncio.run(leave())
    assert model.chat("Really?", **THOUGHTFUL) == "Yes"
    assert model._engine._worker.scheduler.is_idle


# Tools.


def test_a_model_that_has_to_call_a_tool_does(model: LLM):
    reply = model.reply("What weather?", **CALLING)
    assert (reply.content, reply.reasoning) == ("", "")
    [call] = reply.tool_calls
    assert (call.name, call.arguments) in [("weather", {"city": "Paris"}), ("weather", {"city": "Nice"}), ("now", {})]


@pytest.mark.parametrize("choice", ["now", {"type": "function", "function": {"name": "now"}}])
def test_a_tool_can_be_chosen_for_it(model: LLM, choice: Any):
    [call] = model.reply("What time?", **{**CALLING, "tool_choice": choice}).tool_calls
    assert (call.name, call.arguments) == ("now", {})


def test_marks_that_are_control_tokens_are_read(model: LLM):
    marked = {**CALLING, "tool_choice": "now", "logit_bias": ["[TOOL_CALLS]=1000", "[ARGS]=100"]}
    [call] = model.reply("What time?", **marked).tool_calls
    assert call.name == "now"
    grammar = 'root ::= "[TOOL_CALLS]now[ARGS]{}"'
    assert model.generate("a", grammar=grammar, logit_bias=marked["logit_bias"]) == "[TOOL_CALLS]now[ARGS]{}"


def test_a_call_comes_as_one_part_and_is_no_text(model: LLM):
    [part] = model.stream_reply("What time?", **{**CALLING, "tool_choice": "now"})
    assert isinstance(part, ToolCall)
    assert list(model.stream_chat("What time?", **CALLING)) == []
    assert model.chat("What time?", **CALLING) == ""


def test_a_conversation_goes_on_with_what_tools_give(model: LLM):
    reply = model.reply("What time?", **{**CALLING, "tool_choice": "now"})
    result = {"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "noon"}
    question = {"role": "user", "content": "What time?"}
    asked = [question, reply.as_message(), result]
    rest = {"tools": TOOLS, "temperature": 0, "max_new_tokens": 5, "ignore_eos": True}
    expected = model.reply(asked, **rest)
    assert expected.content
    assert model.reply(asked, **rest, tool_choice="auto").content == expected.content


def test_a_file_may_have_a_template_for_tools_alone(make_tiny: Callable[[TinyModel], Path]):
    hermes = (TEMPLATES / "hermes3-tool-use.jinja").read_text(encoding="utf-8")
    path = make_tiny(TinyModel(tool_template=hermes, context_length=2048))
    with LLM.from_pretrained(str(path), threads=1) as model:
        model.chat("Hello", max_new_tokens=2)
        assert model._chat.prompt([{"role": "user", "content": "x"}], tools=TOOLS).form.family.name == "hermes"
        assert model.reply("What weather?", **CALLING).tool_calls


# What is refused.


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"num_return_sequences": 2, "temperature": 1}, UsageError),
        ({**THOUGHTFUL, "think": True}, UsageError),
        ({**CALLING, "think": True}, UsageError),
        ({**CALLING, "grammar": 'root ::= "x"'}, UsageError),
        ({"tool_choice": "required"}, BadInputError),
        ({"tools": TOOLS, "tool_choice": "unheard_of"}, BadInputError),
        ({"tools": [{"name": "now"}]}, BadInputError),
        ({"think": "loudly"}, UsageError),
        ({"thinks": True}, TypeError),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(model: LLM, wanted: Any, error: type[Exception]):
    for ask in (model.reply, model.chat, model.stream_chat):
        with pytest.raises(error):
            ask("Hello", **wanted)


def test_generate_knows_nothing_of_chats(model: LLM):
    with pytest.raises(TypeError, match="there is no option"):
        model.generate("Hello", tools=TOOLS)


def test_every_option_of_a_chat_is_in_the_types():
    assert set(ChatOptions.__annotations__) < set(Chatting.__annotations__)
