"""One model behind a server, in a process of its own: what a runner is made to do.

A request is a path of OpenAI's or Ollama's interface with a body. What is asked for at a time is worked on at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from llmasos.api.loops import Crossing
from llmasos.chat.messages import stored_messages
from llmasos.engine.embedder import Embedder
from llmasos.engine.engine import Engine
from llmasos.engine.options import ALL_OPTIONS, AnswerOptions, ChatOptions, LoadOptions, SamplingOptions
from llmasos.engine.ranker import Ranker
from llmasos.engine.sequence import Answer, Chunk, Event
from llmasos.errors import UsageError
from llmasos.formats.purpose import Purpose
from llmasos.hardware.plan import DEFAULT_CONTEXT_LENGTH
from llmasos.load import Loaded
from llmasos.locate import locate
from llmasos.ollama.interface import EmbeddingInterface as OllamasVectors
from llmasos.ollama.interface import TextInterface as OllamasText
from llmasos.openai.asked import Asked, Stamp, Stream
from llmasos.openai.bodies import Defaults
from llmasos.openai.interface import EmbeddingInterface, TextInterface
from llmasos.openai.ranking import RERANK, read_ranking
from llmasos.server.deadline import GRACE, Deadline
from llmasos.server.tokens import PATHS as TOKEN_PATHS
from llmasos.server.tokens import STATUS, TokenInterface
from llmasos.settings import configured, layered, own_parameters

OLLAMAS = "/api/"
CELLS_EACH = 1024  # room for so many tokens of each that is worked on at a time, if memory allows
Response = AsyncGenerator[dict[str, Any]]
Events = AsyncGenerator[tuple[int, Chunk | Answer]]


class Serving:
    """A model in memory and what answers with it (`runner.child.Work`)."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        """`setup` has the `model`'s name, its `loading` options, and how many are answered at a time (`parallel`)."""
        located, usual = locate(setup["model"], offline=True), layered(LoadOptions, *configured(LoadOptions))
        own, _ = own_parameters(located.parameters or "{}", *ALL_OPTIONS)
        suggested = own.pop("context_length", 0)
        loading = layered(LoadOptions, *configured(LoadOptions), setup["loading"])
        self._name = located.name
        self._loaded = Loaded(
            located, loading, answer_tokens=0, prompt_bytes=0, suggested_context=suggested, purpose=None
        )
        self._usual_context = usual.context_length or min(
            DEFAULT_CONTEXT_LENGTH, self._loaded.shape.trained_context_length
        )
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self._ranker: Ranker | None = None
        if self._loaded.purpose is Purpose.TEXT:
            parallel = int(setup["parallel"])
            self._engine = self._loaded.start(0, parallel=parallel, cells=parallel * CELLS_EACH, kept=parallel)
            known = self._loaded.model, self._loaded.template, self._name, _defaults(own, located.system)
            self._text, self._ollamas_text = TextInterface(*known, self._engine.context.length), OllamasText(*known)
        elif self._loaded.purpose is Purpose.EMBEDDING:
            self._embedder = self._loaded.start_embedder()
            self._vectors = EmbeddingInterface(self._loaded.model, self._name, self._embedder.width)
            self._ollamas_vectors = OllamasVectors(self._loaded.model, self._name, self._embedder.longest)
        else:
            self._ranker = self._loaded.start_ranker()
        self._tokens = TokenInterface(
            self._loaded.model,
            self._loaded.template,
            located.system,
            {
                "purpose": self._loaded.purpose.value,
                "context_length": self.facts["context_length"],
                "parallel": int(setup["parallel"]),
                "digest": located.manifest.digest if located.manifest else None,
                "messages": stored_messages(located.messages),
            },
        )

    @property
    def facts(self) -> Mapping[str, Any]:
        plan = self._loaded.plan
        return {
            "byte_count": plan.total_bytes,
            "context_length": self._engine.context.length if self._engine else plan.context_length,
            "usual_context": self._usual_context,
            "gpu_layers": plan.gpu_layers,
            "layer_count": plan.layer_count,
            "purpose": self._loaded.purpose.value,
        }

    @property
    def busy_seconds(self) -> float:
        return self._engine.busy_seconds if self._engine else 0.0

    @functools.cached_property
    def _crossing(self) -> Crossing:
        return Crossing(asyncio.get_running_loop())

    async def answer(self, request: Any) -> Response:
        """The response, in its parts if the body asks for a stream."""
        path = request["path"]
        if path == STATUS:
            yield {"sequences": self._engine.going_on if self._engine else 0}
            return
        body, stamp = request["body"], Stamp(request["key"], int(time.time()), request["model"])
        deadline, load_seconds = Deadline(request.get("seconds")), request["load_seconds"]
        if self._engine is None or path in TOKEN_PATHS:
            yield await deadline.wait(self._at_once(path, body, stamp, load_seconds))
            return
        # Making tokens of a long prompt takes a while.
        asked = await deadline.wait(asyncio.to_thread(self._ask, path, body, load_seconds))
        is_streamed = path.startswith(OLLAMAS) if body.get("stream") is None else body["stream"]
        events = self._events(asked, deadline)
        responses = self._streamed(asked, events, body, stamp) if is_streamed else self._whole(asked, events, stamp)
        async with contextlib.aclosing(responses):
            async for each in responses:
                yield each

    def _ask(self, path: str, body: Mapping[str, Any], load_seconds: float) -> Asked:
        if path.startswith(OLLAMAS):
            return self._ollamas_text.ask(path, body, load_seconds)
        return self._text.ask(path, body)

    async def _at_once(self, path: str, body: Mapping[str, Any], stamp: Stamp, load_seconds: float) -> dict[str, Any]:
        """What is no text that grows."""
        if path in TOKEN_PATHS:
            return await asyncio.to_thread(self._tokens.answer, path, body)
        if self._ranker:
            return await self._rank(path, body, stamp)
        if path.startswith(OLLAMAS):
            return await self._embed_for_ollama(path, body, stamp, load_seconds)
        return await self._embed(path, body, stamp)

    async def _whole(self, asked: Asked, events: Events, stamp: Stamp) -> Response:
        async with contextlib.aclosing(events):
            answers = {number: event async for number, event in events if isinstance(event, Answer)}
        yield asked.response([answers[number] for number in sorted(answers)], stamp, self._loaded.model.piece)

    async def _streamed(self, asked: Asked, events: Events, body: Mapping[str, Any], stamp: Stamp) -> Response:
        stream, answers = asked.stream(stamp, self._loaded.model.piece), dict[int, Answer]()
        for part in stream.begin():
            yield part
        async with contextlib.aclosing(events):
            async for number, event in events:
                if isinstance(event, Answer):
                    answers[number] = event
                for part in _parts(stream, asked, number, event):
                    yield part
        if (body.get("stream_options") or {}).get("include_usage"):
            total = stream.total([answers[number] for number in sorted(answers)])
            if total is not None:
                yield total

    async def _events(self, asked: Asked, deadline: Deadline) -> Events:
        """Pieces and answers as they come, with the numbers of their sequences. Leaving early ends them all."""
        assert self._engine is not None
        limits = deadline.limited(asked.limits)
        crossing, events = self._crossing, asyncio.Queue[tuple[int, Event]]()
        sequences = []
        try:
            for number, (prompt, sampling) in enumerate(asked.sequences()):
                sequences.append(
                    self._engine.submit(
                        prompt,
                        sampling,
                        limits,
                        asked.beams,
                        scores=asked.scores,
                        shown=asked.shown,
                        question_at=asked.question_at,
                        listener=lambda event, number=number: crossing.call(events.put_nowait, (number, event)),  # type: ignore[misc]
                    )
                )
            left = len(sequences)
            while left:
                number, event = await deadline.wait(events.get(), GRACE)
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Answer):
                    deadline.require_begun(event)
                    left -= 1
                yield number, event
        finally:
            for sequence in sequences:
                self._engine.cancel(sequence)

    async def _embed(self, path: str, body: Mapping[str, Any], stamp: Stamp) -> dict[str, Any]:
        assert self._embedder is not None
        asked = await asyncio.to_thread(self._vectors.ask, path, body)
        return asked.response(await asyncio.to_thread(self._embedder.embed, asked.texts), stamp)

    async def _rank(self, path: str, body: Mapping[str, Any], stamp: Stamp) -> dict[str, Any]:
        assert self._ranker is not None
        if path != RERANK:
            raise UsageError(f"{self._name} does not answer to {path}", hint=f"it does to {RERANK}")
        asked = read_ranking(body)
        ranked = await asyncio.to_thread(self._ranker.rank, asked.query, asked.documents, top=asked.top)
        return asked.response(ranked, stamp)

    async def _embed_for_ollama(
        self, path: str, body: Mapping[str, Any], stamp: Stamp, load_seconds: float
    ) -> dict[str, Any]:
        assert self._embedder is not None
        asked = await asyncio.to_thread(self._ollamas_vectors.ask, path, body, load_seconds)
        begun = time.perf_counter()
        vectors = await asyncio.to_thread(self._embedder.embed, asked.texts, normalize=not asked.is_old)
        return asked.response(vectors, stamp.model, time.perf_counter() - begun)


def _parts(stream: Stream, asked: Asked, number: int, event: Chunk | Answer) -> Iterable[dict[str, Any]]:
    """What a sequence's event says in a stream. A beam search says all at its end."""
    if isinstance(event, Chunk):
        yield from stream.feed(number, event)
        return
    for place, answer in asked.ends(number, event):
        if asked.beams:
            yield from stream.feed(place, Chunk(answer.text, len(answer.tokens)))
        yield from stream.finish(place, answer)


def make(setup: Mapping[str, Any]) -> Serving:
    """What `Runner.start` names."""
    return Serving(setup)


def _defaults(own: Mapping[str, Any], system: str | None) -> Defaults:
    """What holds where a body says nothing: the model's own options, those of the settings over them."""
    return Defaults(
        layered(SamplingOptions, own, *configured(SamplingOptions)),
        layered(AnswerOptions, own, *configured(AnswerOptions)),
        layered(ChatOptions, own, *configured(ChatOptions)),
        system,
    )
