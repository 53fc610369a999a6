"""Reasoning by a server's model is shown, told and left out as that of a model here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.serving import served
from doubles.tiny import CHAT_TEMPLATE, TinyModel
from llmasos.pull import pull

pytestmark = [pytest.mark.timeout(180), pytest.mark.real]  # seconds each
FIXED = ("really?", "--temperature", "0", "--max-tokens", "8", "--ignore-eos")
THOUGHTFUL = ("really?", "--grammar", 'root ::= "<think>\\nhm\\n</think>\\n\\nYes"')
CODE = ("really?", "--grammar", 'root ::= "So:\\n```\\na = 1\\n```\\n"', "--extract", "code")
HERE = ("--server", "")


@pytest.fixture
def thinker(home: Path, make_tiny, turn_to, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model whose template begins the reasoning, here; at the server it is called `thinker`."""
    monkeypatch.setenv("LLMASOS_THREADS", "1")
    template = CHAT_TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
    model = make_tiny(TinyModel(template=template))
    pull(str(model), name="thinker")
    with served() as server:
        turn_to(server)
        yield model


def test_reasoning_is_where_it_is_here(thinker: Path, llmasos):
    for options in (
        FIXED,
        (*FIXED, "--think"),
        (*FIXED, "--no-think"),
        THOUGHTFUL,
        CODE,
        ("x", "--schema", '{"enum": ["red"]}'),
        ("x", "--schema", '{"enum": ["red"]}', "--think"),
        ("cats", "--task", "translate", "--to", "French", *FIXED[1:]),
    ):
        there = llmasos("run", "thinker", *options)
        here = llmasos("run", thinker, *options, *HERE)
        assert (there.exit_code, there.stdout, there.stderr) == (here.exit_code, here.stdout, here.stderr), options
    told = json.loads(llmasos("run", "thinker", *FIXED, "--json").stdout)
    assert told["reasoning"] == json.loads(llmasos("run", thinker, *FIXED, "--json", *HERE).stdout)["reasoning"] != ""


def test_a_chat_turns_it_on_and_off(thinker: Path, llmasos):
    turns = "really?\n/think off\nand now?\n/tokens\n"
    there = llmasos("chat", "thinker", "--no-save", *FIXED[1:], stdin=turns)
    here = llmasos("chat", thinker, "--no-save", *FIXED[1:], *HERE, stdin=turns)
    assert (there.exit_code, there.stdout, there.stderr) == (0, here.stdout, here.stderr)
