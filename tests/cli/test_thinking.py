"""Reasoning on the command line: the answer alone is data, what is thought before it goes beside it or nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.tiny import CHAT_TEMPLATE, TinyModel

FIXED = ("--temperature", "0", "--max-tokens", "8", "--ignore-eos")
THOUGHTFUL = ("--grammar", 'root ::= "<think>\\nhm\\n</think>\\n\\nYes"')
THINKER = CHAT_TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")


@pytest.fixture
def thinker(make_tiny) -> Path:
    """A model whose template begins the reasoning."""
    return make_tiny(TinyModel(template=THINKER))


def test_reasoning_is_no_part_of_the_answer(llmasos, tiny_model, tmp_path):
    result = llmasos("run", tiny_model, "really?", *THOUGHTFUL)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Yes\n", "")
    llmasos("run", tiny_model, "really?", *THOUGHTFUL, "-o", tmp_path / "answer.txt")
    assert (tmp_path / "answer.txt").read_text() == "Yes\n"
    beams = llmasos("run", tiny_model, "really?", *THOUGHTFUL, "--num-beams", "2")
    assert beams.stdout == "Yes\n"


def test_json_has_answer_and_reasoning(llmasos, tiny_model):
    answer = json.loads(llmasos("run", tiny_model, "really?", *THOUGHTFUL, "--json").stdout)
    assert (answer["text"], answer["reasoning"]) == ("Yes", "hm")
    plain = json.loads(llmasos("run", tiny_model, "really?", *FIXED, "--json").stdout)
    assert plain["reasoning"] is None


def test_reasoning_that_is_asked_for_goes_to_standard_error(llmasos, thinker):
    quiet, shown = (llmasos("run", thinker, "really?", *FIXED, *more) for more in ((), ("--think",)))
    assert quiet.stdout == shown.stdout == "\n"
    thought, _, note = shown.stderr.rpartition("\n\n")
    assert thought
    assert note == quiet.stderr
    assert "before the model was done thinking" in note


def test_reasoning_can_be_left_out(llmasos, thinker):
    thinking, plain = (
        json.loads(llmasos("run", thinker, "really?", *FIXED, "--json", *more).stdout) for more in ((), ("--no-think",))
    )
    assert (thinking["text"], plain["reasoning"]) == ("", None)
    assert thinking["reasoning"]
    assert plain["text"]
    assert plain["tokens"]["prompt"] == thinking["tokens"]["prompt"] + len("\n</think>\n\n") - 1  # `th` is one token


def test_thinking_is_a_setting_too(llmasos, thinker, home, monkeypatch):
    monkeypatch.setenv("LLMASOS_THINK", "no")
    assert json.loads(llmasos("run", thinker, "really?", *FIXED, "--json").stdout)["reasoning"] is None


def test_an_answer_of_a_given_form_is_not_thought_about(llmasos, thinker):
    result = llmasos("run", thinker, "really?", "--schema", '{"enum": ["red"]}')
    assert (result.stdout, result.stderr) == ('"red"\n', "")
    refused = llmasos("run", thinker, "really?", "--schema", '{"enum": ["red"]}', "--think")
    assert refused.exit_code == 2
    assert "leaves no room to think" in refused.stderr


def test_raw_text_is_shown_as_it_comes(llmasos, tiny_model):
    result = llmasos("run", tiny_model, "--raw", "really?", *THOUGHTFUL)
    assert result.stdout == "<think>\nhm\n</think>\n\nYes\n"
    assert llmasos("run", tiny_model, "--raw", "really?", "--think").exit_code == 2
