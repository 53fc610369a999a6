"""What may be said in a conversation, and the one form that all of it is brought to. Pure values.

Messages are mappings as in OpenAI's interface: `role`, `content`, of an assistant also `tool_calls` and
`reasoning_content`, of a tool `tool_call_id`. What Ollama's interface calls otherwise (`thinking`, `tool_name`,
arguments as an object, calls without an id) is understood too.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmasos.errors import BadInputError

Message = Mapping[str, Any]
ROLES = ("system", "user", "assistant", "tool")
REASONING_NAMES = ("reasoning_content", "reasoning", "thinking")
FUNCTION_NAME = re.compile(r"[\w.:/-]{1,128}")  # templates write it between quotes as it is
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
ID_LETTERS, ID_LENGTH = string.ascii_letters + string.digits, 9  # what Mistral's templates insist on


def new_call_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called."""

    name: str
    arguments: Mapping[str, Any]
    id: str = field(default_factory=new_call_id)

    def as_message_part(self) -> dict[str, Any]:
        """As OpenAI's interface writes it: the arguments are JSON inside a text."""
        arguments = json.dumps(self.arguments, ensure_ascii=False)
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's message: what it says, what it thought before that, and the functions that it wants called."""

    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    def as_message(self) -> dict[str, Any]:
        """To be put behind the conversation; the calls' results follow, as messages of the role `tool`."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.content or None if self.tool_calls else self.content,
        }
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [call.as_message_part() for call in self.tool_calls]
        return message


def as_messages(prompt: str, system: str | None = None, before: Iterable[Message] = ()) -> list[Message]:
    """One question, with the system prompt before it if there is one, and messages between the two."""
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, *before, {"role": "user", "content": prompt}]


def stored_messages(text: str | None) -> list[Message]:
    """The messages with which a stored model begins every conversation; none where the JSON is not sound."""
    found = sound_json(text or "[]")
    try:
        return list(normal_messages(found)) if isinstance(found, list) and found else []
    except BadInputError:
        return []


def normal_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages in one form: arguments as objects, an id for each call, and whose result each tool's message is.

    Raises BadInputError, with the number of the message, for what is none.
    """
    if not messages:
        raise BadInputError("there are no messages", hint='such as [{"role": "user", "content": "Hello"}]')
    normal: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []  # calls without a result
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ROLES:
            raise _no_message(number, f"it needs a role ({', '.join(ROLES)}) and a content")
        if role == "assistant":
            normal.append(_assistant(number, message))
            waiting += normal[-1].get("tool_calls", [])
            continue
        if not isinstance(message.get("content"), str):
            raise _no_message(number, "its content has to be text")
        if message.get("tool_calls"):
            raise _no_message(number, "only an assistant's message has tool_calls")
        others = {key: value for key, value in message.items() if key != "tool_calls"}
        normal.append(_result(number, others, waiting) if role == "tool" else others)
    return normal


def normal_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tools, each with all its parts in the usual order. Raises BadInputError, with a number, for what is none."""
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise BadInputError("the tools are no list", hint=_TOOL_HINT)
    normal = [_tool(number, tool) for number, tool in enumerate(tools)]
    names = [tool["function"]["name"] for tool in normal]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInputError(f"two tools are called {twice[0]!r}", hint="a call names its function")
    return normal


_TOOL_HINT = '[{"type": "function", "function": {"name": …, "description": …, "parameters": a JSON schema}}]'


def _tool(number: int, tool: Any) -> dict[str, Any]:
    function = (
        tool.get("function") if isinstance(tool, Mapping) and tool.get("type", "function") == "function" else None
    )
    if not isinstance(function, Mapping):
        raise BadInputError(f"tool {number} is no function", hint=_TOOL_HINT)
    name, description, parameters = (function.get(key) for key in ("name", "description", "parameters"))
    if not _is_name(name):
        raise BadInputError(f"tool {number} has no name that a call could give: {name!r}", hint="letters, digits and _")
    if not isinstance(description, str | None) or not _is_schema_of_object(parameters):
        raise BadInputError(
            f"tool {number} ({name}) needs a description that is text, and parameters that are a schema of an object"
        )
    # Templates go through the properties of every function, even of one that takes nothing.
    known = {"name": name, "description": description or "", "parameters": {**NO_PARAMETERS, **(parameters or {})}}
    return {"type": "function", "function": {**known, **{key: function[key] for key in function if key not in known}}}


def _is_schema_of_object(parameters: Any) -> bool:
    if not isinstance(parameters, Mapping):
        return parameters is None
    return parameters.get("type", "object") == "object" and isinstance(parameters.get("properties", {}), Mapping)


def _assistant(number: int, message: Message) -> dict[str, Any]:
    reasoning = [message[name] for name in REASONING_NAMES if message.get(name) is not None]
    if not all(isinstance(text, str) for text in reasoning):
        raise _no_message(number, "its reasoning has to be text")
    others = {key: value for key, value in message.items() if key not in (*REASONING_NAMES, "tool_calls")}
    normal = {**others, **({"reasoning_content": reasoning[0]} if reasoning else {})}
    calls = message.get("tool_calls")
    if calls:
        if not isinstance(calls, Sequence) or isinstance(calls, str):
            raise _no_message(number, "its tool_calls have to be a list")
        normal["tool_calls"] = [_call(number, place, call) for place, call in enumerate(calls)]
    content = message.get("content")
    if not isinstance(content, str) and not (content is None and calls):
        raise _no_message(number, "its content has to be text; only beside tool_calls may there be none")
    return {**normal, "content": content or None if calls else content}


def _call(number: int, place: int, call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not _is_name(function.get("name")):
        raise _no_message(number, f'its call {place} needs {{"function": {{"name": …, "arguments": …}}}}')
    arguments = object_in(function.get("arguments"))
    if arguments is None:
        raise _no_message(number, f"the arguments of its call {place} are neither an object nor JSON of one")
    identity = str(call.get("id") or f"call{number:03}{place:02}")
    return {"id": identity, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def sound_json(text: str) -> Any:
    """The value of JSON, in whose strings lines may break. ValueError for what is none, or could not be written again.

    That would be half of a surrogate pair, or a number beyond all others.
    """
    value = json.loads(text, strict=False)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def object_in(arguments: Any) -> dict[str, Any] | None:
    """The arguments of a call, which may be an object, JSON of one, or nothing; None if they are anything else."""
    if isinstance(arguments, str) and arguments.strip():
        try:
            arguments = sound_json(arguments)
        except (ValueError, RecursionError):
            return None
    if isinstance(arguments, Mapping):
        return dict(arguments)
    return {} if arguments is None or arguments == "" else None


def _result(number: int, message: Message, waiting: list[dict[str, Any]]) -> dict[str, Any]:
    """A tool's message with the id and the name of its call: as it says itself, or of the first that waits."""
    identity, name = message.get("tool_call_id"), message.get("name") or message.get("tool_name")
    for call in waiting:
        its_own = name in (None, call["function"]["name"]) if identity is None else str(identity) == call["id"]
        if its_own:
            waiting.remove(call)
            return {**message, "tool_call_id": call["id"], "name": call["function"]["name"]}
    raise _no_message(number, "it is the result of no call: an assistant's message with tool_calls has to go before it")


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and FUNCTION_NAME.fullmatch(name) is not None


def _no_message(number: int, reason: str) -> BadInputError:
    return BadInputError(f"message {number} is none", hint=reason)
