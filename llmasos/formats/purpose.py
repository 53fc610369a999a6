"""What a GGUF model was made for, as its header says: to write text, to make vectors of texts, or to rank them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum

from llmasos.errors import BadInputError
from llmasos.formats.gguf import GgufHeader

HEADS = frozenset(("cls.weight", "cls.output.weight"))  # of a classifier; nothing else has tensors of these names


class Pooling(IntEnum):
    """What a model makes of its tokens' vectors: llama.h's `llama_pooling_type`, `<architecture>.pooling_type`."""

    NONE = 0
    MEAN = 1
    CLS = 2
    LAST = 3
    RANK = 4


class Purpose(Enum):
    TEXT = "text"
    EMBEDDING = "embedding"
    RANKING = "ranking"


def purpose_of(headers: Sequence[GgufHeader]) -> Purpose:
    """What a model was made for, by the headers of its shards.

    A model with a classifier's head ranks, unless its file asks for another pooling: files that llama.cpp's converter
    made say nothing, as its programs are told on their command lines. One that reads both ways, or has a pooling, gives
    vectors.
    """
    first = headers[0]
    pooling = first.number("pooling_type", Pooling.NONE)
    has_head = any(tensor.name in HEADS for header in headers for tensor in header.tensors)
    if has_head and pooling in (Pooling.NONE, Pooling.RANK):
        return Purpose.RANKING
    return Purpose.TEXT if _reads_forward(first) and pooling == Pooling.NONE else Purpose.EMBEDDING


def reads_in_pieces(header: GgufHeader) -> bool:
    """Whether a text may come to a model in several passes: a token sees but those before it, and the last counts."""
    return _reads_forward(header) and header.number("pooling_type") not in (Pooling.MEAN, Pooling.CLS)


def _reads_forward(header: GgufHeader) -> bool:
    return header.metadata.get(f"{header.architecture}.attention.causal") is not False


IS = {
    Purpose.TEXT: "writes text",
    Purpose.EMBEDDING: "is an embedding model: it turns text into numbers",
    Purpose.RANKING: "is a reranker: it says how well documents answer a query",
}
DOES = {Purpose.TEXT: "write", Purpose.EMBEDDING: "turn text into numbers", Purpose.RANKING: "rank documents"}
USE = {Purpose.EMBEDDING: 'llmasos embed {} "TEXT"', Purpose.RANKING: 'llmasos rerank {} "QUERY" -f FILE'}
OTHERS = {
    Purpose.EMBEDDING: "take an embedding model, such as `all-minilm`",
    Purpose.RANKING: "take a reranker, such as `ms-marco`",
}


def unsuited(name: str, made_for: Purpose, asked: Purpose, *, use: str | None = None) -> BadInputError:
    """What to tell whoever asks a model for what it was not made for; `use` is how it is used, a command by default."""
    hint = OTHERS.get(asked) or use or USE[made_for].format(name)
    return BadInputError(f"{name} {IS[made_for]}; it was not made to {DOES[asked]}", hint=hint)
