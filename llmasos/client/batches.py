"""A model of a server, for batches: jobs are bodies of OpenAI's interface already, and are sent as such."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from llmasos.batch.batch import Batch, Nature, Survey
from llmasos.batch.jobs import Job
from llmasos.batch.workers import Outcome, Worker
from llmasos.client.served import ServedModel
from llmasos.engine.options import AnswerOptions
from llmasos.engine.structure import SHAPES
from llmasos.errors import NetworkError, UsageError
from llmasos.formats.purpose import Purpose
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS

OF_A_SHAPE = (*SHAPES, "json_schema", "response_format")
OF_THOUGHT = ("think", "reasoning_effort", "chat_template_kwargs")


@dataclass(frozen=True, slots=True)
class ServerBatchModel:
    """The model, and the options that are asked for where a line says nothing else (`batch.Model`).

    `connected` gives it for a while; `tell` is told how many are under way at a time.
    """

    connected: Callable[[], AbstractContextManager[ServedModel]]
    given: Mapping[str, Any]
    limits: AnswerOptions
    tell: Callable[[str], None] | None

    def nature(self, system: str | None) -> Nature:
        with self.connected() as model:
            about = model.about
            settings = [about.digest, {name: self.given[name] for name in sorted(self.given)}, system]
            return Nature(model.name, about.purpose, about.has_template, settings)

    @contextlib.contextmanager
    def working(self, batch: Batch, purpose: Purpose, survey: Survey) -> Iterator[Worker]:
        with self.connected() as model:
            most = batch.parallel or 2 * model.about.parallel  # or the server would wait for the next one
            if self.tell:
                self.tell(f"llmasos: {most} under way at a time to {model.connection.address.text}")
            yield ServerWorker(model, self.given, batch.system, most)


class ServerWorker:
    """Jobs to a server, `most` at a time (`Worker`)."""

    def __init__(self, model: ServedModel, given: Mapping[str, Any], system: str | None, most: int) -> None:
        self._model, self._given, self._system, self._most = model, given, system, most
        self._done: queue.SimpleQueue[tuple[Job, Future[Any]]] = queue.SimpleQueue()
        self._going: dict[int, Future[Any]] = {}
        self.written = 0

    @property
    def has_room(self) -> bool:
        return len(self._going) < self._most

    @property
    def is_idle(self) -> bool:
        return not self._going

    def submit(self, job: Job, key: str) -> None:
        if job.url not in (CHAT, COMPLETIONS, EMBEDDINGS):
            raise UsageError(f"{self._model.name} does not answer to {job.url}")
        body = merged(job, self._given)
        if job.url == CHAT and isinstance(messages := body.get("messages"), list):
            has_system = any(isinstance(each, Mapping) and each.get("role") == "system" for each in messages)
            body["messages"] = messages if has_system else self._model.conversation(messages, self._system)
        future = self._going[job.number] = self._model.start(job.url, body)
        future.add_done_callback(lambda future: self._done.put((job, future)))

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        """Raises NetworkError where there is no server any more: no job is to blame for that."""
        with contextlib.suppress(queue.Empty):
            job, future = self._done.get(timeout=seconds)
            while True:
                del self._going[job.number]
                yield self._outcome(job, future)
                job, future = self._done.get_nowait()

    def give_up_what_waits(self) -> None:
        """The server works on the oldest; what was sent after these waits there."""
        for future in list(self._going.values())[self._model.about.parallel :]:
            future.cancel()

    def _outcome(self, job: Job, future: Future[Any]) -> Outcome:
        try:
            body = future.result()
        except CancelledError:
            return Outcome(job)
        except NetworkError:
            raise
        except Exception as error:
            return Outcome(job, error=error)
        usage = body["usage"]
        self.written += usage.get("completion_tokens", usage["prompt_tokens"])
        return Outcome(job, body)


def merged(job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the options that hold where it says nothing, as far as they concern its kind of answer."""
    if job.url == EMBEDDINGS:
        return dict(job.body)
    said = {name for name, value in job.body.items() if value is not None}
    left_out = {"grammar"} if said & set(OF_A_SHAPE) else set()
    has_shape = "grammar" in given or bool(said & set(OF_A_SHAPE))
    if job.url == COMPLETIONS or has_shape or said & set(OF_THOUGHT):
        left_out.add("think")
    return {**{name: value for name, value in given.items() if name not in left_out}, **job.body}
