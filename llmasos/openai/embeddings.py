"""`/v1/embeddings`: texts in, a vector for each out."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.engine.model import Model
from llmasos.errors import UsageError
from llmasos.openai.asked import Stamp
from llmasos.openai.bodies import ASIDE, Body, read_count, read_field, require_known
from llmasos.openai.completions import read_prompts

KNOWN = ASIDE | {"input", "encoding_format", "dimensions"}
ENCODINGS = ("float", "base64")


@dataclass(frozen=True, slots=True)
class EmbeddingAsked:
    """Tokens of texts, and how the vectors are to be written; with `dimensions` only so many of their numbers."""

    texts: Sequence[list[int]]
    dimensions: int | None
    is_base64: bool

    def response(self, vectors: Sequence[Sequence[float]], stamp: Stamp) -> dict[str, Any]:
        """OpenAI's response with the texts' vectors."""
        data = [
            {"object": "embedding", "index": number, "embedding": self._written(vector)}
            for number, vector in enumerate(vectors)
        ]
        read = sum(map(len, self.texts))
        usage = {"prompt_tokens": read, "total_tokens": read}
        return {"object": "list", "data": data, "model": stamp.model, "usage": usage}

    def _written(self, vector: Sequence[float]) -> Sequence[float] | str:
        if self.dimensions is not None and self.dimensions < len(vector):
            vector = vector[: self.dimensions]
            length = math.sqrt(sum(value * value for value in vector)) or 1.0
            vector = [value / length for value in vector]
        if self.is_base64:
            return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return vector


def read_embedding(body: Body, model: Model, width: int) -> EmbeddingAsked:
    """What a body asks of a model that gives `width` numbers. Raises UsageError and BadInputError for what can't be."""
    require_known(body, KNOWN)
    encoding = read_field(body, "encoding_format", str, "float")
    if encoding not in ENCODINGS:
        raise UsageError(f"encoding_format is one of {', '.join(ENCODINGS)}, not `{encoding}`")
    texts = read_prompts(body.get("input"), "input", model)
    return EmbeddingAsked(texts, read_count(body, "dimensions", None, width, least=1), encoding == "base64")
