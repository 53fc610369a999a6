"""`llmasos run`: what the engine offers beside the answer, and what it spares."""

from __future__ import annotations

import json

import pytest

from doubles.tiny import TinyModel

FIXED = ("--temperature", "0", "--max-tokens", "8", "--ignore-eos")


def test_what_was_read_is_kept_for_the_next_prompt_that_begins_alike(llmasos, tiny_model, tmp_path):
    document, cache = "the cat sat on the mat and looked at the hat. " * 3, tmp_path / "prompt.kv"

    def read_again(question: str, *more: str) -> int:
        result = llmasos(
            "run", tiny_model, document + question, "--raw", *FIXED, "--json", "--prompt-cache", cache, *more
        )
        assert (result.exit_code, result.stderr) == (0, "")
        tokens = json.loads(result.stdout)["tokens"]
        return tokens["prompt"] - tokens["cached"]

    assert read_again("Who?") > 100
    written = cache.stat().st_mtime_ns
    assert read_again("Where?") < 10
    assert cache.stat().st_mtime_ns == written
    assert read_again("Where?", "--kv-type", "f32") > 100  # of no use to another cache, and replaced
    assert read_again("Who?", "--kv-type", "f32") < 10


def test_a_prompt_cache_is_refused_before_anything_is_read(llmasos, tiny_model, tmp_path):
    result = llmasos("run", tiny_model, "the", "--prompt-cache", tmp_path / "nowhere" / "x.kv")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "there is no folder" in result.stderr
    result = llmasos("run", tiny_model, "the", "--prompt-cache", tmp_path / "x.kv", "--deterministic")
    assert result.exit_code == 2
    assert "--prompt-cache" in result.stderr


def test_deterministic_answers_are_the_same_alone_and_among_others(llmasos, tiny_model):
    several = llmasos("run", tiny_model, "the cat", "-n", "3", "--seed", "5", "--max-tokens", "20", "--deterministic")
    for number, text in enumerate(several.stdout.split("---\n")):
        alone = llmasos("run", tiny_model, "the cat", "--seed", 5 + number, "--max-tokens", "20", "--deterministic")
        assert alone.stdout == text
    assert several.stdout.count("---\n") == 2


def test_a_draft_model_guesses_ahead(llmasos, tiny_model, make_tiny):
    plain = llmasos("run", tiny_model, "the cat", *FIXED, "--kv-type", "f32", "--no-flash-attention")
    drafted = llmasos(
        "run",
        tiny_model,
        "the cat",
        *FIXED,
        "--kv-type",
        "f32",
        "--no-flash-attention",
        "--draft",
        make_tiny(TinyModel()),
    )
    assert (drafted.exit_code, drafted.stdout, drafted.stderr) == (0, plain.stdout, "")


def test_draft_models_that_can_not_be_are_refused(llmasos, tiny_model, tmp_path):
    missing = llmasos("run", tiny_model, "the cat", "--draft", tmp_path / "missing.gguf")
    assert missing.exit_code in (3, 5)
    assert "missing.gguf" in missing.stderr
    alone = llmasos("run", tiny_model, "the cat", "--draft", tiny_model, "--deterministic")
    assert alone.exit_code == 2
    assert "speculation" in alone.stderr


def test_log_probabilities_come_with_json(llmasos, tiny_model):
    answer = json.loads(llmasos("run", tiny_model, "the cat", *FIXED, "--json", "--logprobs", "2").stdout)
    assert len(answer["logprobs"]) == 8
    for scored in answer["logprobs"]:
        assert scored["logprob"] < 0
        assert scored["top"][0] == {key: scored[key] for key in ("token", "id", "logprob")}
        assert len(scored["top"]) == 2
    assert "logprobs" not in json.loads(llmasos("run", tiny_model, "the cat", *FIXED, "--json").stdout)


@pytest.mark.parametrize("flags", [(), ("--json", "--num-beams", "2")])
def test_log_probabilities_that_nobody_would_see_are_refused(llmasos, tiny_model, flags):
    assert llmasos("run", tiny_model, "the cat", "--logprobs", "2", *flags).exit_code == 2


def test_an_answer_is_debiased(llmasos, tiny_model):
    drawn = ("--temperature", "2", "--top-k", "0", "--seed", "1", "--max-tokens", "20", "--ignore-eos")
    wanted = ("--debias", "self", "--debias-attributes", "age", "--debias-attributes", "insults")
    plain = llmasos("run", tiny_model, "the cat", *drawn)
    weak = llmasos("run", tiny_model, "the cat", *drawn, *wanted, "--debias-strength", "0")
    strong = llmasos("run", tiny_model, "the cat", *drawn, *wanted, "--debias-strength", "5000")
    assert (weak.exit_code, weak.stdout) == (0, plain.stdout)
    assert strong.exit_code == 0 and strong.stdout != plain.stdout
    several = llmasos("run", tiny_model, "the cat", "-n", "3", *wanted, "--max-tokens", "5", "--seed", "1")
    assert several.stdout.count("---\n") == 2
    searched = llmasos("run", tiny_model, "the cat", "--num-beams", "2", *wanted)
    assert searched.exit_code == 2 and "--debias" in searched.stderr
