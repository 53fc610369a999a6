"""The output file: whatever was cut off its end, the rest is gone on with, and what is not ours is left alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.permissions import bound_by_permissions
from llmasos.batch.jobs import Job
from llmasos.batch.ledger import Ledger, request_id
from llmasos.errors import BadInputError, BusyError, DiskFullError
from llmasos.openai.interface import COMPLETIONS

SETTINGS = "model and options"
JOBS = [Job(number, f"id-{number}-é", COMPLETIONS, {"prompt": str(number)}) for number in range(1, 6)]


def record(job: Job) -> dict[str, object]:
    return {"id": request_id(job, SETTINGS), "custom_id": job.custom_id, "response": {"body": job.body}, "error": None}


def write_all(path: Path) -> bytes:
    """Goes on with the file, and writes what it lacks."""
    with Ledger(path) as ledger:
        ledger.require_same_batch(JOBS, SETTINGS)
        ledger.cut_torn_end()
        for job in JOBS:
            if not ledger.has(job):
                ledger.add(record(job))
    return path.read_bytes()


def test_results_are_lines_of_json(tmp_path: Path):
    lines = [json.loads(line) for line in write_all(tmp_path / "out").splitlines()]
    assert [line["custom_id"] for line in lines] == [job.custom_id for job in JOBS]


def test_a_line_is_one_line_to_every_reader(tmp_path: Path):
    text = "a\x85b\u2028c\u2029d\x0be\x7ff\ré"
    with Ledger(tmp_path / "out") as ledger:
        ledger.add({**record(JOBS[0]), "response": text})
    [line] = (tmp_path / "out").read_text().splitlines()
    assert json.loads(line)["response"] == text
    assert "é" in line


@given(share=st.floats(0, 1), zeros=st.integers(0, 50))
def test_cut_anywhere_it_has_each_id_once_in_the_end(
    share: float, zeros: int, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("ledger") / "out"
    whole = write_all(path)
    path.write_bytes(whole[: round(share * len(whole))] + bytes(zeros))
    assert write_all(path) == whole


def test_zeros_in_the_middle_cost_what_follows_them(tmp_path: Path):
    whole = write_all(tmp_path / "out")
    lines = whole.splitlines(keepends=True)
    for hole in (len(lines[1]), len(lines[1]) // 2):
        (tmp_path / "out").write_bytes(lines[0] + bytes(hole) + b"".join(lines[1:])[hole:])
        assert write_all(tmp_path / "out") == whole


@pytest.mark.parametrize(
    "content",
    [
        b"my notes",
        b"my notes\n",
        b'{"id": "batch_req_',  # the beginning of ours: nothing is lost
        b'{"id": 1}\n',
        b'{"id": "batch_req_1", "custom_id": 3}\n',
        b'{"id": "batch_req_1", broken}\n',
        b"[" * 10_000 + b"\n",
    ],
)
def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path, content: bytes):
    path = tmp_path / "out"
    path.write_bytes(content)
    if content == b'{"id": "batch_req_':
        assert len(write_all(path).splitlines()) == len(JOBS)
        return
    with pytest.raises(BadInputError, match="is not the output of this batch"):
        write_all(path)
    assert path.read_bytes() == content


def test_the_torn_end_of_another_file_is_not_cut(tmp_path: Path):
    whole = write_all(tmp_path / "out")
    (tmp_path / "out").write_bytes(whole + b"a note")
    with pytest.raises(BadInputError, match="its end"):
        write_all(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == whole + b"a note"


def test_another_batchs_results_are_refused(tmp_path: Path):
    write_all(tmp_path / "out")
    with Ledger(tmp_path / "out") as ledger:
        ledger.require_same_batch([*JOBS, Job(6, "new", COMPLETIONS, {"prompt": "more"})], SETTINGS)
        with pytest.raises(BadInputError, match="asked otherwise"):
            ledger.require_same_batch(JOBS, "another model")
        with pytest.raises(BadInputError, match="asked otherwise"):
            ledger.require_same_batch([Job(1, JOBS[0].custom_id, COMPLETIONS, {"prompt": "x"}), *JOBS[1:]], SETTINGS)
        with pytest.raises(BadInputError, match="1 of its results are of no line"):
            ledger.require_same_batch(JOBS[1:], SETTINGS)


def test_two_at_a_time_are_one_too_many(tmp_path: Path):
    with Ledger(tmp_path / "out"), pytest.raises(BusyError, match="another batch writes"):
        Ledger(tmp_path / "out")
    Ledger(tmp_path / "out").close()


def test_an_id_says_what_was_asked_and_nothing_of_where_it_stood():
    job = JOBS[0]
    assert request_id(Job(9, job.custom_id, job.url, dict(job.body)), SETTINGS) == request_id(job, SETTINGS)
    assert request_id(Job(1, "other", job.url, job.body), SETTINGS) != request_id(job, SETTINGS)


def test_what_was_added_is_synced_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[float] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(time.monotonic()))
    with Ledger(tmp_path / "out") as ledger:
        synced.clear()
        ledger.add(record(JOBS[0]))
        ledger._synced_at -= 2
        ledger.sync_if_due()
        ledger.sync_if_due()
        assert len(synced) == 1
        ledger.add(record(JOBS[1]))
    assert len(synced) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants Linux")
def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "out"
    with Ledger(path) as ledger:
        ledger.add(record(JOBS[0]))
        write = os.write

        def half(file: int, raw: bytes) -> int:
            monkeypatch.setattr(os, "write", full)
            return write(file, bytes(raw)[:20])

        def full(file: int, raw: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(DiskFullError):
            ledger.add(record(JOBS[1]))
        monkeypatch.undo()
    assert [json.loads(line)["custom_id"] for line in path.read_text().splitlines()] == [JOBS[0].custom_id]


def test_where_nothing_can_be_written_is_told(tmp_path: Path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    with bound_by_permissions(), pytest.raises(BadInputError, match="can't write"):
        Ledger(folder / "out")
    for path in (tmp_path, tmp_path / "nowhere" / "out", Path("/dev/null")):
        with pytest.raises(BadInputError, match="can't write"):
            Ledger(path)
