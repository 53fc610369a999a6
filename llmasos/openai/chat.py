"""`/v1/chat/completions`: messages in, the model's next message out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.answers.reader import AnswerReader, Part, Said, Thought, read_reply
from llmasos.chat.conversation import Chat
from llmasos.engine.figures import TokenBytes
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

KNOWN = OF_ANY_ANSWER | {
    "messages", "tools", "tool_choice", "parallel_tool_calls", "think", "reasoning_effort", "chat_template_kwargs",
    "logprobs", "top_logprobs", "modalities",
}  # fmt: skip
EFFORTS = {"none": False, "minimal": False, "low": True, "medium": True, "high": True, "xhigh": True, "max": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAsked(Asked):
    """`form` says how an answer is read as a message, `calls_at_most` how many functions it may call."""

    form: AnswerForm
    calls_at_most: int | None = None

    def response(self, answers: Sequence[Answer], stamp: Stamp, piece: TokenBytes) -> dict[str, Any]:
        choices = [self._choice(number, answer, piece) for number, (_, answer) in enumerate(self.told(answers))]
        return {**stamp.on("chatcmpl", "chat.completion"), "choices": choices, "usage": self.usage(answers)}

    def stream(self, stamp: Stamp, piece: TokenBytes) -> ChatStream:
        return ChatStream(self, stamp, piece)

    def _choice(self, number: int, answer: Answer, piece: TokenBytes) -> dict[str, Any]:
        reply = read_reply(answer.text, self.form)
        reply = replace(reply, tool_calls=reply.tool_calls[: self.calls_at_most])
        ended = finish_reason(answer)
        return {
            "index": number,
            "message": {**reply.as_message(), "refusal": None},
            "logprobs": logprobs.of_message(answer.token_scores, piece) if self.scores else None,
            "finish_reason": "tool_calls" if reply.tool_calls and ended == "stop" else ended,
            **self.figures(answer, piece),
        }


class ChatStream(Stream):
    """`chat.completion.chunk` after `chat.completion.chunk`."""

    def __init__(self, asked: ChatAsked, stamp: Stamp, piece: TokenBytes) -> None:
        self._asked, self._stamp, self._piece = asked, stamp, piece
        self._readers = [AnswerReader(asked.form) for _ in range(asked.count)]
        self._calls = [0] * asked.count
        self._told = [0] * asked.count  # tokens whose scores were sent

    def begin(self) -> list[dict[str, Any]]:
        return [self._chunk(number, {"role": "assistant", "content": ""}) for number in range(self._asked.count)]

    def feed(self, number: int, chunk: Chunk) -> list[dict[str, Any]]:
        chunks = self._deltas(number, self._readers[number].feed(chunk.text))
        return self._with_scores(number, chunks, chunk.token_scores)

    def finish(self, number: int, answer: Answer) -> list[dict[str, Any]]:
        chunks = self._deltas(number, self._readers[number].finish())
        chunks = self._with_scores(number, chunks, answer.token_scores[self._told[number] :])
        ended = finish_reason(answer)
        reason = "tool_calls" if self._calls[number] and ended == "stop" else ended
        last = self._chunk(number, {}, reason)
        last["choices"][0].update(self._asked.figures(answer, self._piece))
        return [*chunks, last]

    def total(self, answers: Sequence[Answer]) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": self._asked.usage(answers)}

    @property
    def _head(self) -> dict[str, Any]:
        return self._stamp.on("chatcmpl", "chat.completion.chunk")

    def _deltas(self, number: int, parts: Iterable[Part]) -> list[dict[str, Any]]:
        return [self._chunk(number, delta) for part in parts if (delta := self._delta(number, part))]

    def _delta(self, number: int, part: Part) -> dict[str, Any]:
        if isinstance(part, Said):
            return {"content": part.text}
        if isinstance(part, Thought):
            return {"reasoning_content": part.text}
        place = self._calls[number]
        if place == self._asked.calls_at_most:
            return {}
        self._calls[number] += 1
        return {"tool_calls": [{"index": place, **part.as_message_part()}]}

    def _with_scores(
        self, number: int, chunks: list[dict[str, Any]], scores: Sequence[TokenScore]
    ) -> list[dict[str, Any]]:
        """The scores go with the last of the chunks; where there is none, in one by themselves."""
        if not scores:
            return chunks
        self._told[number] += len(scores)
        chunks = chunks or [self._chunk(number, {})]
        chunks[-1]["choices"][0]["logprobs"] = logprobs.of_message(scores, self._piece)
        return chunks

    def _chunk(self, number: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "choices": [choice]}


def read_chat(body: Body, defaults: Defaults, chat: Chat, grammar: str | None) -> ChatAsked:
    """What a body asks for; `grammar` is that of its shape. Raises UsageError and BadInputError for what can't be."""
    require_known(body, KNOWN)
    if body.get("modalities") not in (None, ["text"]):
        raise UsageError("the modalities of an answer are text alone")
    sampling, limits = read_options(body, defaults)
    has_shape = (grammar or sampling.grammar) is not None
    count, scores = read_count(body, "n", 1, MOST_ANSWERS, least=1) or 1, _scores(body)
    prompt = chat.prompt(
        read_messages(body.get("messages"), defaults.system),
        tools=read_field(body, "tools", list, []),
        tool_choice=body.get("tool_choice") or "auto",
        think=_think(body, defaults, has_shape=has_shape),
        has_shape=has_shape,
    )
    return ChatAsked(
        prompts=[prompt.tokens],
        sampling=replace(sampling, grammar=grammar or prompt.grammar or sampling.grammar),
        limits=limits,
        count=count,
        beams=read_beams(body, count, is_scored=scores is not None),
        scores=scores,
        shown=prompt.shown,
        question_at=prompt.question_at,
        tells_figures=read_field(body, FIGURES, bool, False),
        form=prompt.form,
        calls_at_most=None if read_field(body, "parallel_tool_calls", bool, True) else 1,
    )


def read_messages(messages: Any, system: str | None) -> list[Mapping[str, Any]]:
    """Messages whose contents are texts, which a body may also give in parts; a developer's are the system's."""
    if not isinstance(messages, list):
        raise BadInputError("the messages are no list", hint='such as [{"role": "user", "content": "Hello"}]')
    read = [_message(number, message) for number, message in enumerate(messages)]
    has_system = any(isinstance(message, Mapping) and message.get("role") == "system" for message in read)
    return read if has_system or not system else [{"role": "system", "content": system}, *read]


def _message(number: int, message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message
    read = {**message, **({"role": "system"} if message.get("role") == "developer" else {})}
    if isinstance(content := message.get("content"), list):
        read["content"] = "".join(_text_of_part(number, part) for part in content)
    return read


def _text_of_part(number: int, part: Any) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else None
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise BadInputError(f"message {number} has a part that is no text ({kind}), and this model reads text alone")
    return text


def _think(body: Body, defaults: Defaults, *, has_shape: bool) -> bool | None:
    """Whether the model may reason before it answers; an answer of a given shape never does, unless told outright."""
    if (think := read_field(body, "think", bool)) is not None:
        return bool(think)
    asked = read_field(body, "chat_template_kwargs", dict, {})
    require_known(asked, frozenset({"enable_thinking"}))
    effort = read_field(body, "reasoning_effort", str)
    if effort is not None and effort not in EFFORTS:
        raise UsageError(f"reasoning_effort is one of {', '.join(EFFORTS)}, not `{effort}`")
    if has_shape:
        return None
    by_effort = defaults.chatting.think if effort is None else EFFORTS[effort]
    return read_field(asked, "enable_thinking", bool, by_effort)  # type: ignore[no-any-return]


def _scores(body: Body) -> ScoreOptions | None:
    top = read_count(body, "top_logprobs", None, MOST_LOGPROBS)
    if read_field(body, "logprobs", bool, False):
        return ScoreOptions(top=top or 0)
    if top is not None:
        raise UsageError("top_logprobs goes with logprobs", hint='add "logprobs": true')
    return None
