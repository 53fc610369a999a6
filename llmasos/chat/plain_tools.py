"""Tools for templates that know none, or not all of it: calls and results as the plain text of messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmasos.chat.answers.families import Family
from llmasos.chat.messages import ToolCall

INSTRUCTION = """\
You can call these functions. Each line describes one in JSON:
<tools>
{tools}
</tools>

To call a function, answer with its name and its arguments in JSON, between these tags and with nothing around them:
<tool_call>
{"name": "function", "arguments": {"parameter": "value"}}
</tool_call>
What the function gives back comes in the next message, as a <tool_response>. If no function helps, just answer."""


def with_instruction(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The system message says which functions there are and how they are called."""
    lines = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    instruction = INSTRUCTION.replace("{tools}", lines)
    system, rest = split_system(messages)
    content = f"{system}\n\n{instruction}" if system else instruction
    return [{"role": "system", "content": content}, *map(dict, rest)]


def split_system(messages: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The text of the system message at the beginning, which may be none, and the others."""
    if messages[0]["role"] == "system":
        return messages[0]["content"], messages[1:]
    return "", messages


def with_plain_calls(messages: Sequence[Mapping[str, Any]], family: Family) -> list[dict[str, Any]]:
    """Calls as part of what the assistant says."""
    return [_with_plain_calls(message, family) for message in messages]


def _with_plain_calls(message: Mapping[str, Any], family: Family) -> dict[str, Any]:
    if "tool_calls" not in message:
        return dict(message)
    said = family.write([_as_call(call) for call in message["tool_calls"]])
    others = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**others, "content": f"{message['content']}\n{said}" if message["content"] else said}


def with_plain_results(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results as what the user says, in one message with what the user says next, since many templates want turns."""
    plain: list[dict[str, Any]] = []
    is_result = False
    for message in messages:
        was_result, is_result = is_result, message["role"] == "tool"
        content = f"<tool_response>\n{message['content']}\n</tool_response>" if is_result else message["content"]
        if was_result and (is_result or message["role"] == "user"):
            plain[-1] = {**plain[-1], "content": f"{plain[-1]['content']}\n{content}"}
        else:
            plain.append({"role": "user", "content": content} if is_result else dict(message))
    return plain


def with_one_call_each(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Calls that were made together as if each had waited for the result of the one before."""
    single: list[dict[str, Any]] = []
    for message in messages:
        if "tool_calls" in message:
            first, *others = message["tool_calls"]
            single.append({**message, "tool_calls": [first]})
            single += [{"role": "assistant", "content": None, "tool_calls": [call]} for call in others]
        elif message["role"] == "tool":
            single.insert(1 + _place_of_call(message["tool_call_id"], single), dict(message))
        else:
            single.append(dict(message))
    return single


def _place_of_call(identity: str, messages: Sequence[Mapping[str, Any]]) -> int:
    """Where the latest call with that id is made."""
    places = enumerate(messages)
    return max(place for place, each in places if any(call["id"] == identity for call in each.get("tool_calls", ())))


def _as_call(call: Mapping[str, Any]) -> ToolCall:
    return ToolCall(call["function"]["name"], call["function"]["arguments"], call["id"])
