"""`llmasos batch --server`: bodies go as they are, and what is left is gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import command
from doubles.serving import Served, served
from llmasos.batch.jobs import Job
from llmasos.client.batches import merged
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS

pytestmark = [pytest.mark.timeout(180), pytest.mark.real]  # seconds each
FIXED = ("--temperature", "0", "--max-tokens", "4")
ENDLESS = {"max_tokens": 100_000, "ignore_eos": True, "on_overflow": "shift"}


def written(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def answers(path: Path) -> dict[str, str]:
    records = map(json.loads, path.read_text().splitlines())
    return {each["custom_id"]: each["response"]["body"]["choices"][0]["message"]["content"] for each in records}


def test_a_batch_is_done_and_gone_on_with(at_shared: Served, llmasos, tmp_path: Path, tiny_model: Path):
    lines = [{"prompt": f"the cat {number}", "custom_id": str(number)} for number in range(30)]
    source = written(tmp_path / "in.jsonl", lines)
    there, here = tmp_path / "there.jsonl", tmp_path / "here.jsonl"
    done = llmasos("batch", "tiny", "-i", source, "-o", there, *FIXED, "--json")
    assert json.loads(done.stdout)["lines"] == {"total": 30, "done": 30, "done_before": 0, "failed": 0, "left": 0}
    assert json.loads(done.stdout)["tokens"]["completion"] > 90
    llmasos("batch", tiny_model, "-i", source, "-o", here, *FIXED, "--server", "")
    assert answers(there) == answers(here)

    there.write_text("".join(there.read_text().splitlines(keepends=True)[:12]))
    again = llmasos("batch", "tiny", "-i", source, "-o", there, *FIXED, "--json")
    assert json.loads(again.stdout)["lines"]["done"] == 18
    assert answers(there) == answers(here)
    assert llmasos("batch", "tiny", "-i", source, "-o", there, "--max-tokens", "5").exit_code == 5
    assert llmasos("batch", "org/other:small", "-i", source, "-o", there, *FIXED).exit_code == 5


def test_lines_that_the_server_refuses_fail_alone(at_shared: Served, llmasos, tmp_path: Path):
    lines = [
        {"custom_id": "good", "prompt": "a"},
        {"custom_id": "long", "prompt": "long " * 500},
        {"custom_id": "wrong", "prompt": "a", "temprature": 1},
        {"custom_id": "elsewhere", "url": "/api/copy", "body": {"source": "tiny", "destination": "x"}},
        {"custom_id": "raw", "url": COMPLETIONS, "body": {"prompt": "a"}},
    ]
    source, errors = written(tmp_path / "in.jsonl", lines), tmp_path / "errors.jsonl"
    done = llmasos(
        "batch", "tiny", "-i", source, "-o", tmp_path / "out.jsonl", *FIXED, "--errors", errors, "--no-think"
    )
    assert done.exit_code == 1
    failed = {each["custom_id"]: each["response"] for each in map(json.loads, errors.read_text().splitlines())}
    assert failed.keys() == {"long", "wrong", "elsewhere"}
    assert "did you mean `temperature`?" in failed["wrong"]["body"]["error"]["message"]
    assert "does not answer to /api/copy" in failed["elsewhere"]["body"]["error"]["message"]
    assert "2 done, 3 failed of 5" in done.stderr


def test_a_busy_server_is_waited_for(served_home: Path, turn_to, llmasos, tmp_path: Path):
    with served("--parallel", "1", "--max-queue", "0") as server:
        turn_to(server)
        source = written(tmp_path / "in.jsonl", [{"prompt": "a", "custom_id": str(number)} for number in range(3)])
        process = subprocess.Popen(command("batch", "tiny", "-i", source, "-o", tmp_path / "out.jsonl", *FIXED))
        with server.streaming("/v1/completions", model="tiny", prompt="x", **ENDLESS) as stream:
            stream.readline()
            time.sleep(3)
            assert process.poll() is None
        assert process.wait(60) == 0
    assert len(answers(tmp_path / "out.jsonl")) == 3


def test_a_server_that_has_gone_ends_the_batch_and_blames_no_line(at: Served, llmasos, tmp_path: Path):
    source = written(tmp_path / "in.jsonl", [{"prompt": "a", **ENDLESS} for _ in range(20)])
    arguments = ("batch", "tiny", "-i", source, "-o", tmp_path / "out.jsonl", "--errors", tmp_path / "errors.jsonl")
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE) as process:
        while not at.runners:
            time.sleep(0.05)
        time.sleep(1)
        at.process.kill()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 75
    assert b"there is no server" in told
    assert (tmp_path / "errors.jsonl").read_text() == ""


def test_a_signal_finishes_what_the_server_works_on(at: Served, tmp_path: Path):
    source = written(
        tmp_path / "in.jsonl", [{"prompt": f"a{n}", "max_tokens": 60, "ignore_eos": True} for n in range(400)]
    )
    arguments = ("batch", "tiny", "-i", source, "-o", tmp_path / "out.jsonl", "--temperature", "0")
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE) as process:
        while not (tmp_path / "out.jsonl").exists() or (tmp_path / "out.jsonl").stat().st_size == 0:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 75
    assert b"the batch was stopped" in told
    assert 0 < len((tmp_path / "out.jsonl").read_text().splitlines()) < 400


@pytest.mark.parametrize(
    ("url", "body", "sent"),
    [
        (CHAT, {}, {"temperature": 0, "think": True}),
        (CHAT, {"temperature": 1}, {"temperature": 1, "think": True}),
        (CHAT, {"reasoning_effort": "low"}, {"temperature": 0, "reasoning_effort": "low"}),
        (CHAT, {"response_format": {}}, {"temperature": 0, "response_format": {}}),
        (COMPLETIONS, {"prompt": "a"}, {"temperature": 0, "prompt": "a"}),
        (EMBEDDINGS, {"input": "a"}, {"input": "a"}),
    ],
)
def test_a_body_says_more_than_the_options_of_the_batch(url, body, sent):
    assert merged(Job(1, "1", url, body), {"temperature": 0, "think": True}) == sent


def test_a_body_has_its_own_shape_or_that_of_the_batch():
    assert merged(Job(1, "1", CHAT, {"regex": "a"}), {"grammar": "root ::= x"}) == {"regex": "a"}
    assert merged(Job(1, "1", CHAT, {}), {"grammar": "root ::= x", "think": True}) == {"grammar": "root ::= x"}
