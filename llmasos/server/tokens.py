"""Routes about a model's tokens and prompts, as llama-server and lm-evaluation-harness have them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from llmasos.chat.conversation import Chat
from llmasos.engine.model import Model
from llmasos.errors import BadInputError, UsageError
from llmasos.openai.bodies import read_field
from llmasos.openai.chat import read_messages

STATUS = "/status"  # what a model works on: no client asks it this
TOKENIZE, DETOKENIZE, TEMPLATE, INFO = "/tokenize", "/detokenize", "/apply-template", "/tokenizer_info"
PATHS = (TOKENIZE, DETOKENIZE, TEMPLATE, INFO)


class TokenInterface:
    """To one model. What others call `content` is also taken, and told, as `prompt`."""

    def __init__(self, model: Model, template: str | None, system: str | None, facts: Mapping[str, Any]) -> None:
        """`facts` are told of the model beside what is known of its tokens."""
        self._model, self._template, self._system, self._facts = model, template, system, facts

    def answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The response. Raises UsageError and BadInputError for what can't be."""
        if path == TOKENIZE:
            return self._tokenize(body)
        if path == DETOKENIZE:
            tokens = self._tokens(body)
            text = self._model.detokenize(tokens, shown=set(tokens))
            return {"content": text, "prompt": text}
        return self._info() if path == INFO else self._rendered(body)

    def _tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        text = body.get("content", body.get("prompt"))
        if not isinstance(text, str):
            raise UsageError("there is no text to tokenize", hint='such as {"content": "Hello"}')
        special = read_field(body, "add_special_tokens", bool, read_field(body, "add_special", bool, False))
        tokens = self._model.tokenize(
            text, add_special=special, parse_special=read_field(body, "parse_special", bool, True)
        )
        if not read_field(body, "with_pieces", bool, False):
            return {"tokens": tokens, "count": len(tokens)}
        return {"tokens": [{"id": token, "piece": self._piece(token)} for token in tokens], "count": len(tokens)}

    def _piece(self, token: int) -> str | list[int]:
        """The token's text; its bytes where they are a part of a character."""
        raw = self._model.piece(token, special=True)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return list(raw)

    def _tokens(self, body: Mapping[str, Any]) -> list[int]:
        tokens = read_field(body, "tokens", list, [])
        if not all(type(token) is int and 0 <= token < self._model.vocabulary_size for token in tokens):
            raise BadInputError(f"tokens are numbers from 0 to {self._model.vocabulary_size - 1}")
        return list(tokens)

    def _rendered(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._template is None:
            raise BadInputError("the model has no chat template")
        prompt = self._chat.prompt(
            read_messages(body.get("messages"), self._system),
            tools=read_field(body, "tools", list, []),
            think=read_field(body, "think", bool),
        )
        text = self._model.detokenize(prompt.tokens, shown=set(prompt.tokens))
        return {"prompt": text, "count": len(prompt.tokens)}

    @functools.cached_property
    def _chat(self) -> Chat:
        assert self._template is not None
        return Chat(self._model, self._template)

    def _info(self) -> dict[str, Any]:
        names = {"bos_token": "bos", "eos_token": "eos", "pad_token": "pad"}
        return {
            **{name: self._model.special_text(kind) or None for name, kind in names.items()},
            "chat_template": self._template,
            "system": self._system,
            **self._facts,
        }
