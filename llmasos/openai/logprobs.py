"""Scores of tokens as OpenAI's interface writes them, which differs between messages and plain completions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmasos.engine.figures import TokenBytes
from llmasos.engine.sequence import TokenScore
from llmasos.engine.text import TextDecoder


def of_message(scores: Iterable[TokenScore], piece: TokenBytes) -> dict[str, Any]:
    """`logprobs` of a chat's choice: each token with its bytes, and the likeliest in its place."""

    def entry(token: int, log_probability: float) -> dict[str, Any]:
        raw = piece(token)
        return {"token": raw.decode("utf-8", "replace"), "logprob": log_probability, "bytes": list(raw)}

    content = [
        {**entry(score.token, score.log_probability), "top_logprobs": [entry(*each) for each in score.top]}
        for score in scores
    ]
    return {"content": content, "refusal": None}


def of_text(first: Sequence[int], scores: Iterable[TokenScore], piece: TokenBytes) -> dict[str, Any]:
    """`logprobs` of a completion's choice: lists side by side.

    `first` are tokens that have no score, as nothing stands before them. `text_offset` counts characters.
    """
    columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    decoder, offset = TextDecoder(), 0
    unscored = [TokenScore(token, 0.0) for token in first]
    for number, score in enumerate([*unscored, *scores]):
        is_scored = number >= len(unscored)
        raw = piece(score.token)
        columns["tokens"].append(_name(raw))
        columns["token_logprobs"].append(score.log_probability if is_scored else None)
        columns["top_logprobs"].append(
            {_name(piece(token)): value for token, value in score.top} if is_scored else None
        )
        columns["text_offset"].append(offset)
        offset += len(decoder.feed(raw))
    return columns


def _name(raw: bytes) -> str:
    """A token as a text; one that is a part of a character as OpenAI shows its bytes."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
