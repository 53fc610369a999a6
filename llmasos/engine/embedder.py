"""Embeddings: texts to vectors by a model that was made for it, with the pooling that its file names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmasos.engine.model import Model
from llmasos.engine.pooled import PooledContext, PooledOptions, Text
from llmasos.errors import BadInputError
from llmasos.formats.purpose import Pooling

UNFIT: dict[int, str] = {
    Pooling.NONE: "it has no pooling, which makes one vector of a text",
    Pooling.RANK: "it was made to rank texts",
}


class Embedder:
    """`with` frees the context. A text has at most `longest` tokens: such models read a text whole."""

    def __init__(self, model: Model, options: PooledOptions) -> None:
        self.model, self.longest = model, options.longest
        self._context = PooledContext(model, options)
        if why := UNFIT.get(self._context.pooling):
            self.close()
            raise BadInputError(f"this model gives no embeddings: {why}")
        self.width = self._context.width

    def embed(self, texts: Sequence[Sequence[int]], *, normalize: bool = True) -> list[list[float]]:
        """A vector of `width` numbers for the tokens of each text, of length 1 unless `normalize` is off.

        Raises PromptTooLongError and BadInputError for a text that is too long, or none.
        """
        read = [Text(tokens) for tokens in texts]
        for number, text in enumerate(read):
            name = f"text {number}" if len(read) > 1 else "the text"
            if not text.tokens:
                raise BadInputError(f"{name} is empty", hint="leave it out")
            self._context.require_room(text, name)
        vectors = self._context.read(read)
        return [_normalized(vector) for vector in vectors] if normalize else vectors

    def close(self) -> None:
        self._context.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _normalized(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
