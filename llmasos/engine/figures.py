"""All that is known of a finished answer beside what it says, and the documented JSON of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmasos.engine.sequence import Answer, TokenScore

OF_TOKENS = {
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
    "cached": "cached_tokens",
    "shifted": "shifted_tokens",
    "guessed": "guessed_tokens",
    "spared": "spared_passes",
}
OF_TIME = ("prompt_seconds", "completion_seconds", "prompt_tokens_per_second", "tokens_per_second")


class TokenBytes(Protocol):
    """The bytes of a token; of control tokens only if `special` (`Model.piece`)."""

    def __call__(self, token: int, *, special: bool = False) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The words of `Answer`, but for tokens, of which there is the number alone.

    `seed` is None where nobody told it. `logprobs` are scored tokens as JSON: `token`, `id`, `logprob`, and in `top`
    the likeliest in its place.
    """

    finish_reason: str
    stop: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    shifted_tokens: int = 0
    guessed_tokens: int = 0
    spared_passes: int = 0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0
    prompt_tokens_per_second: float = 0.0
    tokens_per_second: float = 0.0
    seed: int | None = None
    score: float | None = None
    logprobs: tuple[Mapping[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "finish_reason": self.finish_reason,
            "stop": self.stop,
            "tokens": {told: getattr(self, name) for told, name in OF_TOKENS.items()},
            "timings": {name: getattr(self, name) for name in OF_TIME},
            "seed": self.seed,
            **({} if self.score is None else {"score": self.score}),
            **({"logprobs": list(self.logprobs)} if self.logprobs else {}),
        }


def figures_of(answer: Answer, piece: TokenBytes) -> Figures:
    """Those of an answer."""
    known = {name: getattr(answer, name) for name in (*OF_TOKENS.values(), *OF_TIME) if name != "completion_tokens"}
    return Figures(
        finish_reason=answer.finish_reason,
        stop=answer.stop,
        completion_tokens=len(answer.tokens),
        seed=answer.seed,
        score=answer.score,
        logprobs=tuple(_scored(each, piece) for each in answer.token_scores),
        **known,
    )


def figures_in(told: Any) -> Figures:
    """What `as_json` wrote. Raises KeyError or TypeError for anything else."""
    tokens, timings = told["tokens"], told["timings"]
    return Figures(
        finish_reason=told["finish_reason"],
        stop=told["stop"],
        seed=told["seed"],
        score=told.get("score"),
        logprobs=tuple(told.get("logprobs", ())),
        **{name: tokens[each] for each, name in OF_TOKENS.items()},
        **{name: timings[name] for name in OF_TIME},
    )


def _scored(score: TokenScore, piece: TokenBytes) -> dict[str, Any]:
    def entry(token: int, log_probability: float) -> dict[str, Any]:
        text = piece(token, special=True).decode("utf-8", "replace")
        return {"token": text, "id": token, "logprob": log_probability}

    return {**entry(score.token, score.log_probability), "top": [entry(*each) for each in score.top]}
