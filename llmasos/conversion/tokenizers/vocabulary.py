"""What a tokenizer is to a GGUF: its tokens, how text is cut into them, and which of them mean something special."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class TokenType(IntEnum):
    """From llama.h's `llama_token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer as llama.cpp takes it; one of `types`, and of `scores` if there are any, for each of `tokens`.

    `model` is llama.cpp's name of the algorithm (`gpt2`, `llama`, `bert`, `t5`), `pre` that of the rule by which text
    is cut before it. `more` holds what else the tokenizer has to say, under its full keys: ids of special tokens,
    whether one is put at the front, the chat template.
    """

    model: str
    pre: str
    tokens: Sequence[str | bytes]
    types: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The keys of a GGUF, values as `quantization.writer` takes them."""
        metadata: dict[str, Any] = {
            "tokenizer.ggml.model": self.model,
            "tokenizer.ggml.pre": self.pre,
            "tokenizer.ggml.tokens": list(self.tokens),
            "tokenizer.ggml.token_type": [int(each) for each in self.types],
        }
        if self.scores:
            metadata["tokenizer.ggml.scores"] = list(self.scores)
        if self.merges:
            metadata["tokenizer.ggml.merges"] = list(self.merges)
        return {**metadata, **self.more}
