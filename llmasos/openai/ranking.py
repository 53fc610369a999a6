"""`/v1/rerank`, as Cohere, Jina and llama-server have it: a query and documents in, scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.engine.ranker import Ranked
from llmasos.errors import BadInputError
from llmasos.openai.asked import Stamp
from llmasos.openai.bodies import ASIDE, Body, read_count, read_field, require_known

RERANK = "/v1/rerank"
KNOWN = ASIDE | {"query", "documents", "top_n", "return_documents"}
MOST_DOCUMENTS = 100_000


@dataclass(frozen=True, slots=True)
class RankingAsked:
    """The `top` best are wanted, or all, with their texts if these are to come back."""

    query: str
    documents: Sequence[str]
    top: int | None
    with_texts: bool

    def response(self, ranked: Sequence[Ranked], stamp: Stamp) -> dict[str, Any]:
        return {"id": f"rerank-{stamp.key}", "object": "list", "model": stamp.model, "results": self._results(ranked)}

    def _results(self, ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
        return [
            {
                "index": each.index,
                "relevance_score": each.score,
                **({"document": {"text": each.text}} if self.with_texts else {}),
            }
            for each in ranked
        ]


def read_ranking(body: Body) -> RankingAsked:
    """What a body asks for. Raises UsageError and BadInputError for what can't be."""
    require_known(body, KNOWN)
    given = body.get("documents")
    if not isinstance(given, list) or len(given) > MOST_DOCUMENTS:
        raise BadInputError(f"the documents are no list of at most {MOST_DOCUMENTS:,} texts")
    return RankingAsked(
        read_field(body, "query", str, ""),
        [_text(number, document) for number, document in enumerate(given)],
        read_count(body, "top_n", None, MOST_DOCUMENTS, least=1),
        read_field(body, "return_documents", bool, False),
    )


def _text(number: int, document: Any) -> str:
    """A document, which may be an object with its `text`."""
    text = document.get("text") if isinstance(document, Mapping) else document
    if not isinstance(text, str):
        raise BadInputError(f"document {number} is no text")
    return text
