"""Ready-made tasks as files: those that come with llmasos, the user's own, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmasos.errors import BadInputError, UsageError
from llmasos.settings import read_toml
from llmasos.tasks.task import BUILT_IN, FilledTask, read_task, read_tasks, task_names


def write_task(home: Path, name: str, text: str) -> None:
    (home / "tasks").mkdir(parents=True, exist_ok=True)
    (home / "tasks" / f"{name}.toml").write_text(text, encoding="utf-8")


def filled(name: str, **given: str) -> FilledTask:
    task = read_task(name)
    return FilledTask(task, task.values(given))


def test_the_built_in_tasks_are_there():
    assert task_names() == ["code", "commit-message", "qa", "summarize", "translate"]


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.toml")), ids=lambda path: path.stem)
def test_a_built_in_task_says_what_it_and_its_parameters_are(path: Path):
    task = read_task(path.stem)
    assert task.is_built_in
    assert task.description.endswith(".")
    assert all(each.help.endswith(".") for each in task.parameters)
    assert "{input}" in task.prompt
    assert set(read_toml(path).get("parameters", {})) == {each.name for each in task.parameters}


def test_a_prompt_has_its_parameters_and_the_input_in_their_places():
    prompt = filled("translate", to="French").prompt("Good {to} morning {input}")
    assert "French" in prompt
    assert "Good {to} morning {input}" in prompt  # what is given is text and no template


def test_a_task_of_the_user_goes_before_ours(home):
    write_task(home, "translate", 'prompt = "Say in {to}: {input}"\n[parameters.to]\ndefault = "Latin"')
    assert filled("translate").prompt("hello") == "Say in Latin: hello"
    assert not read_task("translate").is_built_in


def test_a_prompt_without_a_place_for_the_input_has_it_behind(home):
    write_task(home, "joke", 'prompt = "Tell a joke."\nsystem = "Be brief."')
    assert filled("joke").prompt("") == "Tell a joke."
    assert filled("joke").prompt("of cats") == "Tell a joke.\n\nof cats"
    assert (filled("joke").system, filled("joke").takes_input) == ("Be brief.", False)


def test_other_braces_stay_as_they_are(home):
    write_task(home, "shape", """prompt = 'As {"a": {"b": 1}} or {x}: {input}'""")
    assert filled("shape").prompt("go") == 'As {"a": {"b": 1}} or {x}: go'


def test_options_are_a_layer_a_shape_and_what_to_extract(home):
    write_task(home, "people", '[options]\nnum_predict = 5\nschema = "name, age int"\nextract = "json"')
    task = read_task("people")
    assert (dict(task.layer), task.shape, task.extract) == ({"max_tokens": 5}, {"schema": "name, age int"}, "json")
    assert task.layer.spell("max_tokens") == "people.toml: max_tokens"


def test_an_unknown_task_is_told_with_near_names_and_all_there_are():
    with pytest.raises(UsageError) as caught:
        read_task("sumarize")
    assert caught.value.message == "there is no task `sumarize`"
    assert caught.value.hint == ("did you mean `summarize`? tasks: code, commit-message, qa, summarize, translate")


def test_a_missing_parameter_is_told_with_how_it_is_given():
    with pytest.raises(UsageError) as caught:
        read_task("translate").values({})
    assert caught.value.message == "the task translate wants `to`: The language to translate into."
    assert caught.value.hint == "give it with --to VALUE"


def test_a_parameter_that_a_task_does_not_know_is_told_with_those_it_has():
    with pytest.raises(UsageError) as caught:
        read_task("summarize").values({"sentence": "3"})
    assert caught.value.hint == "did you mean `sentences`? its parameters: sentences"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt = 3", "prompt is a text"),
        ("prompt = ", "can't read"),
        ("prompts = 'x'", "`prompts` means nothing in a task"),
        ("parameters = 3", "parameters is a table"),
        ("[parameters]\nto = 'x'", "parameters.to is a table"),
        ("[parameters.to]\nhelp = 3", "parameters.to.help is a text"),
        ("[parameters.to]\nis_file = 3", "parameters.to.is_file is true or false"),
        ("[parameters.to]\ntype = 'x'", "`type` means nothing in parameters.to"),
        ("[parameters.to]", "neither the prompt nor the system text has {to}"),
        ("[parameters.input]", "`input` can't be a parameter's name"),
        ("[parameters.'To Go']", "`To Go` can't be a parameter's name"),
        ("[options]\ntemperatur = 1", "`temperatur` means nothing in options"),
        ("[options]\nschema = 1", "options.schema is a text"),
        ("[options]\nextract = 'poem'", "extract is one of code, json, not poem"),
    ],
)
def test_a_file_that_is_no_task_is_told_with_its_place(home, text, told):
    write_task(home, "mine", text)
    with pytest.raises((BadInputError, UsageError)) as caught:
        read_task("mine")
    assert told in caught.value.message


def test_a_file_that_is_no_task_does_not_stop_the_others(home):
    write_task(home, "mine", "prompt = 3")
    assert read_task("summarize").is_built_in
    with pytest.raises(BadInputError):
        read_tasks()


def test_a_name_that_nobody_could_type_is_refused(home):
    write_task(home, "My Task", "prompt = 'x'")
    with pytest.raises(BadInputError, match="a task's name has small letters"):
        read_task("My Task")
