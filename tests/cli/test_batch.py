"""`llmasos batch` on a tiny model: forms, resuming, kills, signals, bad input, terminals."""

from __future__ import annotations

import base64
import fcntl
import json
import math
import os
import pty
import random
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT, command
from doubles.checkpoints import write_checkpoint
from doubles.tiny import TinyModel
from llmasos.conversion.convert import convert

FIXED = ("--temperature", "0", "--max-tokens", "4", "--ignore-eos", "--threads", "1")


@pytest.fixture
def batch(llmasos, tiny_model: Path, tmp_path: Path):
    """`llmasos batch` from in.jsonl to out.jsonl, with what else is given."""

    def run(*more: Any, model: Path = tiny_model):
        return llmasos("batch", model, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", *FIXED, *more)

    return run


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding")
    return convert(write_checkpoint(folder / "bert", "bert"), folder / "bert.gguf", "F32")[0]


def write_lines(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def results(path: Path) -> dict[str, Any]:
    """The bodies of the responses by id, each of which has to stand there once."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    found = {record["custom_id"]: record["response"]["body"] for record in records}
    assert len(found) == len(records)
    return found


def questions(count: int) -> list[dict[str, Any]]:
    return [{"custom_id": f"q{number}", "prompt": f"cat {number}"} for number in range(count)]


# What comes out.


def test_lines_of_every_form_are_answered_as_run_answers_them(batch, llmasos, tiny_model, tmp_path):
    messages = [{"role": "user", "content": "cat"}]
    write_lines(
        tmp_path / "in.jsonl",
        [
            {"custom_id": "full", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": messages}},
            {"custom_id": "short", "prompt": "cat"},
            {"custom_id": "long", "prompt": "cat", "max_tokens": 9},
            {"custom_id": "plain", "url": "/v1/completions", "body": {"prompt": ["cat", "dog"]}},
        ],
    )
    done = batch("--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = results(tmp_path / "out.jsonl")
    text = json.loads(llmasos("run", tiny_model, "cat", *FIXED, "--json").stdout)["text"]
    raw = json.loads(llmasos("run", tiny_model, "cat", "--raw", *FIXED, "--json").stdout)["text"]
    assert found["full"]["choices"][0]["message"]["content"] == text
    assert found["short"]["choices"][0]["message"]["content"] == text
    assert found["long"]["usage"]["completion_tokens"] == 9
    assert found["plain"]["choices"][0]["text"] == raw
    facts = json.loads(done.stdout)
    assert facts["lines"] == {"total": 4, "done": 4, "done_before": 0, "failed": 0, "left": 0}
    assert facts["tokens"]["completion"] == 4 + 4 + 9 + 8
    assert facts["tokens_per_second"] > 0


def test_the_output_is_openais_batch_output(batch, tmp_path):
    write_lines(tmp_path / "in.jsonl", questions(1))
    batch()
    [record] = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert list(record) == ["id", "custom_id", "response", "error"]
    assert list(record["response"]) == ["status_code", "request_id", "body"]
    assert (record["custom_id"], record["response"]["status_code"], record["error"]) == ("q0", 200, None)
    assert record["response"]["body"]["object"] == "chat.completion"


def test_a_table_with_a_template(llmasos, tiny_model, tmp_path):
    (tmp_path / "in.csv").write_text('custom_id,word\na,"x,y"\nb,z\n')
    done = llmasos(
        "batch", tiny_model, "-i", tmp_path / "in.csv", "-o", tmp_path / "out", "--template", "Say {word}", *FIXED
    )
    assert done.exit_code == 0, done.stderr
    assert set(results(tmp_path / "out")) == {"a", "b"}


def test_a_shape_holds_for_every_line_that_has_none_of_its_own(batch, tmp_path):
    lines = [{"custom_id": "a", "prompt": "cat"}, {"custom_id": "b", "prompt": "cat", "regex": "[0-9]{3}"}]
    write_lines(tmp_path / "in.jsonl", lines)
    assert batch("--schema", '{"enum": ["red"]}', "--max-tokens", "20").exit_code == 0
    texts = {name: body["choices"][0]["message"]["content"] for name, body in results(tmp_path / "out.jsonl").items()}
    assert texts["a"] == '"red"'
    assert texts["b"].isdecimal() and len(texts["b"]) == 3


def test_texts_become_vectors_by_a_model_that_makes_them(llmasos, batch, bert, tmp_path):
    lines = [
        {"custom_id": "a", "url": "/v1/embeddings", "body": {"input": ["the cat", "a dog"], "model": "m"}},
        {"custom_id": "b", "prompt": "the cat"},
        {"custom_id": "c", "input": "the cat", "encoding_format": "base64", "dimensions": 8},
        {"custom_id": "long", "input": "cat " * 2000},
        {"custom_id": "chat", "messages": [{"role": "user", "content": "cat"}]},
    ]
    write_lines(tmp_path / "in.jsonl", lines)
    done = llmasos("batch", bert, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "--json")
    assert done.exit_code == 1
    found = results(tmp_path / "out.jsonl")
    assert set(found) == {"a", "b", "c"}
    vector = json.loads(llmasos("embed", bert, "the cat").stdout)
    assert [entry["index"] for entry in found["a"]["data"]] == [0, 1]
    for one in (found["a"], found["b"]):
        assert one["data"][0]["embedding"] == pytest.approx(vector, abs=1e-3)
    short = struct.unpack("<8f", base64.b64decode(found["c"]["data"][0]["embedding"]))
    assert math.hypot(*short) == pytest.approx(1, abs=1e-3)
    assert found["b"]["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert "long" in done.stderr
    assert "does not answer to /v1/chat/completions" in done.stderr


def test_a_model_without_a_template_goes_on_from_prompts(batch, make_tiny, tmp_path):
    write_lines(tmp_path / "in.jsonl", questions(1))
    assert batch(model=make_tiny(TinyModel(template=None))).exit_code == 0
    assert results(tmp_path / "out.jsonl")["q0"]["object"] == "text_completion"


def test_a_beginning_that_all_share_is_read_once(batch, tmp_path):
    write_lines(tmp_path / "in.jsonl", [{"custom_id": str(n), "prompt": f"{'the cat ' * 20}{n}"} for n in range(12)])
    facts = json.loads(batch("--json", "--parallel", "3").stdout)
    prompts = [body["usage"]["prompt_tokens"] for body in results(tmp_path / "out.jsonl").values()]
    assert facts["tokens"]["prompt"] == sum(prompts)
    assert facts["tokens"]["cached"] >= 11 * (min(prompts) - 10)


# Going on.


def test_the_same_command_again_does_what_is_left_and_no_more(batch, tmp_path):
    write_lines(tmp_path / "in.jsonl", questions(3))
    batch()
    before = (tmp_path / "out.jsonl").read_bytes()
    write_lines(tmp_path / "in.jsonl", questions(5))
    facts = json.loads(batch("--json").stdout)
    assert facts["lines"] == {"total": 5, "done": 2, "done_before": 3, "failed": 0, "left": 0}
    assert (tmp_path / "out.jsonl").read_bytes().startswith(before)
    assert set(results(tmp_path / "out.jsonl")) == {f"q{number}" for number in range(5)}
    assert json.loads(batch("--json").stdout)["lines"]["done"] == 0


def test_killed_at_random_moments_it_has_each_id_once_and_what_an_unbroken_run_has(batch, tiny_model, tmp_path):
    write_lines(tmp_path / "in.jsonl", questions(400))
    more = ("--deterministic", "--temperature", "1.5", "--max-tokens", "12")
    generator, out = random.Random(4), tmp_path / "out.jsonl"
    kept = 0
    for _ in range(4):
        process = subprocess.Popen(
            command("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", out, *FIXED, *more),
            cwd=PROJECT, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for_lines(out, kept + generator.randrange(1, 60))
        process.kill()
        process.wait()
        kept = out.read_bytes().count(b"\n")
        with out.open("rb+") as file:  # what a power cut does beside that
            file.truncate(out.stat().st_size - generator.randrange(0, 40))
    assert batch(*more).exit_code == 0
    broken = results(out)
    out.unlink()
    assert batch(*more).exit_code == 0
    assert {name: body["choices"] for name, body in results(out).items()} == {
        name: body["choices"] for name, body in broken.items()
    }
    assert len(broken) == 400


def wait_for_lines(path: Path, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and (not path.exists() or path.read_bytes().count(b"\n") < count):
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_behind_what_has_begun(batch, tiny_model, tmp_path, number):
    out = tmp_path / "out.jsonl"
    write_lines(tmp_path / "in.jsonl", questions(3000))
    process = subprocess.Popen(
        command("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", out, *FIXED, "--json"),
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_lines(out, 5)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 75, stderr
    facts = json.loads(stdout)
    assert 0 < facts["lines"]["done"] < 3000
    assert facts["lines"]["done"] + facts["lines"]["left"] == 3000
    assert len(results(out)) == facts["lines"]["done"]
    assert "lines are left" in stderr
    assert "hint: run the same again" in stderr


def test_a_second_signal_leaves_at_once(tiny_model, tmp_path):
    write_lines(tmp_path / "in.jsonl", [{"prompt": "cat", "max_tokens": 100_000}])
    process = subprocess.Popen(
        command("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out", "--ignore-eos",
                "--on-overflow", "shift", "-v"),
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "at a time" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if "once more leaves at once" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_two_runs_never_write_one_file(batch, tiny_model, tmp_path):
    write_lines(tmp_path / "in.jsonl", questions(2000))
    first = subprocess.Popen(
        command("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", *FIXED),
        cwd=PROJECT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for_lines(tmp_path / "out.jsonl", 1)
    second = batch()
    first.terminate()
    first.wait()
    assert second.exit_code == 75
    assert "another batch writes" in second.stderr


# Bad input.


def test_bad_lines_are_told_by_number_and_the_rest_goes_on(batch, tmp_path):
    lines = [
        {"custom_id": "a", "prompt": "cat"},
        "not json\n",
        {"custom_id": "a", "prompt": "twice"},
        {"custom_id": "long", "prompt": "x" * 600},
        {"custom_id": "typo", "prompt": "cat", "temprature": 1},
        {"custom_id": "grammar", "prompt": "cat", "grammar": "root ::= root"},
        {"custom_id": "place", "url": "/v1/embeddings", "body": {"input": "cat"}},
        {"custom_id": "b", "prompt": "dog"},
    ]
    write_lines(tmp_path / "in.jsonl", lines)
    errors = tmp_path / "errors.jsonl"
    done = batch("--errors", errors, "--context-length", "256", "--json")
    assert done.exit_code == 1
    assert set(results(tmp_path / "out.jsonl")) == {"a", "b"}
    records = [json.loads(line) for line in errors.read_text().splitlines()]
    assert {record["line"] for record in records} == {2, 3, 4, 5, 6, 7}
    assert all(f"line {number}" in done.stderr for number in range(2, 8))
    by_id = {record["custom_id"]: record for record in records}
    assert by_id["long"]["response"]["body"]["error"]["code"] == "context_length_exceeded"
    assert by_id[None]["error"]["code"] == "invalid_line"
    assert json.loads(done.stdout)["lines"]["failed"] == 6
    again = batch("--errors", errors, "--context-length", "256")  # what failed is tried again, and told once
    assert again.exit_code == 1
    assert len(errors.read_text().splitlines()) == 6


def test_a_line_of_a_hundred_megabytes_is_passed_over(batch, tmp_path):
    with (tmp_path / "in.jsonl").open("w") as file:
        file.write(json.dumps({"prompt": "cat"}) + "\n" + '{"prompt": "')
        for _ in range(100):
            file.write("x" * 1_000_000)
        file.write('"}\n' + json.dumps({"prompt": "dog"}))
    done = batch()
    assert done.exit_code == 1
    assert "line 2: the line is too long: 100 MB" in done.stderr
    assert set(results(tmp_path / "out.jsonl")) == {"1", "3"}


def test_too_many_errors_end_the_batch(batch, tmp_path):
    write_lines(tmp_path / "in.jsonl", ["no\n"] * 10 + questions(1))
    done = batch("--max-errors", "3")
    assert done.exit_code == 1
    assert "4 lines failed, more than --max-errors allows" in done.stderr


def test_the_output_of_another_batch_is_left_as_it_is(batch, tmp_path):
    write_lines(tmp_path / "in.jsonl", questions(2))
    batch()
    before = (tmp_path / "out.jsonl").read_bytes()
    for change in (["--seed", "5"], ["--system", "be short"]):
        done = batch(*change)
        assert done.exit_code == 5
        assert "is not the output of this batch" in done.stderr
        assert "hint: name another file with -o" in done.stderr
    write_lines(tmp_path / "in.jsonl", questions(1))
    assert batch().exit_code == 5
    (tmp_path / "out.jsonl").write_text("my notes")
    assert batch().exit_code == 5
    assert (tmp_path / "out.jsonl").read_text() == "my notes"
    (tmp_path / "out.jsonl").write_bytes(before)
    write_lines(tmp_path / "in.jsonl", questions(2))
    assert batch("--threads", "2", "--batch-size", "64").exit_code == 0  # how fast it goes is no part of it


def test_what_can_not_be_written_or_read_is_told_before_anything_is_done(batch, llmasos, tiny_model, tmp_path):
    assert "there is no such file" in batch().stderr
    write_lines(tmp_path / "in.jsonl", questions(1))
    done = llmasos("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "nowhere" / "out")
    assert done.exit_code == 5
    assert "there is no folder" in done.stderr
    same = llmasos("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "in.jsonl")
    assert same.exit_code == 2
    assert "the same file" in same.stderr
    assert batch("--on-overflow", "summarize").exit_code == 2
    assert batch("--template", "no place").exit_code == 2
    assert batch("--input-format", "xml").exit_code == 2


def test_an_empty_input_is_done_at_once(batch, tmp_path):
    write_lines(tmp_path / "in.jsonl", [])
    done = batch("--json")
    assert (done.exit_code, json.loads(done.stdout)["lines"]["total"]) == (0, 0)


# Terminals.


@pytest.mark.parametrize(("columns", "term"), [(100, "xterm"), (20, "xterm"), (80, "dumb")])
def test_how_far_it_is_shows_on_any_terminal(tiny_model, tmp_path, columns, term):
    write_lines(tmp_path / "in.jsonl", questions(1500))
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": term}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        command("batch", tiny_model, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out", *FIXED),
        cwd=PROJECT, stdin=follower, stdout=subprocess.DEVNULL, stderr=follower, env=environment,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert process.wait(timeout=60) == 0, shown
    text = shown.decode()
    assert "1500 done of 1500" in text.replace("\r\n", "")
    assert ("\x1b" in text) == (term != "dumb")
    if columns == 100:
        assert "tok/s" in text
    if columns == 20:
        assert "/1500" in text
        assert "tok/s" not in text


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from llmasos.batch.run import Tally
    from llmasos_cli.batch_progress import BatchProgress

    progress = BatchProgress()
    progress.report(Tally(done=1), 10)
    assert capsys.readouterr().err == ""
    progress.seconds_between = 0
    progress.report(Tally(done=4, failed=1, written=90, seconds=3.0), 10)
    assert capsys.readouterr().err == "batch: 5/10, 1 failed, 30 tok/s, 3.8s left\n"
