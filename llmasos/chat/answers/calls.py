"""How models write calls of functions, each way a reader that begins behind the mark that opens it.

A reader gives the calls, or raises MismatchError for what is none. `tools` are the functions that there are, by name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from llmasos.chat.answers.cursor import Cursor, MismatchError, Reading, read_json
from llmasos.chat.messages import FUNCTION_NAME, ToolCall, object_in, sound_json

Tools = Mapping[str, Mapping[str, Any]]
Calls = list[ToolCall]
ReadCalls = Callable[[Cursor, Tools], Reading[Calls]]

FENCE = "```"
_NAME = re.compile(r"[\w.:/-]*")
_WORD = re.compile(r"\w*")
_LINE_OF_NAME = re.compile(r"[^\n{<]*")
_FIRST_KEYS = ("name", "type", "function", "id", "arguments", "parameters")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PYTHON_ESCAPES = "\\'\"abfnrtvxuUN01234567\n"
_PYTHON_WORDS = {"True": True, "False": False, "None": None}


def read_json_calls(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """`{"name": …, "arguments": {…}}`, or a list of these."""
    value = yield from read_json(cursor)
    calls = [_call(each) for each in (value if isinstance(value, list) else [value])]
    if not calls:
        raise MismatchError
    return calls


def read_bare_json(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """The same with no mark before it: a call only if it is of a known function, and looks so from its first key."""
    start = cursor.position
    if (yield from cursor.accepts("[")):
        yield from cursor.space()
    yield from cursor.expect("{")
    yield from cursor.space()
    yield from cursor.expect('"')
    key = yield from cursor.run(_WORD)
    yield from cursor.expect('"')
    if key not in _FIRST_KEYS:
        raise MismatchError
    yield from cursor.space()
    yield from cursor.expect(":")
    yield from cursor.space()
    if key == "name":
        yield from cursor.expect('"')
        if (yield from cursor.run(_NAME)) not in tools:
            raise MismatchError
    cursor.position = start
    return _known((yield from read_json_calls(cursor, tools)), tools)


def read_tagged(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """Behind `<tool_call>`: JSON, or what Qwen's coders write, `<function=name><parameter=key>value</parameter>…`."""
    yield from cursor.space()
    if not (yield from cursor.accepts("<function=")):
        return (yield from read_json_calls(cursor, tools))
    name = (yield from cursor.until(">")).strip()
    arguments: dict[str, Any] = {}
    yield from cursor.space()
    while (yield from cursor.accepts("<parameter=")):
        key = (yield from cursor.until(">")).strip()
        text = yield from cursor.until("</parameter>")
        types = _types_of(tools[name]["parameters"]["properties"].get(key)) if name in tools else set()
        arguments[key] = _typed(text.removeprefix("\n").removesuffix("\n"), types)
        yield from cursor.space()
    yield from cursor.expect("</function>")
    return [_call({"name": name, "arguments": arguments})]


def read_python_tag(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """Behind Llama's `<|python_tag|>`: JSON, or `name.call(key="value")` to the end of the answer."""
    yield from cursor.space()
    if (yield from cursor.peek()) in ("{", "["):
        return (yield from read_json_calls(cursor, tools))
    return _known(_python_calls((yield from cursor.rest()), tools), tools)


def read_mistral(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """Behind `[TOOL_CALLS]`: a list in JSON, or as newer models do `name[CALL_ID]id[ARGS]{…}`."""
    yield from cursor.space()
    if (yield from cursor.peek()) in ("{", "["):
        return (yield from read_json_calls(cursor, tools))
    name = yield from cursor.run(_NAME)
    if (yield from cursor.accepts("[CALL_ID]")):
        yield from cursor.run(_WORD)
    yield from cursor.accepts("[ARGS]")
    return [_call({"name": name, "arguments": (yield from read_json(cursor))})]


def read_deepseek(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """Behind DeepSeek's mark of a call, or of all: `function<sep>name`, JSON in a fence; newer ones: `name<sep>{…}`."""
    yield from cursor.space()
    yield from cursor.accepts("<｜tool▁call▁begin｜>")
    head = (yield from cursor.run(_LINE_OF_NAME)).strip()
    yield from cursor.expect("<｜tool▁sep｜>")
    name = (yield from cursor.run(_LINE_OF_NAME)).strip()
    yield from cursor.space()
    is_fenced = yield from cursor.accepts(f"{FENCE}json")
    call = _call({"name": name or head, "arguments": (yield from read_json(cursor))})
    if is_fenced:
        yield from cursor.space()
        yield from cursor.expect(FENCE)
    return [call]


def read_json_block(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """Behind the beginning of a block of JSON, to its end: as JSON without a mark."""
    yield from cursor.space()
    calls = yield from read_bare_json(cursor, tools)
    yield from cursor.space()
    yield from cursor.expect(FENCE)
    return calls


def read_call_block(cursor: Cursor, tools: Tools) -> Reading[Calls]:
    """Behind the beginning of a block of calls, to its end: JSON, or Python as Gemma writes it."""
    start = cursor.position
    try:
        return (yield from read_json_block(cursor, tools))
    except MismatchError:
        cursor.position = start
        return _known(_python_calls((yield from cursor.until(FENCE)), tools), tools)


def _known(calls: Calls, tools: Tools) -> Calls:
    if not all(call.name in tools for call in calls):
        raise MismatchError
    return calls


def _call(value: Any) -> ToolCall:
    """A call from its JSON, in any of the usual shapes. Ids that models make up are not kept: they may repeat."""
    function = value.get("function") if isinstance(value, dict) else None
    found = {**value, **function} if isinstance(function, dict) else value
    if not isinstance(found, dict):
        raise MismatchError
    name = found.get("name", function)
    arguments = object_in(found.get("arguments", found.get("parameters")))
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name) or arguments is None:
        raise MismatchError
    return ToolCall(name, arguments)


def _typed(text: str, types: set[str]) -> Any:
    """A value that is written as text stands for what its schema says."""
    if not types or "string" in types:
        return text
    try:
        return sound_json(text)
    except (ValueError, RecursionError):
        return _PYTHON_WORDS.get(text.strip(), text)


def _types_of(schema: Any) -> set[str]:
    """The types that a schema names, also in its alternatives."""
    if not isinstance(schema, Mapping):
        return {schema} if isinstance(schema, str) else set()
    named = [schema.get(keyword) for keyword in ("type", "anyOf", "oneOf")]
    options = [option for each in named for option in (each if isinstance(each, list) else [each])]
    return set().union(*map(_types_of, options))


def _python_calls(source: str, tools: Tools) -> Calls:
    """`name(key="value")`, also inside `print()` or a list, or one on each line."""
    try:
        module = ast.parse(_ESCAPE.sub(_plain_escape, source.strip()))
        calls = [_python_call(node, tools) for statement in module.body for node in _nodes(statement)]
    except (SyntaxError, ValueError, RecursionError, MemoryError, AttributeError, TypeError) as error:
        raise MismatchError from error
    if not calls:
        raise MismatchError
    return calls


def _plain_escape(found: re.Match[str]) -> str:
    """Python warns of escapes that it doesn't know, and keeps their backslash."""
    return found[0] if found[1] in _PYTHON_ESCAPES else f"\\{found[0]}"


def _nodes(statement: Any) -> list[Any]:
    """The calls of a statement; AttributeError for one of another kind."""
    value = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
        [value] = value.args
    return list(value.elts) if isinstance(value, ast.List) else [value]


def _python_call(node: Any, tools: Tools) -> ToolCall:
    if not isinstance(node, ast.Call):
        raise MismatchError
    path = ast.unparse(node.func).removesuffix(".call")
    name = path if path in tools else path.rpartition(".")[2]
    given = [ast.literal_eval(argument) for argument in node.args]
    places = list(tools[name]["parameters"]["properties"]) if name in tools else []
    if len(given) > len(places) or not all(each.arg for each in node.keywords):
        raise MismatchError
    named = {each.arg: ast.literal_eval(each.value) for each in node.keywords}
    arguments = {**dict(zip(places, given, strict=False)), **named}
    return _call({"name": name, "arguments": sound_json(json.dumps(arguments))})
