"""A run over a batch: keeps the worker full, writes each result as it comes, and ends well whatever happens.

Only what is being worked on is held in memory. A run that was stopped, or killed, is gone on with by the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmasos.batch.jobs import Job
from llmasos.batch.ledger import PREFIX, Ledger, json_line, request_id
from llmasos.batch.lines import BadLine
from llmasos.batch.workers import Outcome, Worker
from llmasos.errors import BadInputError, LlmasosError, UsageError
from llmasos.files import disk_full_is_an_error, require_writable
from llmasos.openai.failures import failure

TICK_SECONDS = 0.1  # how long a stop, or a report, may have to wait
BEGINNING_OF_FAILURE = b'{"line": '  # which no line of an output has: nobody's results are taken for failures
USELESS_TO_REPEAT = (BadInputError, UsageError)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run goes on: what is tried again, and when it is given up. None: never."""

    retries: int = 2
    most_errors: int | None = None


@dataclass(slots=True)
class Tally:
    """How far a run is. `skipped` are lines that had been done before, `written` the tokens of answers.

    `is_complete`: no line is left that was not tried.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    written: int = 0
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    is_complete: bool = False
    has_too_many_errors: bool = False

    @property
    def tokens_per_second(self) -> float:
        return self.written / self.seconds if self.seconds > 0 else 0.0

    def seconds_left(self, total: int) -> float | None:
        """By the pace so far; None before there is one."""
        left = total - self.done - self.failed - self.skipped
        return max(0, left) * self.seconds / self.done if self.done else None


class Failures:
    """The file of lines that failed, begun anew by each run, as each run tries them again. None: they are only told."""

    def __init__(self, path: Path | None, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._path = path
        self._file = _open_failures(path) if path else None

    def add_line(self, line: BadLine) -> None:
        """A line that asks for nothing."""
        error = {"code": "invalid_line", "message": line.reason}
        self._write(line.number, f"{PREFIX}line_{line.number}", line.custom_id, line.reason, None, error)

    def add(self, job: Job, key: str, error: LlmasosError) -> None:
        """A job that came to nothing."""
        status, body = failure(error)
        response = {"status_code": status, "request_id": key.removeprefix(PREFIX), "body": body}
        self._write(job.number, key, job.custom_id, body["error"]["message"], response, None)

    def _write(self, number: int, key: str, custom_id: str | None, reason: str, response: Any, error: Any) -> None:
        self._tell(f"line {number}{f' ({custom_id})' if custom_id else ''}: {reason}")
        record = {"line": number, "id": key, "custom_id": custom_id, "response": response, "error": error}
        if self._file and self._path:
            with disk_full_is_an_error(self._path):
                self._file.write(json_line(record))

    def close(self) -> None:
        if self._file:
            self._file.close()

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_failures(path: Path) -> Any:
    """Raises BadInputError for what can't be written, or holds something else: that would be lost."""
    require_writable(path)
    try:
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                if file.read(len(BEGINNING_OF_FAILURE)) != BEGINNING_OF_FAILURE:
                    hint = "name another file with --errors, or remove this one"
                    raise BadInputError(f"{path} holds something else than a batch's errors", hint=hint)
        return path.open("wb", buffering=0)
    except OSError as error:
        raise BadInputError(f"can't write {path}: {error.strerror}") from error


class Run:
    """One run. Once `stopping` is set, by any thread or a handler of signals, it only finishes what has begun."""

    def __init__(
        self,
        entries: Iterator[Job | BadLine],
        worker: Worker,
        ledger: Ledger,
        failures: Failures,
        rules: Rules,
        settings: str,
        report: Callable[[Tally], None],
        stopping: threading.Event,
    ) -> None:
        """`settings` is what decides the results beside the jobs themselves; `report` is called now and then."""
        self._entries, self._worker, self._ledger, self._failures = entries, worker, ledger, failures
        self._rules, self._settings, self._report, self._stopping = rules, settings, report, stopping
        self._tries: dict[int, int] = {}
        self._has_ended, self._given_up = False, 0
        self.tally = Tally()

    def work(self) -> Tally:
        """Does what is left to do. Raises DiskFullError, and what the engine has failed of as a whole."""
        while True:
            if self._is_ending:
                self._end()
            else:
                self._fill()
            if self._worker.is_idle:
                break
            for outcome in self._worker.outcomes(TICK_SECONDS):
                self._settle(outcome)
            self._ledger.sync_if_due()
            self._update()
        self._ledger.sync()
        self.tally.is_complete = self._given_up == 0 and next(self._entries, None) is None
        self._update()
        return self.tally

    @property
    def _is_ending(self) -> bool:
        most = self._rules.most_errors
        self.tally.has_too_many_errors = most is not None and self.tally.failed > most
        return self._stopping.is_set() or self.tally.has_too_many_errors

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._worker.give_up_what_waits()

    def _fill(self) -> None:
        while self._worker.has_room and not self._is_ending:
            entry = next(self._entries, None)
            if entry is None:
                return
            if isinstance(entry, BadLine):
                self._failures.add_line(entry)
                self.tally.failed += 1
            elif self._ledger.has(entry):
                self.tally.skipped += 1
            else:
                self._submit(entry)

    def _submit(self, job: Job) -> None:
        key = request_id(job, self._settings)
        try:
            self._worker.submit(job, key.removeprefix(PREFIX))
        except USELESS_TO_REPEAT as error:
            self._fail(job, error)

    def _settle(self, outcome: Outcome) -> None:
        job, tries = outcome.job, self._tries.pop(outcome.job.number, 0)
        if outcome.body is not None:
            self._ledger.add(_record(job, request_id(job, self._settings), outcome.body))
            self.tally.done += 1
            self._count(outcome.body.get("usage", {}))
        elif outcome.error is not None:
            error = _as_ours(outcome.error)
            if isinstance(error, USELESS_TO_REPEAT) or tries >= self._rules.retries:
                self._fail(job, error)
            elif self._is_ending:
                self._given_up += 1
            else:
                self._tries[job.number] = tries + 1
                self.tally.retried += 1
                self._submit(job)
        else:
            self._given_up += 1

    def _fail(self, job: Job, error: LlmasosError) -> None:
        self._failures.add(job, request_id(job, self._settings), error)
        self.tally.failed += 1

    def _count(self, usage: Mapping[str, Any]) -> None:
        self.tally.prompt_tokens += usage["prompt_tokens"]
        self.tally.completion_tokens += usage.get("completion_tokens", 0)
        self.tally.cached_tokens += usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)

    def _update(self) -> None:
        self.tally.seconds = time.monotonic() - self.tally.begun
        self.tally.written = self._worker.written
        self._report(replace(self.tally))


def _record(job: Job, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A line of OpenAI's batch output."""
    response = {"status_code": 200, "request_id": key.removeprefix(PREFIX), "body": body}
    return {"id": key, "custom_id": job.custom_id, "response": response, "error": None}


def _as_ours(error: BaseException) -> LlmasosError:
    if isinstance(error, LlmasosError):
        return error
    return LlmasosError(f"a fault in llmasos: {type(error).__name__}: {error}")
