"""Ranking: how well documents answer a query, by a model that reads the two at once (a cross-encoder, a reranker)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.engine.model import Model
from llmasos.engine.pairs import pair_maker
from llmasos.engine.pooled import PooledContext, PooledOptions, VectorsOf
from llmasos.errors import BadInputError, UsageError
from llmasos.formats.purpose import Pooling

LONGEST_QUOTE = 40  # letters of a document in a message


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document, and its place in the list that was given, counted from 0.

    The higher the score, the better it answers the query; what numbers there are is the model's affair.
    """

    index: int
    score: float
    text: str


class Ranker:
    """`with` frees the context. A query and a document have at most `longest` tokens together."""

    def __init__(self, model: Model, options: PooledOptions, *, vectors_of: VectorsOf | None = None) -> None:
        self.model, self.longest = model, options.longest
        self._pair = pair_maker(model)
        if model.score_count > 1 and model.rerank_template is None:
            raise BadInputError(f"this model sorts texts into {model.score_count} classes; it has no score to rank by")
        self._context = PooledContext(model, options, pooling=Pooling.RANK, vectors_of=vectors_of)

    def rank(self, query: str, documents: Sequence[str], *, top: int | None = None) -> list[Ranked]:
        """The documents, or the `top` best of them, the best first; equals stay in their order.

        Raises BadInputError for a query or a document that is empty, PromptTooLongError for one that is too long.
        """
        if isinstance(documents, str):
            raise UsageError("the documents are one text", hint="give a list of texts")
        if top is not None and top < 1:
            raise UsageError(f"top is at least 1, not {top}")
        scores = self.scores(query, documents)
        ranked = [Ranked(index, score, documents[index]) for index, score in enumerate(scores)]
        return sorted(ranked, key=lambda each: -each.score)[:top]

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """A score for each document, in their order. Raises as `rank` does."""
        if not query.strip():
            raise BadInputError("the query is empty")
        for index, document in enumerate(documents):
            if not document.strip():
                raise BadInputError(f"document {index} is empty", hint="leave it out")
        texts = [self._pair(query, document) for document in documents]
        for index, text in enumerate(texts):
            self._context.require_room(text, f"document {index} ({_quoted(documents[index])}) with the query")
        return [row[0] for row in self._context.read(texts)]

    def close(self) -> None:
        self._context.close()

    def __enter__(self) -> Ranker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _quoted(text: str) -> str:
    """How a document begins, for whoever has to find it."""
    line = " ".join(text.split())
    return f"`{line}`" if len(line) <= LONGEST_QUOTE else f"`{line[:LONGEST_QUOTE].rstrip()} …`"
