"""A run, on a worker that fails as it is told: retries, limits, stopping, and what is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmasos.batch.jobs import Job
from llmasos.batch.ledger import Ledger
from llmasos.batch.lines import BadLine
from llmasos.batch.run import Failures, Rules, Run, Tally
from llmasos.batch.workers import Outcome
from llmasos.errors import BadInputError, DiskFullError, LlmasosError
from llmasos.openai.interface import COMPLETIONS

USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}


class Obedient:
    """A worker of two places. `fails` says by id what goes wrong, so many times."""

    def __init__(self, fails: dict[str, list[BaseException]] | None = None, refuses: tuple[str, ...] = ()) -> None:
        self._fails, self._refuses = fails or {}, refuses
        self.submitted: list[str] = []
        self._going: list[Job] = []
        self.written = 0
        self.on_submit: Callable[[], None] = lambda: None

    @property
    def has_room(self) -> bool:
        return len(self._going) < 2

    @property
    def is_idle(self) -> bool:
        return not self._going

    def submit(self, job: Job, key: str) -> None:
        if job.custom_id in self._refuses:
            raise BadInputError("no")
        self.submitted.append(job.custom_id)
        self._going.append(job)
        self.on_submit()

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        job = self._going.pop(0)
        failing = self._fails.get(job.custom_id)
        self.written += 3
        yield Outcome(job, error=failing.pop(0)) if failing else Outcome(job, {"usage": USAGE})

    def give_up_what_waits(self) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path):
    """Runs over jobs of these ids, or bad lines for None; gives the tally, the ids of the output, and the errors."""

    def over(
        ids: list[str | None], worker: Obedient, rules: Rules | None = None, stopping: threading.Event | None = None
    ) -> tuple[Tally, list[str], list[dict[str, Any]]]:
        entries = [
            BadLine(number, "bad") if name is None else Job(number, name, COMPLETIONS, {"prompt": "a"})
            for number, name in enumerate(ids, start=1)
        ]
        errors = tmp_path / "errors"
        with Ledger(tmp_path / "out") as ledger, Failures(errors, lambda text: None) as failures:
            tally = Run(
                iter(entries), worker, ledger, failures, rules or Rules(), "settings", lambda tally: None,
                stopping or threading.Event(),
            ).work()  # fmt: skip
        done = [json.loads(line)["custom_id"] for line in (tmp_path / "out").read_text().splitlines()]
        return tally, done, [json.loads(line) for line in errors.read_text().splitlines()]

    return over


def test_every_line_is_done_once_and_counted(run):
    tally, done, errors = run(list("abcde"), Obedient())
    assert (done, errors, tally.is_complete) == (list("abcde"), [], True)
    assert (tally.done, tally.failed, tally.prompt_tokens, tally.cached_tokens, tally.completion_tokens) == (
        5, 0, 10, 5, 15,
    )  # fmt: skip


def test_the_same_again_does_only_what_is_left(run):
    run(list("ab"), Obedient())
    worker = Obedient()
    tally, done, _ = run(list("abc"), worker)
    assert (worker.submitted, done, tally.skipped) == (["c"], list("abc"), 2)


def test_what_the_engine_fails_of_is_tried_again(run):
    worker = Obedient({"b": [LlmasosError("once"), ValueError("twice")]})
    tally, done, errors = run(list("abc"), worker)
    assert (sorted(done), errors, tally.retried) == (list("abc"), [], 2)


def test_after_so_many_tries_it_has_failed(run):
    tally, done, [error] = run(list("abc"), Obedient({"b": [ValueError("x")] * 9}), Rules(retries=3))
    assert (done, tally.retried, tally.failed) == (["a", "c"], 3, 1)
    assert (error["custom_id"], error["line"], error["response"]["status_code"], error["error"]) == ("b", 2, 500, None)
    assert "ValueError: x" in error["response"]["body"]["error"]["message"]


def test_what_can_never_be_done_is_tried_once(run):
    worker = Obedient({"b": [BadInputError("bad")] * 9}, refuses=("c",))
    tally, done, errors = run(list("abcd"), worker)
    assert (done, worker.submitted, tally.failed) == (["a", "d"], list("abd"), 2)
    assert [error["response"]["status_code"] for error in errors] == [400, 400]


def test_a_bad_line_has_no_response(run):
    _, done, [error] = run(["a", None, "b"], Obedient())
    assert done == ["a", "b"]
    assert (error["line"], error["response"], error["error"]) == (2, None, {"code": "invalid_line", "message": "bad"})


def test_too_many_errors_end_it_behind_what_goes_on(run):
    tally, done, errors = run(["a", None, None, "b", "c"], Obedient(), Rules(most_errors=1))
    assert (done, len(errors)) == (["a"], 2)
    assert (tally.has_too_many_errors, tally.is_complete) == (True, False)
    tally, _, _ = run(["a", None, None, "b", "c"], Obedient(), Rules(most_errors=2))
    assert (tally.has_too_many_errors, tally.is_complete) == (False, True)


def test_stopped_it_finishes_what_goes_on_and_begins_nothing(run):
    worker, stopping = Obedient(), threading.Event()
    worker.on_submit = lambda: stopping.set() if len(worker.submitted) == 4 else None
    tally, done, _ = run(list("abcdefgh"), worker, stopping=stopping)
    assert (done, tally.is_complete) == (list("abcd"), False)
    assert run(list("abcdefgh"), Obedient())[1] == list("abcdefgh")


def test_stopped_at_the_very_end_it_is_complete(run):
    worker, stopping = Obedient(), threading.Event()
    worker.on_submit = lambda: stopping.set() if len(worker.submitted) == 3 else None
    assert run(list("abc"), worker, stopping=stopping)[0].is_complete


def test_an_engine_that_is_broken_ends_it(run):
    worker = Obedient()

    def break_down() -> None:
        raise LlmasosError("the engine is closed")

    worker.on_submit = break_down
    with pytest.raises(LlmasosError, match="closed"):
        run(list("abc"), worker)


def test_a_full_disk_ends_it_and_the_rest_is_done_later(run, monkeypatch: pytest.MonkeyPatch):
    add, counted = Ledger.add, [0]

    def full(self: Ledger, record: Any) -> None:
        counted[0] += 1
        if counted[0] == 3:
            raise DiskFullError("full")
        add(self, record)

    monkeypatch.setattr(Ledger, "add", full)
    with pytest.raises(DiskFullError):
        run(list("abcde"), Obedient())
    monkeypatch.undo()
    assert run(list("abcde"), Obedient())[1] == list("abcde")


def test_a_file_of_something_else_is_no_place_for_errors(tmp_path: Path):
    path = tmp_path / "notes"
    for text in ("my notes", '{"id": "batch_req_1", "custom_id": "somebody else\'s result"}\n'):
        path.write_text(text)
        with pytest.raises(BadInputError, match="something else"):
            Failures(path, print)
        assert path.read_text() == text
