"""A batch: from a file of prompts and a model to a file of results. The one place where its parts are put together."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmasos.batch.jobs import Job, Reading, form_of, read_jobs
from llmasos.batch.ledger import Ledger
from llmasos.batch.lines import open_lines
from llmasos.batch.run import Failures, Rules, Run, Tally
from llmasos.batch.templates import PromptTemplate
from llmasos.batch.workers import Worker
from llmasos.engine.options import AnswerOptions
from llmasos.errors import LlmasosError, UsageError
from llmasos.formats.purpose import Purpose, unsuited
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS

UNKNOWN_ANSWER_TOKENS = 512  # room for an answer whose length nobody set
BYTES_A_TOKEN = 3  # of a body's JSON at least
MOST_TOKENS_EACH = 4096  # planned for each that is worked on; longer ones take what others leave


@dataclass(frozen=True, slots=True)
class Nature:
    """What a model can do, and in `settings` all that decides its results beside the lines, as JSON can hold it."""

    name: str
    purpose: Purpose
    can_chat: bool
    settings: Any


class Model(Protocol):
    """Who does the work: a model of this machine (`local`), or of a server."""

    @property
    def limits(self) -> AnswerOptions: ...
    def nature(self, system: str | None) -> Nature:
        """Told before anything is loaded, as far as that can be. `system` is the batch's own."""

    def working(self, batch: Batch, purpose: Purpose, survey: Survey) -> AbstractContextManager[Worker]:
        """What answers the batch's lines."""


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
    debiased: bool = False  # one of them at least

    def add(self, job: Job, unknown: int) -> None:
        """Counts a job that is left; an answer whose length it does not set counts as `unknown` tokens."""
        length = len(json.dumps(job.body, ensure_ascii=False).encode())
        asked = job.body.get("max_tokens", job.body.get("max_completion_tokens"))
        answer = asked if isinstance(asked, int) and 0 <= asked < MOST_TOKENS_EACH else unknown
        self.left += 1
        self.debiased |= job.body.get("debias") == "self"
        self.longest_body_bytes = max(self.longest_body_bytes, length)
        self.longest_answer = max(self.longest_answer, answer)
        self.tokens += length // BYTES_A_TOKEN + answer

    @property
    def tokens_each(self) -> int:
        """Of prompt and answer, on average."""
        return min(MOST_TOKENS_EACH, self.tokens // self.left + 1) if self.left else 1


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told what: how far the run is of how many entries, and lines that failed; and who stops it."""

    report: Callable[[Tally, int], None]
    tell: Callable[[str], None]
    stopping: threading.Event


def run_batch(batch: Batch, model: Model, watch: Watch) -> tuple[Tally, int]:
    """Does all of the input that is not done yet; how that went, and how many entries there are.

    Raises BadInputError for files that can't be read or written, or belong to another batch, BusyError while another
    run writes the same output, DiskFullError, and what loading a model raises.
    """
    _require_files_apart(batch)
    open_lines(batch.input).close()  # or there would be an output of what can't be read
    nature = model.nature(batch.system)
    reading = _how_to_read(batch, nature)
    settings = json.dumps(nature.settings)
    with Ledger(batch.output) as ledger:
        ledger.require_same_batch(_jobs(batch, reading), settings)
        survey = _survey(batch, reading, ledger, model.limits)
        ledger.cut_torn_end()
        with Failures(batch.errors, watch.tell) as failures, contextlib.ExitStack() as stack:
            worker: Worker = _Nobody()
            if survey.left:
                worker = stack.enter_context(model.working(batch, nature.purpose, survey))
            entries = read_jobs(batch.input, reading)
            rules, stopping = batch.rules, watch.stopping

            def report(tally: Tally) -> None:
                watch.report(tally, survey.entries)

            run = Run(entries, worker, ledger, failures, rules, settings, report, stopping)
            return run.work(), survey.entries


def _require_files_apart(batch: Batch) -> None:
    named = {"--input": batch.input, "--output": batch.output, "--errors": batch.errors}
    places: dict[Path, str] = {}
    for flag, path in named.items():
        if path and (other := places.setdefault(path.resolve(), flag)) != flag:
            raise UsageError(f"{other} and {flag} are the same file, {path}", hint="name another one")


def _how_to_read(batch: Batch, nature: Nature) -> Reading:
    if nature.purpose is Purpose.RANKING:
        raise unsuited(nature.name, nature.purpose, Purpose.TEXT)
    is_embedding = nature.purpose is Purpose.EMBEDDING
    if batch.system and (batch.is_raw or not nature.can_chat or is_embedding):
        raise UsageError("there is no place for --system where prompts go to the model as they are")
    prompts = EMBEDDINGS if is_embedding else CHAT if nature.can_chat and not batch.is_raw else COMPLETIONS
    template = PromptTemplate(batch.template) if batch.template is not None else None
    return Reading(form_of(batch.input, batch.form), prompts, template)


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
