"""`llmasos run --server`: what it says is what the same model says here; what ends it; what can't be asked for."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import command
from doubles.serving import Served, served

pytestmark = [pytest.mark.timeout(180), pytest.mark.real]  # seconds each
FIXED = ("--temperature", "0", "--max-tokens", "8")
ENDLESS = ("--max-tokens", "100000", "--ignore-eos", "--on-overflow", "shift")
HERE = ("--server", "")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--raw",),
        ("--system", "You are a cat."),
        ("-n", "3", "--temperature", "1", "--seed", "7"),
        ("--regex", "[0-9]{4}"),
        ("--stop", "e"),
        ("--num-beams", "3", "-n", "2"),
        ("--num-beams", "2", "--raw"),
        (
            "--debias",
            "self",
            "--debias-strength",
            "5000",
            "--debias-attributes",
            "age",
            "--debias-attributes",
            "rhymes",
        ),
    ],
    ids=" ".join,
)
def test_a_server_s_model_says_what_it_says_here(at_shared: Served, llmasos, tiny_model: Path, options):
    there = llmasos("run", "tiny", "the cat sat", *FIXED, *options)
    here = llmasos("run", tiny_model, "the cat sat", *FIXED, *options, *HERE)
    assert (there.exit_code, there.stderr) == (0, here.stderr)
    assert there.stdout == here.stdout


def test_json_has_all_figures(at_shared: Served, llmasos, tiny_model: Path):
    options = ("the cat sat", *FIXED, "--seed", "3", "--json", "--logprobs", "2")
    there = json.loads(llmasos("run", "tiny", *options).stdout)
    here = json.loads(llmasos("run", tiny_model, *options, *HERE).stdout)
    for facts in (there, here):
        assert facts.pop("timings")["completion_seconds"] > 0
        facts["tokens"].pop("cached")
        for entry in facts["logprobs"]:
            entry.update({"logprob": round(entry["logprob"], 3), "top": [each["id"] for each in entry["top"]]})
    assert there == here


def test_lines_are_answered_in_order_and_each_fails_alone(at_shared: Served, llmasos):
    stdin = f"one\n\n{'long ' * 500}\ntwo\n"
    done = llmasos("run", "tiny", "--lines", "--json", *FIXED, stdin=stdin)
    assert done.exit_code == 1
    first, empty, long, last = map(json.loads, done.stdout.splitlines())
    assert (first["line"], empty["text"], last["line"]) == (1, "", 4)
    assert "the context holds" in long["error"]
    assert first["tokens"]["completion"] == 8


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (("nobody", "x"), 3, "`nobody` is not installed"),
        (("tiny", "x", "--lora", "a"), 2, "--lora is for models that are loaded here"),
        (("tiny", "x", "--draft", "a"), 2, "--draft is for models"),
        (("tiny", "x", "--deterministic"), 2, "--deterministic is for models"),
        (("tiny", "x", "--num-beams", "200"), 2, "beams"),
        (("tiny", "x", "--on-overflow", "truncate"), 2, "can't truncate"),
        (("tiny", "long " * 500), 5, "the context holds"),
        (("tiny", "x", "--grammar", "root ::= ("), 5, "grammar"),
        (("tiny", "x", "--think", "--format", "json"), 2, "no room to think"),
        (("tiny", "x", "--server", "ftp://x"), 2, "is no address of a server"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_what_can_not_be_is_told_with_the_code_it_has_here(at_shared: Served, llmasos, arguments, exit_code, told):
    done = llmasos("run", *arguments)
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert told in done.stderr


def test_the_settings_may_name_the_server(at_shared: Served, llmasos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LLMASOS_SERVER")
    (tmp_path / "empty").mkdir()
    settings = f'server = "127.0.0.1:{at_shared.port}"\ntemperature = 0\nkeep_alive = "1h"\ngpu_layers = 3\n'
    (tmp_path / "empty/config.toml").write_text(settings)
    there = llmasos("run", "tiny", "the cat", "--max-tokens", "4")
    assert (there.exit_code, there.stderr) == (0, "")
    assert there.stdout == llmasos("run", "tiny", "the cat", "--max-tokens", "4").stdout  # nothing is drawn
    assert llmasos("run", "tiny", "the cat", "--server", "", "--offline").exit_code == 3


def test_a_prompt_cache_is_refused(at_shared: Served, llmasos, tmp_path: Path):
    done = llmasos("run", "tiny", "x", "--prompt-cache", tmp_path / "cache")
    assert (done.exit_code, (tmp_path / "cache").exists()) == (2, False)


def begun(*options: str) -> subprocess.Popen[bytes]:
    """An answer without an end whose first words are there."""
    process = subprocess.Popen(
        command("run", "tiny", "the cat", *ENDLESS, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(20)
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit code, and what was said on standard error."""
    _, told = process.communicate(timeout=30)
    return process.returncode, told.decode()


def test_ctrl_c_ends_the_work_of_the_server_too(served_home: Path, turn_to):
    with served("--parallel", "1", "--max-queue", "0") as server:
        turn_to(server)
        process = begun()
        busy = server.post("/v1/completions", model="tiny", prompt="x", max_tokens=1)
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130
        deadline = time.monotonic() + 10
        while server.post("/v1/completions", model="tiny", prompt="x", max_tokens=1).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert busy.status == 503


def test_a_server_that_is_killed_in_the_middle_is_told(at: Served):
    with begun() as process:
        runners = at.runners
        at.process.kill()
        code, told = ended(process)
        for runner in runners:
            runner.wait(20)  # it ends when its server has
    assert code == 75, told
    assert "ended in the middle of an answer" in told


def test_a_model_that_is_killed_in_the_middle_is_told(at: Served):
    with begun() as process:
        at.runners[0].kill()
        code, told = ended(process)
    assert code == 75, told
    assert "was killed" in told


def test_a_busy_server_is_told_and_waited_for_where_many_lines_are_answered(served_home: Path, turn_to, llmasos):
    with served("--parallel", "1", "--max-queue", "0") as server:
        turn_to(server)
        with begun() as process:
            done = llmasos("run", "tiny", "x", *FIXED)
            assert (done.exit_code, "too many requests" in done.stderr) == (75, True)
            with subprocess.Popen(
                command("run", "tiny", "--lines", *FIXED), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as lines:
                assert lines.stdin is not None
                lines.stdin.write(b"one\ntwo\nthree\n")
                lines.stdin.close()
                time.sleep(1.5)
                assert (process.poll(), lines.poll()) == (None, None)
                process.kill()
                process.wait()
                assert lines.stdout is not None
                assert len(lines.stdout.read().splitlines()) == 3
        assert lines.returncode == 0


def test_a_timeout_ends_an_answer_that_is_slow(at: Served, llmasos):
    done = llmasos("run", "tiny", "x", *ENDLESS, "--timeout", "3")
    assert (done.exit_code, "--timeout" in done.stderr) == (75, True)
