"""How a run ends and where its output goes: signals, pipes, closed streams, full devices, files of all kinds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command

FIXED = ("--temperature", "0", "--max-tokens", "8", "--ignore-eos")


def test_a_closed_pipe_ends_quietly(tiny_model):
    line = " ".join(command("run", tiny_model, "the", "--max-tokens", "200", "--ignore-eos"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -c 1"], cwd=PROJECT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_stops_an_answer_at_once(tiny_model):
    endless = ("--ignore-eos", "--on-overflow", "shift")
    process = subprocess.Popen(
        command("run", tiny_model, "the", *endless),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    output, complaints = process.communicate(timeout=10)
    assert process.returncode == 130
    assert complaints == b""
    assert output.endswith(b"\n")
    assert time.monotonic() - started < 2


def test_a_terminated_run_leaves_no_half_written_file(tiny_model, tmp_path):
    target = tmp_path / "answer.txt"
    endless = ("--ignore-eos", "--on-overflow", "shift", "-o", target)
    process = subprocess.Popen(
        command("run", tiny_model, "the", *endless), cwd=PROJECT, stdin=subprocess.DEVNULL, env=os.environ
    )
    time.sleep(1.5)
    process.terminate()
    assert process.wait(timeout=10) == 143
    assert list(tmp_path.glob("*answer*")) == []


def test_an_output_file_is_written_through_a_link_and_keeps_its_mode(llmasos, tiny_model, tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "real.txt").chmod(0o640)
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    assert llmasos("run", tiny_model, "the cat", *FIXED, "-o", tmp_path / "link.txt").exit_code == 0
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() != "old"
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o640


def test_a_device_is_written_into(llmasos, tiny_model):
    assert llmasos("run", tiny_model, "the cat", *FIXED, "-o", "/dev/null").exit_code == 0
    assert not Path("/dev/null").is_file()


def test_an_output_file_that_cannot_be_written_is_told_before_the_work(llmasos, tiny_model, tmp_path):
    result = llmasos("run", "./nothing.gguf", "the cat", "-o", tmp_path / "no" / "answer.txt")
    assert result.exit_code == 5
    assert "there is no folder" in result.stderr


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(tiny_model, streams):
    line = " ".join(command("run", tiny_model, "the", "--max-tokens", "2", "--offline"))
    done = subprocess.run(["bash", "-c", f"{line} {streams}"], cwd=PROJECT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_device_is_an_error_and_no_traceback():
    line = " ".join(command("list", "--json"))
    done = subprocess.run(
        ["bash", "-c", f"{line} > /dev/full"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device\n")


def test_a_home_that_is_a_file_is_an_error_and_no_traceback(llmasos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMASOS_HOME", str(tmp_path / "file"))
    for arguments in (["list"], ["pull", "https://127.0.0.1:9/x.gguf"], ["verify"], ["prune"]):
        result = llmasos(*arguments)
        assert "Traceback" not in result.stderr
    assert result.exit_code == 1


def test_a_prompt_argument_of_other_bytes_is_named(tiny_model):
    done = subprocess.run(
        [*map(str.encode, command("run", tiny_model)), b"caf\xe9"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr == "error: the prompt is not UTF-8 text: byte 3 is 0xe9\n"


def test_help_has_a_short_name_and_a_closed_pipe_is_no_failure(llmasos):
    assert llmasos("run", "-h").stdout == llmasos("run", "--help").stdout
    line = " ".join(command("run", "--help"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -n 1"], cwd=PROJECT, capture_output=True, check=False
    )
    assert done.returncode == 0


def test_a_dumb_terminal_gets_the_answer_and_no_escape_sequence(tiny_model, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    line = " ".join(command("run", tiny_model, "the", "--regex", "yes"))
    done = subprocess.run(["script", "-qec", line, "/dev/null"], cwd=PROJECT, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"yes\r\n")


def test_a_pipe_has_what_is_written_before_the_answer_ends(tiny_model):
    long = ("--on-overflow", "shift", "--grammar", 'root ::= ("yes" "\\n"){2000}')
    process = subprocess.Popen(
        command("run", tiny_model, "the", *long), cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == [b"yes\n"] * 3
    assert process.poll() is None
    process.kill()
    process.communicate()


# root reads every file unless it gives up the right to
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.parametrize(
    "arguments", [("run", "{}", "hi"), ("import", "{}"), ("run", "{model}", "-f", "{}")], ids=" ".join
)
def test_an_unreadable_file_is_named_with_the_reason(tiny_model, tmp_path, arguments):
    locked = tmp_path / "locked.gguf"
    locked.write_bytes(tiny_model.read_bytes())
    locked.chmod(0)
    words = [argument.format(locked, model=tiny_model) for argument in arguments]
    done = subprocess.run(
        [*AS_ANYBODY, *command(*words)],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr.startswith(f"error: can't read {locked}: Permission denied")
    assert done.stdout == ""
