"""`LLM.task`: the tasks of the command line, from Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmasos import LLM
from llmasos.errors import BadInputError, UsageError

GREETING = """
prompt = "say {text} in {to}: {input}"
system = "dog"
[parameters.to]
[parameters.text]
is_file = true
default = "it"
[options]
temperature = 0
max_tokens = 8
context_length = 64
"""


@pytest.fixture
def model(tiny_model: Path, home: Path) -> Iterator[LLM]:
    (home / "tasks").mkdir(parents=True)
    (home / "tasks/say.toml").write_text(GREETING)
    (home / "tasks/yes.toml").write_text("""[options]\ngrammar = 'root ::= "so: [1]"'\nextract = "json\"""")
    with LLM.from_pretrained(str(tiny_model), threads=1, parallel=1) as model:
        yield model


def test_a_task_asks_as_chat_does_with_its_prompt_and_options(model: LLM):
    typed = model.chat("say it in Latin: cat", system="dog", temperature=0, max_tokens=8)
    assert model.task("say", "cat", {"to": "Latin"}) == typed
    assert model.task("say", "cat", {"to": "Latin", "text": "it"}) == typed


def test_options_given_go_before_the_tasks_own_by_whatever_name(model: LLM):
    short = model.chat("say it in Latin: cat", system="dog", temperature=0, max_tokens=2)
    assert model.task("say", "cat", {"to": "Latin"}, max_tokens=2) == short
    assert model.task("say", "cat", {"to": "Latin"}, max_new_tokens=2) == short


def test_what_a_task_extracts_is_the_answer(model: LLM):
    assert model.task("yes", "cat") == "[1]"
    assert model.task("yes", "cat", grammar='root ::= "see [2]"') == "[2]"
    with pytest.raises(BadInputError, match="there is no JSON"):
        model.task("yes", "cat", regex="no")


def test_a_task_or_a_parameter_that_is_not_there_is_told(model: LLM):
    with pytest.raises(UsageError, match="there is no task `sy`"):
        model.task("sy", "cat")
    with pytest.raises(UsageError, match="wants `to`"):
        model.task("say", "cat")
