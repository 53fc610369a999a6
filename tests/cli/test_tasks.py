"""`run --task`, and `run --extract`, as they are typed."""

from __future__ import annotations

import json

import pytest

FIXED = ("--temperature", "0", "--max-tokens", "8", "--ignore-eos", "--json")


def answer(result) -> dict:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def write_task(home):
    def write(name: str, text: str) -> None:
        (home / "tasks").mkdir(parents=True, exist_ok=True)
        (home / "tasks" / f"{name}.toml").write_text(text, encoding="utf-8")

    return write


def test_a_task_asks_what_its_file_says(llmasos, tiny_model, write_task):
    write_task("say", 'prompt = "say in {to}: {input}"\nsystem = "dog"\n[parameters.to]')
    typed = answer(llmasos("run", tiny_model, "say in Latin: cat", "--system", "dog", *FIXED))
    for told in (("--to", "Latin"), ("--set", "to=Latin")):
        done = answer(llmasos("run", tiny_model, "cat", "--task", "say", *told, *FIXED))
        assert (done["text"], done["tokens"]["prompt"]) == (typed["text"], typed["tokens"]["prompt"])


def test_a_parameter_may_be_a_file(llmasos, tiny_model, write_task, tmp_path):
    write_task("ask", 'prompt = "{context} {input}"\n[parameters.context]\nis_file = true')
    (tmp_path / "context.txt").write_text("the cat")
    typed = answer(llmasos("run", tiny_model, "the cat sat", *FIXED))
    for told in (("--context", tmp_path / "context.txt"), ("--set", f"context={tmp_path / 'context.txt'}")):
        assert answer(llmasos("run", tiny_model, "sat", "--task", "ask", *told, *FIXED))["text"] == typed["text"]


def test_options_of_a_task_go_behind_those_of_config_environment_and_flags(
    llmasos, tiny_model, write_task, home, monkeypatch
):
    def tokens(*flags: str) -> int:
        done = llmasos("run", tiny_model, "cat", "--task", "say", "--json", "--ignore-eos", *flags)
        return answer(done)["tokens"]["completion"]

    write_task("say", "[options]\nmax_tokens = 3")
    assert tokens() == 3
    (home / "config.toml").write_text("max_tokens = 4\n")
    assert tokens() == 4
    monkeypatch.setenv("LLMASOS_MAX_TOKENS", "5")
    assert tokens() == 5
    assert tokens("--max-tokens", "6") == 6


def test_a_task_may_say_what_its_answer_looks_like(llmasos, tiny_model, write_task):
    write_task("yes", """[options]\ngrammar = 'root ::= "so: [1]"'\nextract = "json\"""")
    assert llmasos("run", tiny_model, "cat", "--task", "yes").stdout == "[1]\n"
    assert llmasos("run", tiny_model, "cat", "--task", "yes", "--grammar", 'root ::= "[2]"').stdout == "[2]\n"


def test_a_task_takes_each_line(llmasos, tiny_model, write_task):
    write_task("say", """prompt = "say {input}"\n[options]\ngrammar = 'root ::= "yes"'""")
    result = llmasos("run", tiny_model, "--task", "say", "--lines", "--json", stdin="a\nbb\n")
    assert [json.loads(line)["tokens"]["prompt"] for line in result.stdout.splitlines()] == [7, 9]  # ` a` is one token


def test_a_task_that_wants_no_input_needs_no_prompt(llmasos, tiny_model, write_task):
    write_task("joke", "prompt = 'tell a joke'")
    write_task("say", "prompt = 'say {input}'")
    assert llmasos("run", tiny_model, "--task", "joke", *FIXED).exit_code == 0
    assert llmasos("run", tiny_model, "--task", "say", *FIXED).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "translat"], "hint: did you mean `translate`? tasks: code, commit-message, qa, summarize,"),
        (["cat", "--task", "nothing"], "hint: tasks: code, commit-message, qa, summarize, translate"),
        (["cat", "hi", "--task", "translate"], "hint: give it with --to VALUE"),
        (["cat", "hi", "--task", "qa"], "hint: give it with --context FILE"),
        (["cat", "hi", "--task", "code", "--to", "x"], "the task code has no parameter `to`"),
        (["cat", "hi", "--task", "code", "--set", "x"], "--set takes NAME=VALUE, not x"),
        (["cat", "hi", "--to", "French"], "hint: add --task NAME"),
        (["cat", "hi", "--extract", "poem"], "extract is one of code, json, not poem"),
        (["--system", "x"], "there is no model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_says_what_is_meant(llmasos, arguments, told):
    result = llmasos("run", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_file_of_a_parameter_that_is_not_there_is_named(llmasos):
    result = llmasos("run", "cat", "hi", "--task", "qa", "--context", "/nothing")
    assert (result.exit_code, result.stderr) == (5, "error: can't read /nothing: No such file or directory\n")


def test_an_option_of_a_task_that_can_not_be_is_told_with_its_file(llmasos, tiny_model, write_task):
    write_task("say", "[options]\ntemperature = -1")
    result = llmasos("run", tiny_model, "hi", "--task", "say")
    assert (result.exit_code, result.stderr) == (2, "error: say.toml: temperature is at least 0, not -1.0\n")


def test_tasks_are_listed_with_their_parameters(llmasos, write_task):
    write_task("mine", "description = 'What I do.'\nprompt = '{tone} {input}'\n[parameters.tone]\ndefault = 'dry'")
    lines = llmasos("run", "--list-tasks").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "NAME", "code", "commit-message", "mine", "qa", "summarize", "translate",
    ]  # fmt: skip
    assert lines[3].split(maxsplit=2) == ["mine", "tone=dry", "What I do."]
    listed = {task["name"]: task for task in json.loads(llmasos("run", "--list-tasks", "--json").stdout)}
    assert listed["mine"]["parameters"] == [{"name": "tone", "help": "", "default": "dry", "is_file": False}]
    assert [listed["mine"]["built_in"], listed["qa"]["built_in"]] == [False, True]


SEE = ("--grammar", 'root ::= "see:\\n```py\\nprint(1)\\n```\\n"')


def test_only_the_code_of_an_answer_is_printed(llmasos, tiny_model, tmp_path):
    assert llmasos("run", tiny_model, "a", *SEE, "--extract", "code").stdout == "print(1)\n"
    assert answer(llmasos("run", tiny_model, "a", *SEE, "--extract", "code", "--json"))["text"] == "print(1)"
    llmasos("run", tiny_model, "a", *SEE, "--extract", "code", "-o", tmp_path / "x.py")
    assert (tmp_path / "x.py").read_text() == "print(1)\n"
    assert llmasos("run", tiny_model, "a", *SEE, "--extract", "code", "-n", "2").stdout == "print(1)\n---\nprint(1)\n"


def test_an_answer_without_what_is_wanted_is_told_whole(llmasos, tiny_model, tmp_path):
    result = llmasos("run", tiny_model, "a", *SEE, "--extract", "json", "-o", tmp_path / "x.json")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == "see:\n```py\nprint(1)\n```\n\nerror: there is no JSON in the answer\n"
    assert not (tmp_path / "x.json").exists()
