"""Bodies of Ollama's interface: what they ask of the engine, in the engine's words.

Options that Ollama knows and we do not, and unknown fields, are passed over, as Ollama does: its clients send many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.conversation import Chat, ChatPrompt
from llmasos.chat.messages import as_messages
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions, ScoreOptions
from llmasos.engine.structure import grammar_of_shape
from llmasos.errors import BadInputError, UsageError
from llmasos.openai.bodies import Body, Defaults, read_count, read_field
from llmasos.openai.filling import can_fill, tokens_between
from llmasos.settings import canonical_name, overlaid, without_foreign_meaning

GENERATE, CHAT, EMBED, EMBEDDINGS = "/api/generate", "/api/chat", "/api/embed", "/api/embeddings"
MOST_LOGPROBS = 20
RAW_ALONE = ("template", "system", "context")
EFFORTS = {"low": True, "medium": True, "high": True, "max": True}


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and how its answer is to be drawn and read."""

    prompt: ChatPrompt
    sampling: SamplingOptions
    limits: AnswerOptions
    scores: ScoreOptions | None


class Reader:
    """Reads bodies for one model. Any thread may ask."""

    def __init__(self, model: Model, template: str | None, name: str, defaults: Defaults) -> None:
        self._model, self._name, self._defaults = model, name, defaults
        self._chat = Chat(model, template) if template else None

    def generate(self, body: Body) -> Question:
        """Of `/api/generate`. Raises UsageError and BadInputError for what can't be."""
        _refuse_images(body)
        prompt, suffix = read_field(body, "prompt", str, ""), read_field(body, "suffix", str, "")
        sampling, limits, grammar = self._options(body)
        if suffix:
            return self._question(self._between(prompt, suffix), sampling, limits, grammar, body)
        if read_field(body, "raw", bool, False):
            if any(body.get(name) for name in RAW_ALONE):
                raise UsageError("raw mode does not support template, system, or context")
            return self._question(self._raw(prompt), sampling, limits, grammar, body)
        if body.get("template"):
            raise UsageError("a template can't come with a request", hint="raw: true sends a prompt as it is")
        if self._chat is None:
            return self._question(self._raw(prompt, body), sampling, limits, grammar, body)
        system = read_field(body, "system", str, self._defaults.system)
        asked = self._chat.prompt(
            as_messages(prompt, system), think=self._think(body, grammar), has_shape=grammar is not None
        )
        return self._question(_behind(body, asked), sampling, limits, grammar or asked.grammar, body)

    def chat(self, body: Body) -> Question:
        """Of `/api/chat`."""
        if self._chat is None:
            raise UsageError(f"{self._name} does not support chat")
        sampling, limits, grammar = self._options(body)
        asked = self._chat.prompt(
            _messages(body, self._defaults.system),
            tools=read_field(body, "tools", list, []),
            think=self._think(body, grammar),
            has_shape=grammar is not None,
        )
        return self._question(asked, sampling, limits, grammar, body)

    def _question(
        self,
        prompt: ChatPrompt,
        sampling: SamplingOptions,
        limits: AnswerOptions,
        grammar: str | None,
        body: Body,
    ) -> Question:
        return Question(prompt, replace(sampling, grammar=grammar or sampling.grammar), limits, _scores(body))

    def _raw(self, prompt: str, body: Body | None = None) -> ChatPrompt:
        tokens = self._model.tokenize(prompt, add_special=True, parse_special=True)
        return _behind(body or {}, ChatPrompt(tokens, AnswerForm(reasoning=None), frozenset()))

    def _between(self, prompt: str, suffix: str) -> ChatPrompt:
        if not can_fill(self._model):
            raise UsageError(f"{self._name} does not support insert")
        before, after = (
            self._model.tokenize(text, add_special=False, parse_special=False) for text in (prompt, suffix)
        )
        return ChatPrompt(tokens_between(self._model, before, after), AnswerForm(reasoning=None), frozenset())

    def _options(self, body: Body) -> tuple[SamplingOptions, AnswerOptions, str | None]:
        given: dict[str, Any] = {}
        for name, value in read_field(body, "options", dict, {}).items():
            ours = canonical_name(name)
            if (meant := without_foreign_meaning(ours, value)) is not None:
                given[ours] = meant
        if read_field(body, "shift", bool, False):
            given.setdefault("on_overflow", "shift")
        return overlaid(self._defaults.sampling, given), overlaid(self._defaults.limits, given), _grammar(body)

    def _think(self, body: Body, grammar: str | None) -> bool | None:
        """As asked; levels of effort are all the same to us, and an answer of a given form has no room for it."""
        asked = body.get("think")
        if isinstance(asked, str):
            if asked not in EFFORTS:
                raise UsageError(f'invalid think value: "{asked}" (must be "high", "medium", "low", true, or false)')
            asked = EFFORTS[asked]
        if not isinstance(asked, bool | None):
            raise UsageError("think takes true, false, or a level such as high")
        if grammar is not None:
            return None
        return self._defaults.chatting.think if asked is None else asked


def _behind(body: Body, prompt: ChatPrompt) -> ChatPrompt:
    """The prompt behind the tokens of an earlier exchange, which `context` holds."""
    before = read_field(body, "context", list, [])
    if not all(type(token) is int for token in before):
        raise BadInputError("the context is no list of tokens", hint="give back that of an earlier response")
    return prompt.behind(before) if before else prompt


def _messages(body: Body, system: str | None) -> list[Mapping[str, Any]]:
    messages = [_message(each) for each in read_field(body, "messages", list, [])]
    has_system = any(message.get("role") == "system" for message in messages)
    return messages if has_system or not system else [{"role": "system", "content": system}, *messages]


def _message(message: Any) -> Mapping[str, Any]:
    """In the form of `chat.messages`: Ollama calls reasoning `thinking`, and a tool by its name."""
    if not isinstance(message, Mapping):
        raise BadInputError("a message is no JSON object")
    _refuse_images(message)
    read = {name: value for name, value in message.items() if name not in ("thinking", "images", "tool_name")}
    if message.get("thinking"):
        read["reasoning_content"] = message["thinking"]
    if message.get("role") == "tool" and message.get("tool_name"):
        read["name"] = message["tool_name"]
    return read


def _refuse_images(holder: Body) -> None:
    if holder.get("images"):
        raise UsageError("this model does not take images: llmasos reads text alone for now")


def _grammar(body: Body) -> str | None:
    asked = body.get("format")
    if asked in (None, ""):
        return None
    if asked == "json":
        return grammar_of_shape({"format": "json"})
    if isinstance(asked, Mapping):
        return grammar_of_shape({"schema": asked})
    raise UsageError(f'invalid format: {asked!r}; expected "json" or a valid JSON Schema object')


def _scores(body: Body) -> ScoreOptions | None:
    top = read_count(body, "top_logprobs", 0, MOST_LOGPROBS) or 0
    return ScoreOptions(top=top) if read_field(body, "logprobs", bool, False) else None


def read_texts(body: Body, name: str) -> Sequence[str]:
    """The texts to make vectors of: one or several."""
    given = body.get(name)
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadInputError(f"{name} is a text or a list of texts")
    return texts
