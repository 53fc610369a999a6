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
    read_count,
    read_field,
    read_options,
    require_known,
)

KNOWN = OF_ANY_ANSWER | {"prompt", "logprobs", "echo", "best_of", "suffix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionAsked(Asked):
    """`echoes` are the prompts' texts, where they are to stand before the answers."""

    echoes: Sequence[str] | None = None

    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        choices = [self._choice(number, answer, piece) for number, answer in enumerate(answers)]
        return {**stamp.on("cmpl", "text_completion"), "choices": choices, "usage": self.usage(answers)}

    def stream(self, stamp: Stamp, piece: TokenBytes) -> CompletionStream:
        return CompletionStream(self, stamp, piece)

    def _choice(self, number: int, answer: Answer, piece: TokenBytes) -> dict[str, Any]:
        place = number // self.count
        echo = self.echoes[place] if self.echoes else ""
        scores = [*answer.prompt_scores, *answer.token_scores]
        first = self.prompts[place][:1] if self.echoes else []
        return {
            "text": echo + answer.text,
            "index": number,
            "logprobs": logprobs.of_text(first, scores, piece) if self.scores else None,
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
        last = self._part(number, "", answer.token_scores[self._told[number] :], finish_reason(answer))
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


def read_completion(body: Body, defaults: Defaults, model: Model, grammar: str | None) -> CompletionAsked:
    """What a body asks for; `grammar` is that of its shape. Raises UsageError and BadInputError for what can't be."""
    require_known(body, KNOWN)
    count = read_count(body, "n", 1, MOST_ANSWERS, least=1) or 1
    if body.get("suffix"):
        raise UsageError("a suffix has no place here: only what follows a prompt is written")
    if read_field(body, "best_of", int, count) != count:
        raise UsageError("best_of has to be n: no answers are written to be thrown away")
    sampling, limits = read_options(body, defaults)
    echo = read_field(body, "echo", bool, False)
    if echo and read_field(body, "stream", bool, False):
        raise UsageError("the prompt is echoed in a whole response only", hint="leave out stream, or echo")
    top = read_count(body, "logprobs", None, MOST_LOGPROBS)
    prompts = read_prompts(body.get("prompt"), "prompt", model)
    return CompletionAsked(
        prompts=prompts,
        sampling=replace(sampling, grammar=grammar or sampling.grammar),
        limits=limits,
        count=count,
        scores=None if top is None else ScoreOptions(prompt_from=0 if echo else None, top=top),
        tells_figures=read_field(body, FIGURES, bool, False),
        echoes=[model.detokenize(prompt) for prompt in prompts] if echo else None,
    )


def read_prompts(given: Any, name: str, model: Model) -> list[list[int]]:
    """The tokens of a text, a list of texts, token ids, or a list of lists of these."""
    if isinstance(given, str) or _are_tokens(given):
        given = [given]
    if not isinstance(given, list) or not given:
        raise BadInputError(f"the {name} is a text, a list of texts, or token ids")
    return [_tokens(each, name, model) for each in given]


def _tokens(given: Any, name: str, model: Model) -> list[int]:
    if isinstance(given, str):
        return model.tokenize(given, add_special=True, parse_special=False)
    if not _are_tokens(given):
        raise BadInputError(f"the {name} is a text, a list of texts, or token ids")
    if wrong := [token for token in given if not 0 <= token < model.vocabulary_size]:
        raise BadInputError(f"{wrong[0]} is no token: the model has {model.vocabulary_size}, counted from 0")
    return list(given)


def _are_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(token) is int for token in given)
