"""A batch: from a file of prompts and a model to a file of results. The one place where its parts are put together."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmasos.batch.jobs import Job, Reading, form_of, read_jobs
from llmasos.batch.ledger import Ledger
from llmasos.batch.lines import open_lines
from llmasos.batch.run import Failures, Rules, Run, Tally
from llmasos.batch.templates import PromptTemplate
from llmasos.batch.workers import EmbeddingWorker, TextWorker, Worker
from llmasos.engine.engine import Engine
from llmasos.engine.options import AnswerOptions, ChatOptions, LoadOptions, SamplingOptions
from llmasos.errors import LlmasosError, UsageError
from llmasos.formats.gguf import read_header
from llmasos.formats.purpose import Purpose, purpose_of
from llmasos.load import Loaded, chat_template, unsuited
from llmasos.locate import Located
from llmasos.openai.bodies import Defaults
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS, EmbeddingInterface, TextInterface
from llmasos.progress import Progress

MOST_AT_A_TIME = 32  # more gain little and cost memory; see benchmarks/bench_batch.py
UNKNOWN_ANSWER_TOKENS = 512  # room for an answer whose length nobody set
BYTES_A_TOKEN = 3  # of a body's JSON at least
MOST_TOKENS_EACH = 4096  # planned for each that is worked on; longer ones take what others leave


@dataclass(frozen=True, slots=True)
class Model:
    """The model, and how it is loaded and asked where a line says nothing else."""

    located: Located
    draft: Located | None
    loading: LoadOptions
    sampling: SamplingOptions
    limits: AnswerOptions
    chatting: ChatOptions
    suggested_context: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """The files, and how the first is read. None: what fits. `is_raw`: prompts go to the model as they are."""

    input: Path
    output: Path
    errors: Path | None = None
    form: str | None = None
    template: str | None = None
    system: str | None = None
    is_raw: bool = False
    parallel: int | None = None
    rules: Rules = Rules()


@dataclass(slots=True)
class Survey:
    """What an input holds: its entries, jobs that are left, and of these the longest and all tokens, estimated."""

    entries: int = 0
    left: int = 0
    longest_body_bytes: int = 0
    longest_answer: int = 0
    tokens: int = 0

    def add(self, job: Job, unknown: int) -> None:
        """Counts a job that is left; an answer whose length it does not set counts as `unknown` tokens."""
        length = len(json.dumps(job.body, ensure_ascii=False).encode())
        asked = job.body.get("max_tokens", job.body.get("max_completion_tokens"))
        answer = asked if isinstance(asked, int) and 0 <= asked < MOST_TOKENS_EACH else unknown
        self.left += 1
        self.longest_body_bytes = max(self.longest_body_bytes, length)
        self.longest_answer = max(self.longest_answer, answer)
        self.tokens += length // BYTES_A_TOKEN + answer

    @property
    def tokens_each(self) -> int:
        """Of prompt and answer, on average."""
        return min(MOST_TOKENS_EACH, self.tokens // self.left + 1) if self.left else 1


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told what: how far the run is of how many entries, lines that failed, how it is done; and who stops it."""

    report: Callable[[Tally, int], None]
    tell: Callable[[str], None]
    started: Callable[[Loaded, int], None]
    progress: Progress
    stopping: threading.Event


def run_batch(batch: Batch, model: Model, watch: Watch) -> tuple[Tally, int]:
    """Does all of the input that is not done yet; how that went, and how many entries there are.

    Raises BadInputError for files that can't be read or written, or belong to another batch, BusyError while another
    run writes the same output, DiskFullError, and what loading a model raises.
    """
    _require_files_apart(batch)
    open_lines(batch.input).close()  # or there would be an output of what can't be read
    purpose, reading = _how_to_read(batch, model)
    settings = settings_of(batch, model)
    with Ledger(batch.output) as ledger:
        ledger.require_same_batch(_jobs(batch, reading), settings)
        survey = _survey(batch, reading, ledger, model.limits)
        ledger.cut_torn_end()
        with Failures(batch.errors, watch.tell) as failures, contextlib.ExitStack() as stack:
            worker: Worker = _Nobody()
            if survey.left:
                worker = stack.enter_context(_working(batch, model, purpose, survey, watch))
            entries = read_jobs(batch.input, reading)
            rules, stopping = batch.rules, watch.stopping

            def report(tally: Tally) -> None:
                watch.report(tally, survey.entries)

            run = Run(entries, worker, ledger, failures, rules, settings, report, stopping)
            return run.work(), survey.entries


def settings_of(batch: Batch, model: Model) -> str:
    """All that decides the results beside the lines themselves, as a text that is the same for the same.

    Not how fast it goes: an interrupted batch may be gone on with by other threads or with less memory.
    """
    located = model.located
    if located.manifest:
        files: Any = [(file.role, file.digest) for file in located.manifest.files]
    else:
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in located.paths]
    options = [asdict(each) for each in (model.sampling, model.limits, model.chatting)]
    return json.dumps([files, options, batch.system, model.loading.deterministic, model.loading.lora])


def _require_files_apart(batch: Batch) -> None:
    named = {"--input": batch.input, "--output": batch.output, "--errors": batch.errors}
    places: dict[Path, str] = {}
    for flag, path in named.items():
        if path and (other := places.setdefault(path.resolve(), flag)) != flag:
            raise UsageError(f"{other} and {flag} are the same file, {path}", hint="name another one")


def _how_to_read(batch: Batch, model: Model) -> tuple[Purpose, Reading]:
    headers = [read_header(path) for path in model.located.paths]
    purpose = purpose_of(headers)
    if purpose is Purpose.RANKING:
        raise unsuited(model.located.name, purpose, Purpose.TEXT)
    of_file = headers[0].metadata.get("tokenizer.chat_template")
    can_chat = chat_template(model.located, of_file if isinstance(of_file, str) else None) is not None
    if batch.system and (batch.is_raw or not can_chat or purpose is not Purpose.TEXT):
        raise UsageError("there is no place for --system where prompts go to the model as they are")
    prompts = EMBEDDINGS if purpose is Purpose.EMBEDDING else CHAT if can_chat and not batch.is_raw else COMPLETIONS
    template = PromptTemplate(batch.template) if batch.template is not None else None
    return purpose, Reading(form_of(batch.input, batch.form), prompts, template)


def _jobs(batch: Batch, reading: Reading) -> Iterator[Job]:
    return (entry for entry in read_jobs(batch.input, reading) if isinstance(entry, Job))


def _survey(batch: Batch, reading: Reading, ledger: Ledger, limits: AnswerOptions) -> Survey:
    survey = Survey()
    unknown = UNKNOWN_ANSWER_TOKENS if limits.max_tokens is None else limits.max_tokens
    for entry in read_jobs(batch.input, reading):
        survey.entries += 1
        if isinstance(entry, Job) and not ledger.has(entry):
            survey.add(entry, unknown)
    return survey


@contextlib.contextmanager
def _working(batch: Batch, model: Model, purpose: Purpose, survey: Survey, watch: Watch) -> Iterator[Worker]:
    """The model in memory, and what answers with it."""
    name = model.located.name
    with Loaded(
        model.located,
        model.loading,
        answer_tokens=survey.longest_answer,
        prompt_bytes=survey.longest_body_bytes,
        suggested_context=model.suggested_context,
        progress=watch.progress,
        purpose=purpose,
        draft=model.draft,
    ) as loaded:
        if purpose is Purpose.EMBEDDING:
            with loaded.start_embedder() as embedder:
                watch.started(loaded, 1)
                yield EmbeddingWorker(embedder, EmbeddingInterface(loaded.model, name, embedder.width), name)
            return
        system = model.located.system if batch.system is None else batch.system
        interface = TextInterface(
            loaded.model, loaded.template, name, Defaults(model.sampling, model.limits, model.chatting, system)
        )
        with start_engine(loaded, batch.parallel, survey) as engine:
            parallel = engine.parallel
            watch.started(loaded, parallel)
            yield TextWorker(engine, interface, name, most=2 * parallel, has_own_seeds=model.loading.deterministic)


def start_engine(loaded: Loaded, asked: int | None, survey: Survey) -> Engine:
    """An engine for as many at a time as were asked for, or as the memory has room for."""
    parallel = asked or min(MOST_AT_A_TIME, survey.left)
    if loaded.options.deterministic and asked is None:
        parallel = 1  # each pass is of one alone
    each = survey.tokens_each
    return loaded.start(
        survey.longest_body_bytes // BYTES_A_TOKEN,
        parallel=parallel,
        cells=parallel * each,
        kept=parallel,
        cells_each=0 if asked else each,
    )


class _Nobody:
    """The worker where nothing is left to do."""

    written = 0
    has_room = is_idle = True

    def submit(self, job: Job, key: str) -> None:
        raise LlmasosError("the input has changed while it was read", hint="run the same again")

    def outcomes(self, seconds: float) -> Iterator[Any]:
        return iter(())

    def give_up_what_waits(self) -> None:
        pass
