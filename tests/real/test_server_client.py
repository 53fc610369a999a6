"""The command line as a client of `llmasos serve`, with a real model: what it says here and there, and what ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import command
from doubles.serving import Served, served
from llmasos.pull import pull

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
STORY = ("Write a long story about the sea.", "--max-tokens", "2000", "--ignore-eos")
FIXED = ("--temperature", "0", "--max-tokens", "48")
HERE = ("--server", "")


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("real") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMASOS_HOME", str(home))
        pull("smollm2")
    return home


@pytest.fixture(autouse=True)
def real_home(home: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))


@pytest.fixture
def at(real_home: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server with SmolLM2, to which the command line turns."""
    with served() as server:
        monkeypatch.setenv("LLMASOS_SERVER", f"http://127.0.0.1:{server.port}")
        yield server


def story() -> subprocess.Popen[bytes]:
    """One that is being told."""
    process = subprocess.Popen(command("run", "smollm2", *STORY), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert len(process.stdout.read(40)) == 40
    return process


def test_a_server_is_asked_as_the_model_is_here(at: Served, llmasos):
    """Answers to the letter are compared with tiny models; what was read before moves the last digits here."""
    there, here = (
        llmasos("run", "smollm2", "The capital of France is", "--raw", *FIXED, *where) for where in ((), HERE)
    )
    assert (there.exit_code, there.stderr) == (0, "")
    assert "Paris" in there.stdout
    assert "Paris" in here.stdout
    shaped = llmasos("run", "smollm2", "A city", "--schema", "name: string, people: int", "--max-tokens", "200")
    if shaped.exit_code == 0:
        assert json.loads(shaped.stdout).keys() == {"name", "people"}
    turns = "The capital of France is Paris.\nWhich city did I name?\n"
    said = llmasos("chat", "smollm2", "--no-save", *FIXED, stdin=turns)
    assert said.exit_code == 0
    assert said.stdout.strip()


def test_ctrl_c_frees_the_server(at: Served, llmasos):
    with story() as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    [runner] = at.runners
    time.sleep(1)
    before = busy_seconds(runner)
    time.sleep(2)
    assert busy_seconds(runner) - before < 0.5
    assert json.loads(llmasos("ps", "--json").stdout)[0]["name"] == "smollm2"


def busy_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def test_a_server_that_is_killed_is_told(at: Served):
    with story() as process:
        at.process.kill()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 75
    assert b"ended in the middle of an answer" in told


def test_a_batch_is_gone_on_with_at_a_server_that_was_killed(at: Served, llmasos, tmp_path: Path):
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("".join(f"Name {number} colours.\n" for number in range(60)))
    batch = ("batch", "smollm2", "-i", source, "-o", output, "--temperature", "0", "--max-tokens", "24")
    with subprocess.Popen(command(*batch), stderr=subprocess.PIPE) as process:
        while not output.exists() or output.read_bytes().count(b"\n") < 5:
            time.sleep(0.05)
        at.process.kill()
        assert process.wait(60) == 75
    done = output.read_bytes().count(b"\n")
    with served("--port", str(at.port)) as again:  # the later --port counts
        assert again.port == at.port
        assert llmasos(*batch, "--json").exit_code == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert done < 60
    assert sorted(int(each["custom_id"]) for each in records) == list(range(1, 61))


def test_a_key_that_is_wrong_and_a_server_that_is_not_there(llmasos, monkeypatch: pytest.MonkeyPatch):
    with served("--api-key", "secret") as server:
        monkeypatch.setenv("LLMASOS_SERVER", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("LLMASOS_API_KEY", "wrong")
        done = llmasos("run", "smollm2", "Hi", *FIXED)
        assert (done.exit_code, "the API key is not one of this server's" in done.stderr) == (1, True)
        monkeypatch.setenv("LLMASOS_API_KEY", "secret")
        assert llmasos("run", "smollm2", "Hi", *FIXED).exit_code == 0
    done = llmasos("run", "smollm2", "Hi", *FIXED)
    assert (done.exit_code, done.stderr.startswith("error: there is no server at")) == (75, True)
