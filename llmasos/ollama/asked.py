"""What a body of Ollama's interface asks for, and what it gets: lines of JSON, of which the last has all figures."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.answers.reader import AnswerReader, Part, Said, Thought, read_reply
from llmasos.chat.messages import ToolCall
from llmasos.engine.figures import TokenBytes
from llmasos.engine.sequence import Answer, Chunk, TokenScore
from llmasos.ollama.bodies import Question
from llmasos.openai import logprobs
from llmasos.openai.asked import Asked, Stamp, Stream

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaAsked(Asked):
    """`is_chat`: the answer is a message, else a text. `load_seconds` is what loading the model has taken."""

    form: AnswerForm
    is_chat: bool
    load_seconds: float = 0.0

    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        [answer] = answers
        reply = read_reply(answer.text, self.form)
        said = self.said(reply.content, reply.reasoning, reply.tool_calls)
        scores = {"logprobs": scored(answer.token_scores, piece)} if self.scores else {}
        return {**head(stamp), **said, **self.end(answer), **scores}

    def stream(self, stamp: Stamp, piece: TokenBytes) -> OllamaStream:
        return OllamaStream(self, stamp, piece)

    def said(self, text: str, thought: str = "", calls: Sequence[ToolCall] = (), first: int = 0) -> dict[str, Any]:
        """A piece of an answer, or the whole; `first` counts the calls before."""
        called = [_call(first + place, call) for place, call in enumerate(calls)]
        tool_calls = {"tool_calls": called} if called else {}
        thinking = {"thinking": thought} if thought else {}
        if self.is_chat:
            return {"message": {"role": "assistant", "content": text, **thinking, **tool_calls}}
        return {"response": text, **thinking, **tool_calls}

    def end(self, answer: Answer) -> dict[str, Any]:
        """How it ended, and the figures."""
        [prompt] = self.prompts
        took = self.load_seconds + answer.prompt_seconds + answer.completion_seconds
        context = {} if self.is_chat else {"context": [*prompt, *answer.tokens]}
        return {
            "done": True,
            "done_reason": "stop" if answer.finish_reason == "stop" else "length",
            **context,
            "total_duration": nanoseconds(took),
            "load_duration": nanoseconds(self.load_seconds),
            "prompt_eval_count": answer.prompt_tokens,
            "prompt_eval_duration": nanoseconds(answer.prompt_seconds),
            "eval_count": len(answer.tokens),
            "eval_duration": nanoseconds(answer.completion_seconds),
        }


class OllamaStream(Stream):
    """An object for each piece, and one that ends it."""

    def __init__(self, asked: OllamaAsked, stamp: Stamp, piece: TokenBytes) -> None:
        self._asked, self._stamp, self._piece = asked, stamp, piece
        self._reader = AnswerReader(asked.form)
        self._calls = self._told = 0

    def begin(self) -> list[dict[str, Any]]:
        return []

    def feed(self, number: int, chunk: Chunk) -> list[dict[str, Any]]:
        self._told += len(chunk.token_scores)
        return self._with_scores(self._parts(self._reader.feed(chunk.text)), chunk.token_scores)

    def finish(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        parts = self._with_scores(self._parts(self._reader.finish()), answer.token_scores[self._told :])
        return [*parts, {**head(self._stamp), **self._asked.said(""), **self._asked.end(answer)}]

    def _parts(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        return [{**head(self._stamp), **self._said(part), "done": False} for part in parts]

    def _said(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Said):
            return self._asked.said(part.text)
        if isinstance(part, Thought):
            return self._asked.said("", part.text)
        self._calls += 1
        return self._asked.said("", calls=[part], first=self._calls - 1)

    def _with_scores(self, parts: list[dict[str, Any]], scores: Sequence[TokenScore]) -> list[dict[str, Any]]:
        if not scores:
            return parts
        parts = parts or [{**head(self._stamp), **self._asked.said(""), "done": False}]
        parts[-1]["logprobs"] = scored(scores, self._piece)
        return parts


def asked_of(question: Question, *, is_chat: bool) -> OllamaAsked:
    prompt = question.prompt
    return OllamaAsked(
        prompts=[prompt.tokens],
        sampling=question.sampling,
        limits=question.limits,
        scores=question.scores,
        shown=prompt.shown,
        question_at=prompt.question_at,
        form=prompt.form,
        is_chat=is_chat,
    )


def head(stamp: Stamp) -> dict[str, Any]:
    """How every object begins."""
    return {"model": stamp.model, "created_at": now()}


def now() -> str:
    return timestamp(datetime.datetime.now(datetime.timezone.utc).timestamp())


def timestamp(seconds: float) -> str:
    """Of seconds since the epoch, as RFC 3339 has it, in this zone."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="microseconds")


def nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS)


def scored(scores: Sequence[TokenScore], piece: TokenBytes) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = logprobs.of_message(scores, piece)["content"]
    return content


def _call(place: int, call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": {"index": place, "name": call.name, "arguments": dict(call.arguments)}}
