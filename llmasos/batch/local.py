"""A model of this machine, for batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from llmasos.batch.batch import BYTES_A_TOKEN, Batch, Nature, Survey
from llmasos.batch.workers import EmbeddingWorker, TextWorker, Worker
from llmasos.engine.debias import MOST_ATTRIBUTES, room_for_prefixes, sequence_count
from llmasos.engine.engine import Engine
from llmasos.engine.options import AnswerOptions, ChatOptions, LoadOptions, SamplingOptions
from llmasos.formats.gguf import read_header
from llmasos.formats.purpose import Purpose, purpose_of
from llmasos.load import Loaded, chat_template
from llmasos.locate import Located
from llmasos.openai.bodies import Defaults
from llmasos.openai.interface import EmbeddingInterface, TextInterface
from llmasos.progress import Progress

MOST_DEBIASED = 1 + MOST_ATTRIBUTES  # at a time, for one answer
MOST_AT_A_TIME = 32  # more gain little and cost memory; see benchmarks/bench_batch.py


@dataclass(frozen=True, slots=True)
class LocalBatchModel:
    """The model, and how it is loaded and asked where a line says nothing else (`batch.Model`).

    `started` is told of the model in memory, and how many it works on at a time.
    """

    located: Located
    draft: Located | None
    loading: LoadOptions
    sampling: SamplingOptions
    limits: AnswerOptions
    chatting: ChatOptions
    suggested_context: int
    started: Callable[[Loaded, int], None]
    progress: Progress

    def nature(self, system: str | None) -> Nature:
        headers = [read_header(path) for path in self.located.paths]
        of_file = headers[0].metadata.get("tokenizer.chat_template")
        can_chat = chat_template(self.located, of_file if isinstance(of_file, str) else None) is not None
        return Nature(self.located.name, purpose_of(headers), can_chat, self._settings(system))

    def _settings(self, system: str | None) -> list[Any]:
        """Not how fast it goes: an interrupted batch may be gone on with by other threads or with less memory."""
        located = self.located
        if located.manifest:
            files: Any = [(file.role, file.digest) for file in located.manifest.files]
        else:
            files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in located.paths]
        options = [asdict(each) for each in (self.sampling, self.limits, self.chatting)]
        control = [self.loading.control_vector, self.loading.control_layers]
        return [files, options, system, self.loading.deterministic, self.loading.lora, *control]

    @contextlib.contextmanager
    def working(self, batch: Batch, purpose: Purpose, survey: Survey) -> Iterator[Worker]:
        """The model in memory, and what answers with it."""
        name = self.located.name
        with Loaded(
            self.located,
            self.loading,
            answer_tokens=survey.longest_answer,
            prompt_bytes=survey.longest_body_bytes,
            suggested_context=self.suggested_context,
            progress=self.progress,
            purpose=purpose,
            draft=self.draft,
        ) as loaded:
            if purpose is Purpose.EMBEDDING:
                with loaded.start_embedder() as embedder:
                    self.started(loaded, 1)
                    yield EmbeddingWorker(embedder, EmbeddingInterface(loaded.model, name, embedder.width), name)
                return
            system = self.located.system if batch.system is None else batch.system
            interface = TextInterface(
                loaded.model, loaded.template, name, Defaults(self.sampling, self.limits, self.chatting, system)
            )
            with start_engine(loaded, batch.parallel, survey, self.sampling) as engine:
                parallel = engine.parallel
                self.started(loaded, parallel)
                yield TextWorker(engine, interface, name, most=2 * parallel, has_own_seeds=self.loading.deterministic)


def start_engine(loaded: Loaded, asked: int | None, survey: Survey, sampling: SamplingOptions) -> Engine:
    """An engine for as many at a time as were asked for, or as the memory has room for, or as one answer needs.

    `sampling` is what holds where a line says nothing else.
    """
    least, prefix = MOST_DEBIASED if survey.debiased else sequence_count(sampling), 0
    if least > 1:
        prefix = room_for_prefixes(sampling)
    most = 1 if loaded.options.deterministic else MOST_AT_A_TIME  # there each pass is of one alone
    parallel = asked or max(min(most, survey.left), least)
    each = survey.tokens_each + prefix
    return loaded.start(
        survey.longest_body_bytes // BYTES_A_TOKEN + prefix,
        parallel=parallel,
        cells=parallel * each,
        kept=parallel,
        cells_each=0 if asked or least > 1 else each,
    )
