"""The examples for cron and systemd, run as these run them: in an environment with next to nothing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PROJECT
from doubles.tiny import TinyModel
from llmasos.server.listen import SECONDS_TO_FINISH

DOCS = PROJECT / "docs"
UNITS = sorted((DOCS / "systemd").glob("llmasos-*.*"))
CRON_LINE = re.compile(r"[-0-9*,/]+(?: +[-0-9*,/]+){4} +(?P<command>.+)")
HOLDER = """
from llmasos.store.store import ModelStore
with ModelStore().hold("labels"):
    print(flush=True)
    input()
"""
TIMES_ALLOWED = re.compile(r"--timeout (\d+)")


@pytest.fixture
def user(tmp_path: Path, make_tiny: Callable[[TinyModel], Path]) -> Path:
    """The home folder of somebody who has the program, a model called smollm2, and something to read."""
    user = tmp_path / "me"
    program = user / ".venv/bin/llmasos"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m llmasos_cli "$@"\n')
    program.chmod(0o755)
    model = make_tiny(TinyModel(context_length=4096))
    subprocess.run([program, "pull", model, "--as", "smollm2"], env={"HOME": str(user)}, check=True)
    (user / "notes.txt").write_text("the cat sat\n")
    (user / "prompts.jsonl").write_text('{"prompt": "the cat", "max_tokens": 4}\n')
    (user / "messages.txt").write_text("all is well\n\nthe disk is full\n")
    return user


def cron_commands() -> list[str]:
    lines = (DOCS / "crontab.example").read_text(encoding="utf-8").splitlines()
    return [found["command"] for line in lines if (found := CRON_LINE.fullmatch(line))]


def as_cron(command: str, user: Path) -> subprocess.CompletedProcess[str]:
    environment = [f"HOME={user}", f"LLMASOS={user}/.venv/bin/llmasos"]
    return subprocess.run(
        ["env", "-i", *environment, "/bin/sh", "-c", command], cwd=user, capture_output=True, text=True, timeout=60
    )


def setting(name: str, unit: str = "llmasos-summary.service") -> str:
    text = (DOCS / "systemd" / unit).read_text(encoding="utf-8")
    [value] = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    return value


def test_the_lines_of_the_crontab_run_and_say_nothing(user):
    summary, labels, batch = cron_commands()
    for command in (summary, labels, batch):
        assert "%" not in command
        done = as_cron(command, user)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (user / "summary.txt").stat().st_size > 1
    first, empty, last = (user / "labels.txt").read_text().splitlines()
    assert empty == ""
    assert {first, last} <= {"good", "bad"}
    assert len((user / "answers.jsonl").read_text().splitlines()) == 1
    assert "1 done of 1" in (user / "batch.log").read_text()


def test_a_line_of_the_crontab_that_meets_another_of_its_name_leaves_with_75(user):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={"HOME": str(user), "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    done = as_cron(cron_commands()[1], user)
    process.communicate("\n")
    assert (done.returncode, done.stderr) == (75, "error: another run holds the lock `labels`\n")
    assert not (user / "labels.txt").exists()


def test_the_service_runs_without_a_shell_and_ends_before_systemd_ends_it(user):
    words = shlex.split(setting("ExecStart").replace("%h", str(user)))
    done = subprocess.run(
        ["env", "-i", f"HOME={user}", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (user / "summary.txt").stat().st_size > 1
    allowed = TIMES_ALLOWED.search(setting("ExecStart"))
    assert allowed is not None
    assert int(setting("TimeoutStartSec")) > int(allowed[1])
    assert setting("SuccessExitStatus") == "75"


def test_the_service_of_a_batch_goes_on_where_it_was(user):
    words = shlex.split(setting("ExecStart", "llmasos-batch.service").replace("%h", str(user)))
    for summary in ("1 done of 1", "0 done, 1 were done before of 1"):
        done = subprocess.run(["env", "-i", f"HOME={user}", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert summary in done.stderr
    assert setting("SuccessExitStatus", "llmasos-batch.service") == "75"


def test_the_server_s_service_answers_who_has_a_key_and_ends_when_it_is_told(user, tmp_path):
    keys = tmp_path / "credentials" / "keys"
    keys.parent.mkdir()
    keys.write_text("secret\n")
    text = setting("ExecStart", "llmasos-serve.service").replace("/opt/llmasos", f"{user}/.venv")
    words = shlex.split(text.replace("%d", str(keys.parent)))
    command = ["env", "-i", f"LLMASOS_HOME={user}/.llmasos", *words, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = re.search(r"http://0.0.0.0:(\d+)", process.stderr.readline())
        assert address
        models = f"http://127.0.0.1:{address[1]}/v1/models"
        asked = urllib.request.Request(models, headers={"Authorization": "Bearer secret"})
        with urllib.request.urlopen(asked, timeout=20) as response:
            assert response.status == 200
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(models, timeout=20)
        process.terminate()
        assert process.wait(20) == 0
    assert int(setting("TimeoutStopSec", "llmasos-serve.service")) > SECONDS_TO_FINISH


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_finds_the_server_s_service_shut_in():
    unit = DOCS / "systemd" / "llmasos-serve.service"
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)]  # of 100
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_takes_the_units(user, tmp_path):
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("%h", str(user)).replace("/opt/llmasos", f"{user}/.venv")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (len(UNITS), done.returncode, done.stderr) == (5, 0, "")
