"""Debiasing and control vectors on a real model: they do something, as much as is asked for, and talk stays talk."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
FIXED = ("--temperature", "0", "--max-tokens", "24")


def test_the_stronger_the_more_a_text_is_foreseen_worse(llmasos, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The weather was fine, and the children went to the lake with their parents. " * 6, "utf-8")

    def perplexity(*flags: str) -> float:
        result = llmasos("eval", "perplexity", "smollm2", "-f", text, "--context", "32", "--json", *flags, timeout=300)
        assert result.exit_code == 0, result.stderr
        return float(json.loads(result.stdout)["perplexity"])

    wanted = ("--debias", "self", "--debias-attributes", "gender", "--debias-attributes", "insults")
    plain, weak, strong, strongest = (
        perplexity(),
        *(perplexity(*wanted, "--debias-strength", strength) for strength in ("0", "50", "1000")),
    )
    assert weak == pytest.approx(plain, rel=0.03)
    assert plain * 0.97 < strong < strongest


def test_an_answer_that_is_debiased_is_about_what_was_asked(llmasos):
    result = llmasos(
        "run", "smollm2", "Describe a typical nurse in one sentence.", "--debias", "self", *FIXED, timeout=300
    )
    assert result.exit_code == 0, result.stderr
    assert "nurse" in result.stdout.lower()


def test_a_vector_of_a_few_pairs_turns_the_mood(llmasos, tmp_path):
    pairs, vector = tmp_path / "pairs.jsonl", tmp_path / "mood.gguf"
    moods = [
        (f"I am so happy today, {who}! I feel", f"I am so sad today, {who}. I feel") for who in ("Ann", "Ben", "Eve")
    ]
    lines = [json.dumps({"positive": good, "negative": bad}) for good, bad in moods]
    pairs.write_text("\n".join(lines), "utf-8")
    made = llmasos("eval", "steer", "smollm2", "-f", pairs, "-o", vector, timeout=300)
    assert made.exit_code == 0, made.stderr

    def said(scale: int) -> str:
        flags = ("--raw", "--control-vector", f"{vector}:{scale}", *FIXED)
        return str(llmasos("run", "smollm2", "When I woke up this morning I felt", *flags, timeout=300).stdout)

    assert said(0) == llmasos("run", "smollm2", "When I woke up this morning I felt", "--raw", *FIXED).stdout
    assert len({said(-8), said(0), said(8)}) == 3
