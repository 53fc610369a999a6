"""Pipes and tasks on a real model: answers of lines are those of runs, bounded memory, ends at any moment."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

GREEDY = ("--temperature", "0", "--max-tokens", "24")
ARTICLE = (
    "The old lighthouse at Cape Rowan was built in 1871 from local granite. In 1961 an electric light came, and "
    "the last keeper, Anna Holt, moved to the village. In 2004 volunteers turned the building into a small museum."
)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(autouse=True)
def stored(shared_home: Path, monkeypatch: pytest.MonkeyPatch, home: Path, llmasos) -> None:
    """One home for all tests of this file, with the model."""
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))
    assert llmasos("pull", "smollm2", timeout=200).exit_code == 0


def test_lines_are_answered_as_they_are_alone(llmasos):
    """Reproducible, so that nothing may differ."""
    lines = ["Name a colour.", "What is the capital of France?", "Count to five."]
    flags = (*GREEDY, "--deterministic", "--json")
    alone = [json.loads(llmasos("run", "smollm2", line, *flags).stdout)["text"] for line in lines]
    together = llmasos("run", "smollm2", "--lines", *flags, stdin="\n".join(lines)).stdout
    assert [json.loads(line)["text"] for line in together.splitlines()] == alone


def test_any_number_of_lines_takes_the_memory_of_a_few(tmp_path):
    def peak(count: int) -> int:
        (tmp_path / "lines.txt").write_text("say yes\n" * count)
        words = command("run", "smollm2", "--lines", "--max-tokens", "1", "-f", tmp_path / "lines.txt")
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *words], cwd=PROJECT, capture_output=True, text=True, check=True
        )
        return int(done.stderr.splitlines()[-1])

    assert peak(600) < peak(100) + 20_000  # kilobytes


MEASURE = (
    "import resource, subprocess, sys\n"
    "subprocess.run(sys.argv[1:], check=True)\n"
    "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
)


def test_a_timeout_ends_a_run_at_any_moment(tmp_path):
    """While Python starts, weights are read, prompts are read, answers grow: always 75, and no file."""
    generator = random.Random(7)
    (tmp_path / "lines.txt").write_text(f"{ARTICLE * 3}\n" * 4)
    target = tmp_path / "answers.txt"
    for _ in range(25):
        seconds = generator.choice([0.01, 0.1, 0.3, 0.6, 1.0]) * generator.uniform(0.5, 1.5)
        words = command(
            "run", "smollm2", "--lines", "-f", tmp_path / "lines.txt", "--max-tokens", "60", "--timeout", seconds, "-o",
            target,
        )  # fmt: skip
        started = time.monotonic()
        done = subprocess.run(words, cwd=PROJECT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 75, done.stderr
        assert done.stderr.startswith("error: stopped by --timeout after ")
        assert time.monotonic() - started < seconds + 5
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["lines.txt"]


def test_tasks_do_what_they_say(llmasos, tmp_path):
    (tmp_path / "article.txt").write_text(ARTICLE)
    context = ("--context", tmp_path / "article.txt")
    assert "Holt" in llmasos("run", "smollm2", "Who was the last keeper?", "--task", "qa", *context).stdout
    assert "1871" in llmasos("run", "smollm2", "When was it built?", "--task", "qa", *context).stdout
    french = llmasos("run", "smollm2", "The book is on the table.", "--task", "translate", "--to", "French").stdout
    assert " est sur la table" in french
    summary = llmasos("run", "smollm2", "--task", "summarize", "--max-tokens", "120", stdin=ARTICLE).stdout
    assert "lighthouse" in summary
    code = llmasos("run", "smollm2", "a function is_prime(n)", "--task", "code", "--max-tokens", "400").stdout
    compile(code, "answer", "exec")
    assert "def " in code
    diff = "-def greet(name):\n+def greet(name, loud=False):\n"
    message = llmasos("run", "smollm2", "--task", "commit-message", stdin=diff).stdout
    assert message.count("\n") == 1
    assert message.split()[0] in ("Add", "Allow", "Change", "Fix", "Improve", "Make", "Move", "Remove", "Rename",
                                  "Replace", "Simplify", "Update", "Use")  # fmt: skip
