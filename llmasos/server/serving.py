"""One model behind a server, in a process of its own: what a runner is made to do.

A request is a path of OpenAI's or Ollama's interface with a body. What is asked for at a time is worked on at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from llmasos.api.loops import Crossing
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
from llmasos.openai.asked import Asked, Stamp
from llmasos.openai.bodies import Defaults
from llmasos.openai.interface import EmbeddingInterface, TextInterface
from llmasos.openai.ranking import RERANK, read_ranking
from llmasos.server.tokens import PATHS as TOKEN_PATHS
from llmasos.server.tokens import STATUS, TokenInterface
from llmasos.settings import configured, layered, own_parameters

OLLAMAS = "/api/"
CELLS_EACH = 1024  # room for so many tokens of each that is worked on at a time, if memory allows
Response = AsyncGenerator[dict[str, Any]]


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
        self._tokens = TokenInterface(self._loaded.model, self._loaded.template, located.system)
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self._ranker: Ranker | None = None
        if self._loaded.purpose is Purpose.TEXT:
            parallel = int(setup["parallel"])
            self._engine = self._loaded.start(0, parallel=parallel, cells=parallel * CELLS_EACH, kept=parallel)
            known = self._loaded.model, self._loaded.template, self._name, _defaults(own, located.system)
            self._text, self._ollamas_text = TextInterface(*known), OllamasText(*known)
        elif self._loaded.purpose is Purpose.EMBEDDING:
            self._embedder = self._loaded.start_embedder()
            self._vectors = EmbeddingInterface(self._loaded.model, self._name, self._embedder.width)
            self._ollamas_vectors = OllamasVectors(self._loaded.model, self._name, self._embedder.longest)
        else:
            self._ranker = self._loaded.start_ranker()

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
        if path in TOKEN_PATHS:
            yield await asyncio.to_thread(self._tokens.answer, path, body)
            return
        is_ollamas = path.startswith(OLLAMAS)
        if (path == RERANK) != (self._ranker is not None):
            raise UsageError(
                f"{self._name} does not answer to {path}", hint=f"{RERANK} is for rerankers, and they for it"
            )
        if self._ranker:
            yield await self._rank(body, stamp)
            return
        if self._engine is None:
            if is_ollamas:
                yield await self._embed_for_ollama(path, body, stamp, request["load_seconds"])
            else:
                yield await self._embed(path, body, stamp)
            return
        if is_ollamas:
            asked: Asked = await asyncio.to_thread(self._ollamas_text.ask, path, body, request["load_seconds"])
        else:
            asked = await asyncio.to_thread(self._text.ask, path, body)  # making tokens of a long prompt takes a while
        is_streamed = is_ollamas if body.get("stream") is None else body["stream"]
        responses = self._streamed(asked, body, stamp) if is_streamed else self._whole(asked, stamp)
        async with contextlib.aclosing(responses):
            async for each in responses:
                yield each

    async def _whole(self, asked: Asked, stamp: Stamp) -> Response:
        async with contextlib.aclosing(self._events(asked)) as events:
            answers = {number: event async for number, event in events if isinstance(event, Answer)}
        yield asked.response([answers[number] for number in sorted(answers)], stamp, self._loaded.model.piece)

    async def _streamed(self, asked: Asked, body: Mapping[str, Any], stamp: Stamp) -> Response:
        stream, answers = asked.stream(stamp, self._loaded.model.piece), dict[int, Answer]()
        for part in stream.begin():
            yield part
        async with contextlib.aclosing(self._events(asked)) as events:
            async for number, event in events:
                if isinstance(event, Answer):
                    answers[number] = event
                    parts = stream.finish(number, event)
                else:
                    parts = stream.feed(number, event)
                for part in parts:
                    yield part
        if (body.get("stream_options") or {}).get("include_usage"):
            yield stream.total([answers[number] for number in sorted(answers)])

    async def _events(self, asked: Asked) -> AsyncGenerator[tuple[int, Chunk | Answer]]:
        """Pieces and answers as they come, with the numbers of their sequences. Leaving early ends them all."""
        assert self._engine is not None
        crossing, events = self._crossing, asyncio.Queue[tuple[int, Event]]()
        sequences = []
        try:
            for number, (prompt, sampling) in enumerate(asked.sequences()):
                sequences.append(
                    self._engine.submit(
                        prompt,
                        sampling,
                        asked.limits,
                        scores=asked.scores,
                        shown=asked.shown,
                        listener=lambda event, number=number: crossing.call(events.put_nowait, (number, event)),  # type: ignore[misc]
                    )
                )
            left = len(sequences)
            while left:
                number, event = await events.get()
                if isinstance(event, BaseException):
                    raise event
                left -= isinstance(event, Answer)
                yield number, event
        finally:
            for sequence in sequences:
                self._engine.cancel(sequence)

    async def _embed(self, path: str, body: Mapping[str, Any], stamp: Stamp) -> dict[str, Any]:
        assert self._embedder is not None
        asked = await asyncio.to_thread(self._vectors.ask, path, body)
        return asked.response(await asyncio.to_thread(self._embedder.embed, asked.texts), stamp)

    async def _rank(self, body: Mapping[str, Any], stamp: Stamp) -> dict[str, Any]:
        assert self._ranker is not None
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
