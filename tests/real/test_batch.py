"""`llmasos batch` on a real model: twenty kills break nothing, and broken runs answer what an unbroken one does."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT, command

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

KILLS, LINES = 20, 120
TOPICS = ("the sea", "a cat", "winter", "bread", "the moon", "a river", "music", "an engine")


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real") / "home"


@pytest.fixture(autouse=True)
def real_home(home: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    lines = [
        {"custom_id": f"q{number}", "prompt": f"Question {number}: what of {TOPICS[number % len(TOPICS)]}?"}
        for number in range(LINES)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_killed_twenty_times_it_answers_what_an_unbroken_run_does(questions: Path, tmp_path: Path):
    # Drawn, by seeds of the lines' own.
    more = ("--deterministic", "--max-tokens", "8", "--context-length", "512", "--threads", "1")
    generator, broken, whole = random.Random(11), tmp_path / "broken.jsonl", tmp_path / "whole.jsonl"
    assert answered(questions, whole, *more)["lines"]["done"] == LINES
    for _ in range(KILLS):
        before = lines_of(broken)
        process = subprocess.Popen(
            command("batch", "smollm2", "-i", questions, "-o", broken, *more), cwd=PROJECT, stderr=subprocess.DEVNULL
        )
        wait_for_lines(broken, before + generator.randrange(1, 5))
        time.sleep(generator.uniform(0, 0.2))
        assert process.poll() is None, "it was done before it could be killed"
        process.kill()
        process.wait()
    answered(questions, broken, *more)
    found = choices(broken)
    assert len(found) == LINES
    assert found == choices(whole)


def test_an_instruction_that_all_share_is_read_once(questions: Path, tmp_path: Path):
    instruction = "Answer in one short sentence, politely, as a teacher would. " * 25
    facts = answered(questions, tmp_path / "out.jsonl", "--system", instruction, "--max-tokens", "4")
    bodies = [record["response"]["body"] for record in records(tmp_path / "out.jsonl")]
    shared = min(body["usage"]["prompt_tokens"] for body in bodies) - 20
    assert shared > 250
    assert facts["tokens"]["cached"] >= (LINES - 1) * shared


def answered(questions: Path, output: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        command("batch", "smollm2", "-i", questions, "-o", output, *more, "--json"),
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def choices(path: Path) -> dict[str, Any]:
    """What was answered, by id, each of which has to stand there once."""
    found = {record["custom_id"]: record["response"]["body"]["choices"] for record in records(path)}
    assert len(found) == len(records(path))
    return found


def wait_for_lines(path: Path, count: int) -> None:
    until = time.monotonic() + 60
    while lines_of(path) < count and time.monotonic() < until:
        time.sleep(0.005)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
