"""From the messages of a conversation to the tokens of a prompt, and to what has to be known to read the answer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.dialect import Dialect
from llmasos.chat.messages import Message, normal_tools
from llmasos.chat.template import ChatTemplate
from llmasos.chat.tool_choice import ToolChoice, call_grammar, chosen_tools
from llmasos.engine.model import Model
from llmasos.errors import UsageError


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A prompt at whose end the model's next message begins.

    `form` says how that is to be read, `shown` which control tokens belong to its text. `grammar` is there if it has to
    be the call of a function. `question_at` is the token where the last question begins, None if that is not known.
    """

    tokens: list[int]
    form: AnswerForm
    shown: frozenset[int]
    grammar: str | None = None
    question_at: int | None = None

    def behind(self, tokens: list[int]) -> ChatPrompt:
        """The prompt behind others' tokens."""
        place = None if self.question_at is None else self.question_at + len(tokens)
        return replace(self, tokens=[*tokens, *self.tokens], question_at=place)


class Chat:
    """How one model is talked to: by the templates in its file."""

    def __init__(self, model: Model, template: str) -> None:
        """Raises BadInputError for a template that is none."""
        self._model = model
        self._dialect = self._make_dialect(template)

    def prompt(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: ToolChoice = "auto",
        think: bool | None = None,
        has_shape: bool = False,
    ) -> ChatPrompt:
        """The prompt for the model's next message.

        `tools` are functions that it may call, `tool_choice` whether it may, must or must not. `think` turns reasoning
        on or off as far as the model lets it. `has_shape`: a grammar rules over the answer, which has no room for
        reasoning then, just as a call that it must make. Raises BadInputError for messages or tools that are none.
        """
        offered, is_forced = chosen_tools(normal_tools(tools), tool_choice)
        if (is_forced or has_shape) and think:
            raise UsageError("an answer of a given form leaves no room to think", hint="leave out one of the two")
        if is_forced and has_shape:
            raise UsageError("a tool that has to be called leaves no room for another grammar", hint="leave out one")
        dialect = self._tool_dialect if offered else self._dialect
        rendered = dialect.render(messages, offered, think=False if is_forced or has_shape else think)
        family = rendered.form.family
        grammar = call_grammar(family, offered) if is_forced and family else None
        tokens, shown = self._tokens(rendered.text), self._shown(rendered.form)
        return ChatPrompt(tokens, rendered.form, shown, grammar, self._question_at(tokens, rendered.text, messages))

    @functools.cached_property
    def _tool_dialect(self) -> Dialect:
        """Some files have a template of its own for tools."""
        text = self._model.tool_template
        dialect = self._make_dialect(text) if text else self._dialect
        return dialect if dialect.family else self._dialect

    def _make_dialect(self, template: str) -> Dialect:
        bos, eos = self._model.special_text("bos"), self._model.special_text("eos")
        return Dialect(ChatTemplate(template), bos=bos, eos=eos)

    def _tokens(self, text: str) -> list[int]:
        bos = self._model.special_text("bos")
        begins_with_bos = bool(bos) and text.startswith(bos)
        return self._model.tokenize(text, add_special=not begins_with_bos, parse_special=True)

    def _question_at(self, tokens: list[int], text: str, messages: Sequence[Message]) -> int | None:
        """Where the last question begins among the tokens of the whole text."""
        asked = [message.get("content") for message in messages if message.get("role") == "user"]
        place = text.rfind(asked[-1].strip()) if asked and isinstance(asked[-1], str) else -1
        if place < 0:
            return None
        behind = self._model.tokenize(text[place:], add_special=False, parse_special=True)
        # the first may be another, as some vocabularies put a blank before a text
        is_end = 1 < len(behind) < len(tokens) and tokens[1 - len(behind) :] == behind[1:]
        return len(tokens) - len(behind) if is_end else None

    def _shown(self, form: AnswerForm) -> frozenset[int]:
        tokens = (self._model.tokenize(mark, add_special=False, parse_special=True) for mark in form.marks)
        return frozenset(token for each in tokens for token in each)
