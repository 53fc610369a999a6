"""Tools on a real model: one that never learned to call functions does so when it has to, and hears what they give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmasos import LLM

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "The weather in a city.", "parameters": PLACE}},
    {"type": "function", "function": {"name": "capital", "description": "The capital of a country."}},
]
QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture
def smollm2(home: Path) -> Iterator[LLM]:
    with LLM.from_pretrained("smollm2") as model:
        yield model


def test_a_tool_is_called_and_what_it_gives_is_heard(smollm2: LLM):
    reply = smollm2.reply(QUESTION, tools=TOOLS, tool_choice="weather", temperature=0, max_tokens=60)
    [call] = reply.tool_calls
    assert (reply.content, call.name, call.arguments) == ("", "weather", {"city": "Paris"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "It rains heavily in Paris."}
    answer = smollm2.reply([*QUESTION, reply.as_message(), result], tools=TOOLS, temperature=0, max_tokens=40)
    assert "rain" in answer.content


def test_a_chat_without_tools_has_neither_calls_nor_reasoning(smollm2: LLM):
    reply = smollm2.reply("The capital of France?", temperature=0, max_tokens=20)
    assert "France" in reply.content
    assert (reply.reasoning, reply.tool_calls) == ("", ())
