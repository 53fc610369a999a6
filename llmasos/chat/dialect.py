"""What one chat template makes of messages, tools and reasoning, found out by trying it; and prompts in its terms.

Templates differ in what they take and what they refuse, and none says so. What a template leaves out is put into plain
messages; where it knows no tools, or writes calls in a way that nobody here can read, all of it is.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.chat.answers.families import (
    GENERIC,
    AnswerForm,
    Family,
    family_of,
    generic_family,
    reasoning_of,
)
from llmasos.chat.answers.reader import read_reply
from llmasos.chat.messages import ID_LENGTH, Message, normal_messages, normal_tools
from llmasos.chat.plain_tools import (
    split_system,
    with_instruction,
    with_one_call_each,
    with_plain_calls,
    with_plain_results,
)
from llmasos.chat.template import ChatTemplate
from llmasos.errors import BadInputError

Messages = Sequence[Mapping[str, Any]]
SHORT_ID = re.compile(rf"[a-zA-Z0-9]{{{ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a prompt, and how the answer to it is to be read."""

    text: str
    form: AnswerForm


@dataclass(frozen=True, slots=True)
class CallStyle:
    """How a template wants calls: with which content beside them, arguments as JSON in a text, ids that are short.

    `is_silent`: beside what is said they would be left out.
    """

    content: str | None
    has_text_arguments: bool
    has_short_ids: bool
    is_silent: bool = False


class Dialect:
    """One template with what it can do."""

    def __init__(self, template: ChatTemplate, *, bos: str = "", eos: str = "") -> None:
        self._template = template
        self._specials: dict[str, Any] = {"bos": bos, "eos": eos}
        self._reasoning = reasoning_of(template.text)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), *, think: bool | None = None
    ) -> Rendered:
        """The prompt at whose end the model's next message begins.

        `think` turns the reasoning on or off where the template has a switch for it; where it begins the reasoning
        itself, that can be ended at once. Raises BadInputError for messages or tools that are none.
        """
        said, offered = normal_messages(messages), normal_tools(tools)
        values: dict[str, Any] = {} if think is None else {"enable_thinking": think, "thinking": think}
        if offered or any(message["role"] == "tool" or "tool_calls" in message for message in said):
            said = self._with_tools(said, offered)
            values |= {"tools": offered} if offered and self.family else {}
        text = self._render(said, **values)
        is_reasoning = text.rstrip().endswith(self._reasoning.opener)
        if is_reasoning and think is False:
            text, is_reasoning = f"{text}\n{self._reasoning.closer}\n\n", False
        family = (self.family or generic_family(self._template.text)) if offered else None
        functions = {tool["function"]["name"]: tool["function"] for tool in offered}
        return Rendered(text, AnswerForm(self._reasoning, is_reasoning, family, functions))

    @functools.cached_property
    def family(self) -> Family | None:
        """How the template's models call functions; None if it knows no tools, or in a way that is not known here."""
        family = family_of(self._template.text)
        if family is None or not (self._takes_tools or self._takes_system_tools):
            return None
        style = self._call_style
        if style is None:
            return family
        rendered = self._try([_QUESTION, _with_style(_assistant(_VALUES[0]), style)], tools=_TOOLS) or ""
        calls = read_reply(rendered, AnswerForm(family=family, tools=_FUNCTIONS)).tool_calls
        return family if any((call.name, call.arguments) == (_NAME, {_KEY: _VALUES[0]}) for call in calls) else None

    def _with_tools(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages, with as much of tools in them as the template lets itself be told otherwise."""
        if self.family is None:
            plain = with_plain_results(with_plain_calls(messages, GENERIC))
            return with_instruction(plain, tools) if tools else plain
        if tools and not self._takes_tools:
            system, rest = split_system(messages)
            functions = json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
            messages = [{"role": "system", "content": system, "tools": functions}, *map(dict, rest)]
        if self._call_style is None:
            messages = with_plain_calls(messages, self.family)
        else:
            messages = with_one_call_each(messages) if self._wants_one_call_each else messages
            messages = _styled(messages, self._call_style)
        return messages if self._takes_results else with_plain_results(messages)

    def _render(self, messages: Messages, **values: Any) -> str:
        """Where a template knows no system message, its text goes before the first question."""
        try:
            return self._template.render(messages, **self._specials, **values)
        except BadInputError:
            system, rest = split_system(messages)
            if not system or not rest:
                raise
            joined = {**rest[0], "content": f"{system}\n\n{rest[0]['content']}"}
            return self._template.render([joined, *rest[1:]], **self._specials, **values)

    # What it can do.

    @functools.cached_property
    def _takes_tools(self) -> bool:
        return self._shows([_QUESTION], _NAME, tools=_TOOLS)

    @functools.cached_property
    def _takes_system_tools(self) -> bool:
        return self._shows([{"role": "system", "content": "", "tools": json.dumps(_TOOLS)}, _QUESTION], _NAME)

    @functools.cached_property
    def _call_style(self) -> CallStyle | None:
        """The way in which the template writes calls, with a result behind them if it can; None if it writes none."""
        for followers in ([_RESULT_MESSAGE], []):
            for choices in itertools.product((None, ""), (False, True), (False, True)):
                style = CallStyle(*choices)
                if self._shows_call(_assistant(_VALUES[0]), followers, style):
                    speaking = {**_assistant(_VALUES[0]), "content": _NAME}
                    return replace(style, is_silent=not self._shows_call(speaking, followers, style))
        return None

    def _shows_call(self, call: Mapping[str, Any], followers: Messages, style: CallStyle) -> bool:
        return self._shows([_QUESTION, *_styled([call, *followers], style)], _VALUES[0], tools=_TOOLS)

    @functools.cached_property
    def _wants_one_call_each(self) -> bool:
        assert self._call_style is not None
        return not self._shows([_QUESTION, _with_style(_assistant(*_VALUES), self._call_style)], *_VALUES, tools=_TOOLS)

    @functools.cached_property
    def _takes_results(self) -> bool:
        style, spoken = self._call_style, {"role": "assistant", "content": _VALUES[0]}
        call = _assistant(_VALUES[0])
        messages = _styled([call, _RESULT_MESSAGE], style) if style else [spoken, _RESULT_MESSAGE]
        return self._shows([_QUESTION, *messages], _RESULT, tools=_TOOLS)

    def _shows(self, messages: Messages, *texts: str, **values: Any) -> bool:
        rendered = self._try(messages, **values)
        return rendered is not None and all(text in rendered for text in texts)

    def _try(self, messages: Messages, **values: Any) -> str | None:
        try:
            return self._template.render(messages, **self._specials, **values)
        except BadInputError:
            return None


# What templates are tried with: words that are in none of them.
_NAME, _KEY, _VALUES, _RESULT, _ID = "probe_call", "probe_key", ("probe one", "probe two"), "probe result", "probe-call"
_QUESTION = {"role": "user", "content": "probe"}
_PARAMETERS = {"type": "object", "properties": {_KEY: {"type": "string", "description": ""}}}
_TOOLS = normal_tools([{"type": "function", "function": {"name": _NAME, "parameters": _PARAMETERS}}])
_RESULT_MESSAGE = {"role": "tool", "content": _RESULT, "name": _NAME, "tool_call_id": f"{_ID}-0"}
_FUNCTIONS = {_NAME: _TOOLS[0]["function"]}


def _assistant(*values: str) -> dict[str, Any]:
    """A message that calls the function once with each value."""
    calls = [
        {"id": f"{_ID}-{number}", "function": {"name": _NAME, "arguments": {_KEY: value}}}
        for number, value in enumerate(values)
    ]
    return normal_messages([{"role": "assistant", "content": None, "tool_calls": calls}])[0]


def _styled(messages: Messages, style: CallStyle) -> list[dict[str, Any]]:
    """The messages with calls and results as a template wants them."""
    return [_with_style(message, style) for message in messages]


def _with_style(message: Mapping[str, Any], style: CallStyle) -> dict[str, Any]:
    styled = dict(message)
    if "tool_calls" in message:
        styled["tool_calls"] = [_styled_call(call, style) for call in message["tool_calls"]]
        styled["content"] = (None if style.is_silent else message["content"]) or style.content
    if style.has_short_ids and "tool_call_id" in message:
        styled["tool_call_id"] = _short_id(message["tool_call_id"])
    return styled


def _styled_call(call: Mapping[str, Any], style: CallStyle) -> dict[str, Any]:
    function, identity = call["function"], call["id"]
    if style.has_text_arguments:
        function = {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
    return {**call, "function": function, "id": _short_id(identity) if style.has_short_ids else identity}


def _short_id(identity: str) -> str:
    return identity if SHORT_ID.fullmatch(identity) else hashlib.sha256(identity.encode()).hexdigest()[:ID_LENGTH]
