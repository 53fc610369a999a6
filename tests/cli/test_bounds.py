"""`--timeout` and `--lock`: how a run of a cron line or a timer is kept within bounds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.hub import Fault, StandInHub
from llmasos.errors import TryAgainError
from llmasos_cli.bounds import TimeIsUpError, bounded

ENDLESS = ("--ignore-eos", "--on-overflow", "shift")
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_an_answer_that_takes_too_long_is_stopped_and_can_be_tried_again(llmasos, tiny_model):
    started = time.monotonic()
    result = llmasos("run", tiny_model, "the", *ENDLESS, "--timeout", "1")
    assert result.exit_code == 75
    assert result.stderr == "error: stopped by --timeout after 1.0s\n"
    assert time.monotonic() - started < 6


def test_a_run_within_its_time_says_nothing_of_it(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "the", "--max-tokens", "2", "--timeout", "60")
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_output_file_stays_as_it_was(llmasos, tiny_model, tmp_path):
    (tmp_path / "answer.txt").write_text("old")
    result = llmasos("run", tiny_model, "the", *ENDLESS, "--timeout", "1", "-o", tmp_path / "answer.txt")
    assert result.exit_code == 75
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir() if path.is_file()] == [("answer.txt", "old")]


def test_a_pull_is_stopped_too_and_goes_on_next_time(llmasos, tiny_model, hub: StandInHub):
    hub.add_huggingface("maker/tiny-GGUF", {"tiny-F32.gguf": tiny_model})
    hub.fault("/cdn/", Fault(throttle=20_000), times=None)
    result = llmasos("run", "maker/tiny-GGUF", "the", "--timeout", "2")
    assert (result.exit_code, result.stdout) == (75, "")
    assert result.stderr.endswith("error: stopped by --timeout after 2.0s\n")
    assert llmasos("list").stdout == ""


def test_a_pipe_that_says_nothing_is_not_waited_for_for_ever(tiny_model):
    for flags in ((), ("--lines",)):
        process = subprocess.Popen(
            command("run", tiny_model, "--timeout", "1", *flags),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stderr is not None
        assert process.wait(timeout=20) == 75
        assert process.stderr.read() == "error: stopped by --timeout after 1.0s\n"
        process.stdin.close()
        process.stderr.close()


def test_what_tries_again_after_an_error_does_not_take_the_end_for_one():
    with pytest.raises(TryAgainError, match="stopped by --timeout"), bounded(0.05, None):
        try:
            time.sleep(5)
        except Exception:
            pytest.fail("it was taken for an error of this source")


def test_a_command_that_swallows_the_end_is_ended_all_the_same():
    program = (
        "import time\n"
        "from llmasos_cli import bounds\n"
        "bounds.SECONDS_TO_LEAVE = 0.2\n"
        "with bounds.bounded(0.1, None):\n"
        "    for _ in range(100):\n"
        "        try:\n"
        "            time.sleep(0.1)\n"
        "        except bounds.TimeIsUpError:\n"
        "            pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (75, "error: the time of --timeout is over\n")


def test_the_alarm_is_off_afterwards():
    with bounded(30, None):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert issubclass(TimeIsUpError, KeyboardInterrupt)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e12"])
def test_a_time_that_is_none_is_a_wrong_call(llmasos, tiny_model, seconds):
    result = llmasos("run", tiny_model, "the", "--timeout", seconds)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --timeout is more than 0 and at most 10000000 seconds, not ")


def holder(model: Path, name: str) -> subprocess.Popen[bytes]:
    """A run that holds a lock and writes without end; it has begun to write."""
    process = subprocess.Popen(
        command("run", model, "the", *ENDLESS, "--lock", name),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(1)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_a_second_run_leaves_at_once_and_a_killed_one_holds_nothing(llmasos, tiny_model):
    process = holder(tiny_model, "nightly news")
    try:
        second = llmasos("run", tiny_model, "the", "--lock", "nightly news")
        other = llmasos("run", tiny_model, "the", "--max-tokens", "1", "--lock", "nightly-news")
    finally:
        end(process)
    assert (second.exit_code, second.stdout) == (75, "")
    assert second.stderr == "error: another run holds the lock `nightly news`\n"
    assert other.exit_code == 0
    assert llmasos("run", tiny_model, "the", "--max-tokens", "1", "--lock", "nightly news").exit_code == 0


def test_a_second_run_does_not_wait_for_its_input(tiny_model):
    first = holder(tiny_model, "one")
    second = subprocess.Popen(
        command("run", tiny_model, "--lock", "one"), cwd=PROJECT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert second.wait(timeout=20) == 75
    finally:
        end(first)
        second.communicate()


def test_a_lock_is_kept_in_the_home_and_no_name_leads_out_of_it(llmasos, tiny_model, home):
    for name in ("nightly", "../../etc/x", "store", "日本語"):
        assert llmasos("run", tiny_model, "the", "--max-tokens", "1", "--lock", name).exit_code == 0
    names = [path.name for path in (home / "locks").iterdir()]
    assert "by-name.nightly.lock" in names
    assert all(name.startswith("by-name.") for name in names)


def test_an_empty_name_is_a_wrong_call(llmasos, tiny_model):
    assert llmasos("run", tiny_model, "the", "--lock", " ").exit_code == 2


def test_a_folder_of_locks_that_can_not_be_written_is_named(tiny_model, home):
    (home / "locks").mkdir(parents=True)
    (home / "locks").chmod(0o500)
    done = subprocess.run(
        [*AS_ANYBODY, *command("run", tiny_model, "the", "--lock", "nightly")],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    (home / "locks").chmod(0o700)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {home / 'locks'}")
    assert "Traceback" not in done.stderr
