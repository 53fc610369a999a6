"""Ollama's interface to one model: a path and a body in, what is to be asked of the engine out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.engine.model import Model
from llmasos.errors import UsageError
from llmasos.ollama.asked import OllamaAsked, asked_of, nanoseconds
from llmasos.ollama.bodies import CHAT, EMBED, EMBEDDINGS, GENERATE, Reader, read_texts
from llmasos.openai.bodies import Body, Defaults, read_count, read_field


class TextInterface:
    """To a model that writes text. Any thread may ask."""

    def __init__(self, model: Model, template: str | None, name: str, defaults: Defaults) -> None:
        """Raises BadInputError for a template that is none."""
        self._reader, self._name = Reader(model, template, name, defaults), name

    def ask(self, path: str, body: Body, load_seconds: float) -> OllamaAsked:
        """What a body asks for. Raises UsageError or BadInputError for what can't be."""
        if path not in (GENERATE, CHAT):
            raise UsageError(f"{self._name} does not support embeddings")
        is_chat = path == CHAT
        question = self._reader.chat(body) if is_chat else self._reader.generate(body)
        return replace(asked_of(question, is_chat=is_chat), load_seconds=load_seconds)


@dataclass(frozen=True, slots=True)
class EmbeddingAsked:
    """Tokens of texts, and the form of the response; the old one has a single vector, of no fixed length."""

    texts: Sequence[list[int]]
    dimensions: int | None
    is_old: bool
    load_seconds: float

    def response(self, vectors: Sequence[Sequence[float]], model: str, seconds: float) -> dict[str, Any]:
        if self.is_old:
            return {"embedding": vectors[0] if vectors else []}
        return {
            "model": model,
            "embeddings": [self._shortened(vector) for vector in vectors],
            "total_duration": nanoseconds(self.load_seconds + seconds),
            "load_duration": nanoseconds(self.load_seconds),
            "prompt_eval_count": sum(map(len, self.texts)),
        }

    def _shortened(self, vector: Sequence[float]) -> Sequence[float]:
        if self.dimensions is None or self.dimensions >= len(vector):
            return vector
        kept = vector[: self.dimensions]
        length = sum(value * value for value in kept) ** 0.5 or 1.0
        return [value / length for value in kept]


class EmbeddingInterface:
    """To a model that makes vectors, of texts of at most `longest` tokens."""

    def __init__(self, model: Model, name: str, longest: int) -> None:
        self._model, self._name, self._longest = model, name, longest

    def ask(self, path: str, body: Body, load_seconds: float) -> EmbeddingAsked:
        """What a body asks for. Texts are cut to what the model reads unless `truncate` is off, as Ollama does."""
        if path not in (EMBED, EMBEDDINGS):
            raise UsageError(f"{self._name} does not support {'chat' if path == CHAT else 'generate'}")
        is_old = path == EMBEDDINGS
        texts = [
            self._model.tokenize(text, add_special=True, parse_special=False)
            for text in read_texts(body, "prompt" if is_old else "input")
        ]
        if read_field(body, "truncate", bool, True):
            texts = [self._cut(tokens) for tokens in texts]
        dimensions = read_count(body, "dimensions", None, 1_000_000, least=0) or None
        return EmbeddingAsked(texts, dimensions, is_old, load_seconds)

    def _cut(self, tokens: list[int]) -> list[int]:
        """The beginning of a text, and the token that ends every text."""
        return tokens if len(tokens) <= self._longest else [*tokens[: self._longest - 1], tokens[-1]]
