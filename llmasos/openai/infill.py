"""`/infill`, as llama-server has it: what stands between two texts, by the fields and in the responses of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from llmasos.engine.figures import TokenBytes
from llmasos.engine.model import Model
from llmasos.engine.options import INT32, AnswerOptions, ScoreOptions
from llmasos.engine.sequence import Answer, Chunk, TokenScore
from llmasos.errors import BadInputError, UsageError
from llmasos.openai import logprobs
from llmasos.openai.asked import Asked, Stamp, Stream
from llmasos.openai.bodies import (
    MOST_LOGPROBS,
    OF_ANY_ANSWER,
    Body,
    Defaults,
    read_count,
    read_field,
    read_options,
    require_known,
)
from llmasos.openai.filling import HERE, cut_to_room, tokens_between, tokens_of_files

INFILL = "/infill"
# What llama-server does with it plays no part here: how it samples, keeps and cuts is chosen by other names.
PASSED_OVER = frozenset((
    "n_keep", "n_discard", "n_indent", "n_cache_reuse", "samplers", "t_max_prompt_ms", "timings_per_token", "min_keep",
))  # fmt: skip
OWN = {
    "input_prefix", "input_suffix", "input_extra", "prompt", "n_probs", "return_tokens", "response_fields",
    "t_max_predict_ms",
}  # fmt: skip
KNOWN = (OF_ANY_ANSWER | PASSED_OVER | OWN) - {"n", "num_beams", "length_penalty", "early_stopping"}
STOP_TYPES = {"stop": "eos", "cancelled": "none"}  # whatever else ends an answer is a limit
LEAST_SHARE = 4  # of the context, this part (one in four) is left for an answer of no given length


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillAsked(Asked):
    """`text` is the prompt's. Of the response's fields all are given, or only `fields`."""

    text: str
    context_length: int
    returns_tokens: bool = False
    fields: Sequence[str] = ()

    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        [answer] = answers
        return self.end(answer, answer.text, answer.token_scores, stamp, piece)

    def stream(self, stamp: Stamp, piece: TokenBytes) -> InfillStream:
        return InfillStream(self, stamp, piece)

    def end(
        self,
        answer: Answer,
        content: str,
        scores: Sequence[TokenScore],
        stamp: Stamp,
        piece: TokenBytes,
    ) -> dict[str, Any]:
        """How an answer ended, with all figures; `content` and its `scores` are what has not been said before."""
        reason = answer.finish_reason
        whole = {
            **head(content),
            "tokens": list(answer.tokens) if self.returns_tokens else [],
            "stop": True,
            "model": stamp.model,
            "tokens_predicted": len(answer.tokens),
            "tokens_evaluated": answer.prompt_tokens,
            "generation_settings": self._settings(answer.seed),
            "prompt": self.text,
            "has_new_line": "\n" in answer.text,
            "truncated": reason == "context" or answer.shifted_tokens > 0,
            "stop_type": "word" if answer.stop is not None else STOP_TYPES.get(reason, "limit"),
            "stopping_word": answer.stop or "",
            "tokens_cached": answer.cached_tokens,
            "timings": timings(answer),
            **probabilities(scores, piece),
        }
        return chosen(whole, self.fields) if self.fields else whole

    def _settings(self, seed: int) -> dict[str, Any]:
        limits, sampling = asdict(self.limits), asdict(self.sampling)
        length = self.limits.max_tokens
        return {
            "n_ctx": self.context_length,
            **sampling,
            **limits,
            "seed": seed,
            "n_predict": -1 if length is None else length,
        }


class InfillStream(Stream):
    """A piece of text after the other; the last one, which is empty, has all figures."""

    def __init__(self, asked: InfillAsked, stamp: Stamp, piece: TokenBytes) -> None:
        self._asked, self._stamp, self._piece = asked, stamp, piece
        self._told = 0  # tokens whose scores were sent

    def begin(self) -> list[dict[str, Any]]:
        return []

    def feed(self, number: int, chunk: Chunk) -> list[dict[str, Any]]:
        self._told += len(chunk.token_scores)
        read = {"tokens_predicted": chunk.completion_tokens, "tokens_evaluated": len(self._asked.prompts[0])}
        said = {**head(chunk.text), "tokens": [], "stop": False, **read}
        return [{**said, **probabilities(chunk.token_scores, self._piece)}]

    def finish(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        return [self._asked.end(answer, "", answer.token_scores[self._told :], self._stamp, self._piece)]


def head(content: str) -> dict[str, Any]:
    """How every object begins."""
    return {"index": 0, "content": content, "id_slot": -1}


def timings(answer: Answer) -> dict[str, float]:
    """In milliseconds, and in tokens a second."""
    read = answer.prompt_tokens - answer.cached_tokens
    written = len(answer.tokens)
    return {
        "cache_n": answer.cached_tokens,
        "prompt_n": read,
        "prompt_ms": 1000 * answer.prompt_seconds,
        "prompt_per_token_ms": 1000 * answer.prompt_seconds / max(1, read),
        "prompt_per_second": answer.prompt_tokens_per_second,
        "predicted_n": written,
        "predicted_ms": 1000 * answer.completion_seconds,
        "predicted_per_token_ms": 1000 * answer.completion_seconds / max(1, written),
        "predicted_per_second": answer.tokens_per_second,
    }


def probabilities(scores: Sequence[TokenScore], piece: TokenBytes) -> dict[str, Any]:
    """Each token with its number, and the likeliest in its place; nothing where none are scored."""
    if not scores:
        return {}
    told = logprobs.of_message(scores, piece)["content"]
    return {
        "completion_probabilities": [
            {
                "id": score.token,
                **entry,
                "top_logprobs": [
                    {"id": token, **each} for (token, _), each in zip(score.top, entry["top_logprobs"], strict=True)
                ],
            }
            for score, entry in zip(scores, told, strict=True)
        ]
    }


def chosen(response: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The fields that are wanted, as far as there are such; `a/b` is the field b of a, by that name."""
    found: dict[str, Any] = {}
    for name in fields:
        value: Any = response
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found[name] = value
    return found


def read_infill(body: Body, defaults: Defaults, model: Model, grammar: str | None, context_length: int) -> InfillAsked:
    """What a body asks for. What is too long for the context loses what is farthest from the gap.

    Raises UsageError and BadInputError for what can't be.
    """
    require_known(body, KNOWN)
    sampling, limits = read_options(body, defaults)
    limits = _limited(body, limits)
    before = _tokens(model, _text(body, "input_prefix") + read_field(body, "prompt", str, ""))
    after, extra = _tokens(model, _text(body, "input_suffix")), tokens_of_files(model, _files(body))
    marks = len(tokens_between(model, [], []))
    answer = min(limits.max_tokens or context_length, context_length // LEAST_SHARE)
    prompt = tokens_between(model, *cut_to_room(before, after, extra, context_length - marks - max(1, answer)))
    top = read_count(body, "n_probs", 0, MOST_LOGPROBS) or 0
    return InfillAsked(
        prompts=[prompt],
        sampling=replace(sampling, grammar=grammar or sampling.grammar),
        limits=limits,
        scores=ScoreOptions(top=top) if top else None,
        text=model.detokenize(prompt, shown=set(prompt)),
        context_length=context_length,
        returns_tokens=read_field(body, "return_tokens", bool, False),
        fields=_names(body),
    )


def _limited(body: Body, limits: AnswerOptions) -> AnswerOptions:
    """With llama-server's word for a limit in time, where that is the shorter one; none is 0 or -1."""
    milliseconds = read_count(body, "t_max_predict_ms", 0, INT32, least=-1) or 0
    if milliseconds <= 0:
        return limits
    seconds = milliseconds / 1000
    return replace(limits, max_seconds=seconds if limits.max_seconds is None else min(seconds, limits.max_seconds))


def _text(body: Body, name: str) -> str:
    text = read_field(body, name, str)
    if text is None:
        raise UsageError(f"{name} is missing: the text before the gap is input_prefix, behind it input_suffix")
    return str(text)


def _files(body: Body) -> list[tuple[str, str]]:
    """Names and texts of other files."""
    files = read_field(body, "input_extra", list, [])
    for number, file in enumerate(files):
        if not isinstance(file, Mapping) or not isinstance(file.get("text"), str):
            raise BadInputError(f"input_extra[{number}] has no text", hint='such as {"filename": "a.py", "text": "…"}')
        if not isinstance(file.get("filename", HERE), str):
            raise BadInputError(f"the filename of input_extra[{number}] is no text")
    return [(file.get("filename", HERE), file["text"]) for file in files]


def _names(body: Body) -> list[str]:
    names = read_field(body, "response_fields", list, [])
    if not all(isinstance(name, str) for name in names):
        raise UsageError("response_fields takes a list of texts")
    return list(names)


def _tokens(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=False, parse_special=False)
