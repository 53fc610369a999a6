"""`/v1/completions`: prompts as they are, and what follows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.engine.figures import TokenBytes
from llmasos.engine.model import Model
from llmasos.engine.options import ScoreOptions
from llmasos.engine.sequence import Answer, Chunk, TokenScore
from llmasos.errors import BadInputError, UsageError
from llmasos.openai import logprobs
from llmasos.openai.asked import Asked, Stamp, Stream, finish_reason
from llmasos.openai.bodies import (
    FIGURES,
    MOST_ANSWERS,
    MOST_LOGPROBS,
    OF_ANY_ANSWER,
    Body,
    Defaults,
    read_beams,
    read_count,
    read_field,
    read_options,
    require_known,
)
from llmasos.openai.filling import tokens_between

KNOWN = OF_ANY_ANSWER | {"prompt", "logprobs", "echo", "best_of", "suffix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionAsked(Asked):
    """`echoes` are the prompts' texts, where they are to stand before the answers. `tells_scores`: they are wanted."""

    echoes: Sequence[str] | None = None
    tells_scores: bool = False

    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        choices = [self._choice(number, *told, piece) for number, told in enumerate(self.told(answers))]
        return {**stamp.on("cmpl", "text_completion"), "choices": choices, "usage": self.usage(answers)}

    def stream(self, stamp: Stamp, piece: TokenBytes) -> CompletionStream:
        return CompletionStream(self, stamp, piece)

    def _choice(self, number: int, place: int, answer: Answer, piece: TokenBytes) -> dict[str, Any]:
        echo = self.echoes[place] if self.echoes else ""
        scores = [*answer.prompt_scores, *_scores_to_the_end(answer)]
        first = self.prompts[place][:1] if self.echoes else []
        return {
            "text": echo + answer.text,
            "index": number,
            "logprobs": logprobs.of_text(first, scores, piece) if self.tells_scores else None,
            "finish_reason": finish_reason(answer),
            **self.figures(answer, piece),
        }


class CompletionStream(Stream):
    """`text_completion` after `text_completion`, each with a piece of one answer."""

    def __init__(self, asked: CompletionAsked, stamp: Stamp, piece: TokenBytes) -> None:
        self._asked, self._stamp, self._piece = asked, stamp, piece
        self._told = [0] * (asked.count * len(asked.prompts))  # tokens whose scores were sent

    def begin(self) -> list[dict[str, Any]]:
        return []

    def feed(self, number: int, chunk: Chunk) -> list[dict[str, Any]]:
        self._told[number] += len(chunk.token_scores)
        return [self._part(number, chunk.text, chunk.token_scores)]

    def finish(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        scores = _scores_to_the_end(answer)[self._told[number] :]
        last = self._part(number, "", scores, finish_reason(answer))
        last["choices"][0].update(self._asked.figures(answer, self._piece))
        return [last]

    def total(self, answers: Sequence[Answer]) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": self._asked.usage(answers)}

    @property
    def _head(self) -> dict[str, Any]:
        return self._stamp.on("cmpl", "text_completion")

    def _part(self, number: int, text: str, scores: Sequence[TokenScore], reason: str | None = None) -> dict[str, Any]:
        logs = logprobs.of_text([], scores, self._piece) if scores else None
        return {**self._head, "choices": [{"text": text, "index": number, "logprobs": logs, "finish_reason": reason}]}


def _scores_to_the_end(answer: Answer) -> Sequence[TokenScore]:
    """With that of the model's end, as OpenAI tells it: who scores a text counts on a token behind it."""
    return answer.token_scores if answer.end_score is None else (*answer.token_scores, answer.end_score)


def read_completion(body: Body, defaults: Defaults, model: Model, grammar: str | None) -> CompletionAsked:
    """What a body asks for; `grammar` is that of its shape. Raises UsageError and BadInputError for what can't be."""
    require_known(body, KNOWN)
    count = read_count(body, "n", 1, MOST_ANSWERS, least=1) or 1
    drawn = _drawn(body, count)
    sampling, limits = read_options(body, defaults)
    echo, suffix = read_field(body, "echo", bool, False), read_field(body, "suffix", str, "")
    if echo and (suffix or read_field(body, "stream", bool, False)):
        raise UsageError(
            "the prompt is echoed in a whole response only, before what follows it",
            hint="leave out stream and suffix, or echo",
        )
    top = read_count(body, "logprobs", None, MOST_LOGPROBS)
    is_scored = top is not None or drawn > count
    prompts = read_prompts(body.get("prompt"), "prompt", model, add_special=not suffix)
    if suffix:
        after = model.tokenize(suffix, add_special=False, parse_special=False)
        prompts = [tokens_between(model, before, after) for before in prompts]
    return CompletionAsked(
        prompts=prompts,
        sampling=replace(sampling, grammar=grammar or sampling.grammar),
        limits=limits,
        count=count,
        drawn=drawn,
        beams=read_beams(body, count, is_scored=is_scored),
        scores=ScoreOptions(prompt_from=0 if echo and top is not None else None, top=top or 0) if is_scored else None,
        tells_figures=read_field(body, FIGURES, bool, False),
        echoes=[model.detokenize(prompt) for prompt in prompts] if echo else None,
        tells_scores=top is not None,
    )


def _drawn(body: Body, count: int) -> int:
    """How many answers are written, of which the best are told."""
    drawn = read_count(body, "best_of", None, MOST_ANSWERS, least=1)
    if drawn is None:
        return count
    if drawn < count:
        raise UsageError(f"best_of is at least n: {count} of {drawn} answers can't be told")
    if drawn > count and read_field(body, "stream", bool, False):
        raise UsageError("which answers are the best is known at their end", hint="leave out stream, or best_of")
    return drawn


def read_prompts(given: Any, name: str, model: Model, *, add_special: bool = True) -> list[list[int]]:
    """The tokens of a text, a list of texts, token ids, or a list of lists of these.

    `add_special` adds what the model wants around a text.
    """
    if isinstance(given, str) or _are_tokens(given):
        given = [given]
    if not isinstance(given, list) or not given:
        raise BadInputError(f"the {name} is a text, a list of texts, or token ids")
    return [_tokens(each, name, model, add_special=add_special) for each in given]


def _tokens(given: Any, name: str, model: Model, *, add_special: bool) -> list[int]:
    if isinstance(given, str):
        return model.tokenize(given, add_special=add_special, parse_special=False)
    if not _are_tokens(given):
        raise BadInputError(f"the {name} is a text, a list of texts, or token ids")
    if wrong := [token for token in given if not 0 <= token < model.vocabulary_size]:
        raise BadInputError(f"{wrong[0]} is no token: the model has {model.vocabulary_size}, counted from 0")
    return list(given)


def _are_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(token) is int for token in given)
