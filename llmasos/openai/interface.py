"""OpenAI's interface to one model: a path and a body in, what is to be asked of the engine out."""

from __future__ import annotations

import functools
import json
from typing import Any

from llmasos.chat.conversation import Chat
from llmasos.engine.model import Model
from llmasos.engine.structure import grammar_of_shape
from llmasos.errors import BadInputError, UsageError
from llmasos.openai.asked import Asked
from llmasos.openai.bodies import Body, Defaults, require_known, shape_of
from llmasos.openai.chat import KNOWN as KNOWN_OF_CHAT
from llmasos.openai.chat import read_chat
from llmasos.openai.completions import KNOWN as KNOWN_OF_COMPLETIONS
from llmasos.openai.completions import read_completion
from llmasos.openai.embeddings import EmbeddingAsked, read_embedding
from llmasos.openai.infill import INFILL, read_infill
from llmasos.openai.infill import KNOWN as KNOWN_OF_INFILL

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
GRAMMARS_KEPT = 64  # of shapes that many bodies have in common


class TextInterface:
    """To a model that writes text. Any thread may ask."""

    def __init__(
        self, model: Model, template: str | None, name: str, defaults: Defaults, context_length: int | None = None
    ) -> None:
        """`template` is that of its chats, `name` what people know it by; None of a context is as long as it learned.

        Raises BadInputError for a template that is none.
        """
        self._model, self._name, self._defaults = model, name, defaults
        self._context_length = context_length or model.trained_context_length
        self._chat = Chat(model, template) if template else None

    def ask(self, path: str, body: Body) -> Asked:
        """What a body asks for. Raises UsageError or BadInputError for what can't be."""
        if path == COMPLETIONS:
            require_known(body, KNOWN_OF_COMPLETIONS)
            return read_completion(body, self._defaults, self._model, _grammar_of(body))
        if path == CHAT:
            require_known(body, KNOWN_OF_CHAT)
            if self._chat is None:
                raise BadInputError(f"{self._name} has no chat template", hint=f"{COMPLETIONS} takes any text")
            return read_chat(body, self._defaults, self._chat, _grammar_of(body))
        if path == INFILL:
            require_known(body, KNOWN_OF_INFILL)
            return read_infill(body, self._defaults, self._model, _grammar_of(body), self._context_length)
        raise _no_path(path, self._name, CHAT, COMPLETIONS, INFILL)


class EmbeddingInterface:
    """To a model that makes vectors of `width` numbers."""

    def __init__(self, model: Model, name: str, width: int) -> None:
        self._model, self._name, self._width = model, name, width

    def ask(self, path: str, body: Body) -> EmbeddingAsked:
        """What a body asks for. Raises UsageError or BadInputError for what can't be."""
        if path != EMBEDDINGS:
            raise _no_path(path, self._name, EMBEDDINGS)
        return read_embedding(body, self._model, self._width)


def _no_path(path: str, name: str, *paths: str) -> UsageError:
    return UsageError(f"{name} does not answer to {path}", hint=f"it does to {', '.join(paths)}")


def _grammar_of(body: Body) -> str | None:
    shape = shape_of(body)
    return _grammar(json.dumps(shape, sort_keys=True)) if shape else None


@functools.lru_cache(GRAMMARS_KEPT)
def _grammar(shape: str) -> str | None:
    asked: dict[str, Any] = json.loads(shape)
    return grammar_of_shape(asked)
