"""A model behind a server, as what runs here would use it: asked, counted with, turned to for vectors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from llmasos.chat.answers.reader import Part, Said, Thought
from llmasos.chat.asked import Ended, Piece, Told
from llmasos.chat.messages import Message, Reply
from llmasos.client.connection import Connection
from llmasos.engine.figures import Figures, figures_in
from llmasos.engine.options import ScoreOptions
from llmasos.engine.ranker import Ranked
from llmasos.errors import BadInputError
from llmasos.formats.purpose import Purpose, unsuited
from llmasos.openai.bodies import FIGURES
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS
from llmasos.openai.ranking import RERANK

TOKENIZE, TEMPLATE, INFO = "/tokenize", "/apply-template", "/tokenizer_info"  # as llama-server has them
VECTORS_AS_THEY_COME = "/api/embeddings"  # Ollama's old way, which makes no length of 1
TEXTS_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class About:
    """What a server tells of a model. `parallel` is how many requests it works on at a time."""

    purpose: Purpose
    context_length: int
    parallel: int
    has_template: bool
    system: str | None
    messages: Sequence[Message]
    digest: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """Messages, or a text as it is; and what is wanted by the names of `engine.options`, as far as anybody said."""

    said: Sequence[Message] | str
    options: Mapping[str, Any]
    scores: ScoreOptions | None = None

    @property
    def path(self) -> str:
        return COMPLETIONS if isinstance(self.said, str) else CHAT

    @property
    def body(self) -> dict[str, Any]:
        given = {name: value for name, value in self.options.items() if value is not None}
        if isinstance(self.said, str):
            given.pop("think", None)
            scores = {} if self.scores is None else {"logprobs": self.scores.top}
            return {**given, "prompt": self.said, **scores}
        scores = {} if self.scores is None else {"logprobs": True, "top_logprobs": self.scores.top}
        return {**given, "messages": list(self.said), **scores}


class ServedModel:
    """One model of a server, by the server's name for it; `loading` is how it is to be loaded for us.

    One that is `patient` waits while the server is busy with others; else that is an error.
    """

    def __init__(self, connection: Connection, name: str, loading: Mapping[str, Any], *, patient: bool) -> None:
        self.connection, self.name, self._is_patient = connection, name, patient
        self._own = {"model": name, **loading}

    @functools.cached_property
    def about(self) -> About:
        """Asked for once; the server loads the model for it. Raises ModelNotFoundError and all that loading may."""
        told = self._post(INFO, {})
        try:
            return About(
                Purpose(told["purpose"]),
                int(told["context_length"]),
                int(told["parallel"]),
                told["chat_template"] is not None,
                told["system"],
                told["messages"],
                told["digest"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self.connection.stranger() from error

    def require(self, purpose: Purpose) -> None:
        """Raises BadInputError for a model that was made for something else."""
        if self.about.purpose is not purpose:
            raise unsuited(self.name, self.about.purpose, purpose)

    def conversation(self, messages: Sequence[Message], system: str | None) -> list[Message]:
        """Messages behind the system prompt; None leaves it to the model's own, an empty one is none at all."""
        if system or (system is not None and self.about.system):
            return [{"role": "system", "content": system}, *messages]
        return list(messages)

    def ask(self, question: Question, *, ended: Ended | None = None) -> ServedAsked:
        """Begins an answer. Of many only so many are under way as keep the server busy."""
        return ServedAsked(self, question, ended=ended)

    def start(self, path: str, body: Mapping[str, Any]) -> Future[Any]:
        """Begins a whole response; whoever does so bounds how many are under way."""
        return self.connection.start(self._request(path, body))

    def stream(self, question: Question) -> AsyncGenerator[dict[str, Any]]:
        """The events of an answer."""
        body = {**question.body, **self._own, "stream": True, FIGURES: True}
        return self.connection.events(question.path, body, patient=self._is_patient)

    @functools.cached_property
    def room(self) -> asyncio.Semaphore:
        """As many requests as the server works on, and as many that wait for their turn there."""
        return asyncio.Semaphore(2 * self.about.parallel)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        told = self._post(TOKENIZE, {"content": text, "parse_special": False})
        return int(told["count"])

    def split(self, text: str, *, special: bool) -> list[tuple[int, str]]:
        """The tokens with their texts; `special`: control tokens by their names, and what the model adds."""
        asked = {"content": text, "add_special": special, "parse_special": special, "with_pieces": True}
        return [(each["id"], _text(each["piece"])) for each in self._post(TOKENIZE, asked)["tokens"]]

    def rank(self, query: str, documents: Sequence[str], *, top: int | None = None) -> list[Ranked]:
        """The documents, or the `top` best of them, the best first."""
        told = self._post(RERANK, {"query": query, "documents": list(documents), "top_n": top})
        return [Ranked(each["index"], each["relevance_score"], documents[each["index"]]) for each in told["results"]]

    def count_prompt(self, messages: Sequence[Message], think: bool | None) -> int:
        """Tokens of the prompt that the messages make."""
        told = self._post(TEMPLATE, {"messages": list(messages), "think": think})
        return int(told["count"])

    def count_texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model reads it for a vector."""
        bodies = [{"content": text, "add_special": True, "parse_special": False} for text in texts]
        return [int(told["count"]) for told in self._send_all(TOKENIZE, bodies)]

    def vectors(self, texts: Sequence[str], *, normalize: bool = True) -> list[list[float]]:
        """A vector for each text, of length 1 unless `normalize` is off."""
        for number, text in enumerate(texts):
            if not text:
                raise BadInputError(f"text {number} is empty" if len(texts) > 1 else "the text is empty")
        if not normalize:
            bodies: list[dict[str, Any]] = [{"prompt": text, "truncate": False} for text in texts]
            return [told["embedding"] for told in self._send_all(VECTORS_AS_THEY_COME, bodies)]
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        bodies = [{"input": list(part)} for part in parts]
        return [entry["embedding"] for told in self._send_all(EMBEDDINGS, bodies) for entry in told["data"]]

    def _send_all(self, path: str, bodies: Sequence[Mapping[str, Any]]) -> list[Any]:
        async def sent(body: Mapping[str, Any]) -> Any:
            async with self.room:
                return await self._request(path, body)

        async def all_sent() -> list[Any]:
            return await asyncio.gather(*map(sent, bodies))

        self.about  # noqa: B018  # says how many may be under way, and is asked for in this thread
        return self.connection.wait(all_sent())

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.connection.wait(self._request(path, body))

    async def _request(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self.connection.request("POST", path, {**body, **self._own}, patient=self._is_patient)


class ServedAsked:
    """An answer that comes from a server (`chat.asked.Asked`)."""

    def __init__(self, model: ServedModel, question: Question, *, ended: Ended | None) -> None:
        self._said: dict[int, list[Part]] = {0: []}  # by the numbers of the answers: of a beam search there are several
        self._figures: dict[int, Figures] = {}
        self._count = 0
        self._told: Told | None = None
        self._ended = ended
        self._events: queue.SimpleQueue[Piece | Future[None]] = queue.SimpleQueue()
        model.about  # noqa: B018  # as above
        self._future = model.connection.start(self._follow(model, question))
        self._future.add_done_callback(self._end)

    def pieces(self, tick: float | None = None) -> Iterator[Piece | None]:
        try:
            while self._told is None:
                try:
                    piece = self._next(tick)
                except queue.Empty:
                    yield None
                    continue
                if piece is not None:
                    yield piece
        finally:
            if self._told is None:
                self.cancel()

    def told(self) -> Told:
        while self._told is None:
            self._next(None)
        return self._told

    def cancel(self) -> None:
        self._future.cancel()

    def _next(self, tick: float | None) -> Piece | None:
        """The next piece; None where the answer has ended. Raises queue.Empty, and what went wrong."""
        event = self._events.get(timeout=tick)
        if isinstance(event, Piece):
            self._said[0] += event.parts
            self._count = event.completion_tokens
            return event
        with contextlib.suppress(CancelledError):
            event.result()
        self._told = self._told_of(0, *(number for number in sorted(self._figures) if number))
        return None

    def _told_of(self, number: int, *others: int) -> Told:
        figures = self._figures.get(number) or Figures(finish_reason="cancelled", completion_tokens=self._count)
        said = "".join(part.text for part in self._said.get(number, ()) if isinstance(part, Said))
        thought = "".join(part.text for part in self._said.get(number, ()) if isinstance(part, Thought))
        return Told(Reply(said, thought), figures, tuple(self._told_of(other) for other in others))

    def _end(self, future: Future[None]) -> None:
        """In whatever thread ends it."""
        self._events.put(future)
        if self._ended:
            self._ended()

    async def _follow(self, model: ServedModel, question: Question) -> None:
        """In the connection's thread."""
        count, last = 0, dict[int, Any]({0: None})
        async with model.room, contextlib.aclosing(model.stream(question)) as events:
            async for event in events:
                for choice in event.get("choices", ()):
                    number, parts = choice.get("index", 0), _parts(choice)
                    if parts and number == 0:
                        count += 1  # most pieces are a token; how many it were is told at the end
                        self._events.put(Piece(parts, count))
                    elif parts:
                        self._said.setdefault(number, []).extend(parts)
                    last[number] = choice.get(FIGURES)
        try:
            self._figures = {number: figures_in(told) for number, told in last.items()}
        except (KeyError, TypeError) as error:
            raise model.connection.stranger() from error


def _text(piece: str | list[int]) -> str:
    """Of a token, which is told as bytes where these are a part of a character."""
    return piece if isinstance(piece, str) else bytes(piece).decode("utf-8", "replace")


def _parts(choice: Mapping[str, Any]) -> list[Part]:
    """What a piece of a stream says and thinks."""
    delta = choice.get("delta", {})
    parts: list[Part] = []
    if thought := delta.get("reasoning_content"):
        parts.append(Thought(thought))
    if said := delta.get("content") or choice.get("text"):
        parts.append(Said(said))
    return parts
