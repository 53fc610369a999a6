"""`llmasos --complete` and the completion scripts, as text. test_completion_shells.py asks the real shells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmasos.engine.options import ALL_OPTIONS
from llmasos.paths import find_home
from llmasos.store.catalogue import read_catalogue
from llmasos.store.manifests import Manifest, StoredFile
from llmasos.store.references import parse_name
from llmasos.store.store import ModelStore
from llmasos_cli.completion import complete
from tools import make_completions
from tools.make_completions import Argument, Command, OptionFlag, render

PROJECT = Path(__file__).parents[2]
CatchOutput = pytest.CaptureFixture[str]
HEAVY = {"typer", "rich", "numpy", "llama_cpp", "filelock", "tomllib", "llmasos.store.store"}

TREE = [
    Command(
        "run",
        "Answers: it's quick",
        (
            OptionFlag(("-f", "--file"), "Read [this]", takes_value=True, completes="files"),
            OptionFlag(("--kv-type",), "How", takes_value=True, choices=("f16", "q8_0")),
            OptionFlag(("--system",), "What", takes_value=True),
            OptionFlag(("--mmap", "--no-mmap"), "Map it"),
        ),
        (Argument("model", completes="references"), Argument("prompt")),
    ),
    Command("rm", "Removes", (OptionFlag(("--force",), "Do"),), (Argument("model", completes="models", repeats=True),)),
    Command("eval", "Measures"),
    Command(
        "eval speed",
        "How fast",
        (OptionFlag(("--threads",), "With", takes_value=True),),
        (Argument("model", completes="references"),),
    ),
    Command("eval list", "What was", (OptionFlag(("--help",), "Show"),)),
]


def store_models(*names: str) -> None:
    for name in names:
        file = StoredFile("weights", f"sha256:{'0' * 64}", 0)
        ModelStore().add(Manifest(parse_name(name), (file,), source="./tiny.gguf"))


def completed(capsys: CatchOutput, *arguments: str) -> list[str]:
    complete(list(arguments))
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def lines(script: str) -> list[str]:
    """Without what joins a line to the next."""
    return [line.removesuffix("\\").strip() for line in script.splitlines()]


def test_an_empty_store_has_no_models(llmasos: Callable[..., Any]):
    result = llmasos("--complete", "models", "")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_models_are_the_stored_ones_with_their_tags(capsys: CatchOutput):
    store_models("smollm2", "llama3.2:1b", "org/name:q4_k_m")
    assert completed(capsys, "models", "") == ["llama3.2:1b", "org/name:q4_k_m", "smollm2"]


def test_only_names_that_begin_as_typed_are_printed_whatever_the_case(capsys: CatchOutput):
    store_models("smollm2", "llama3.2:1b", "llama3.2:3b")
    assert completed(capsys, "models", "Llama3.2:1") == ["llama3.2:1b"]


def test_references_are_stored_names_and_those_of_the_catalogue_each_once(capsys: CatchOutput):
    store_models("smollm2", "smoke")
    assert completed(capsys, "references", "smo") == [
        "smoke",
        "smollm2",
        "smollm2:1.7b",
        "smollm2:135m",
        "smollm2:360m",
    ]


def test_every_name_and_alias_of_the_catalogue_is_a_reference(capsys: CatchOutput):
    names = {name for entry in read_catalogue().values() for name in (entry.name, *entry.aliases)}
    assert set(completed(capsys, "references", "")) == names


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"3", b'{"name": 3}', b'{"name": ""}', b'{"name": "-x"}', b'{"name": "$(reboot)"}'],
)
def test_a_broken_manifest_hides_no_other(home: Path, capsys: CatchOutput, content: bytes):
    store_models("smollm2")
    broken = home / "manifests/_/broken/latest.json"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(content)
    assert completed(capsys, "models", "") == ["smollm2"]


def test_a_home_that_is_no_folder_leaves_the_catalogue(home: Path, capsys: CatchOutput):
    home.write_text("not a folder")
    assert completed(capsys, "references", "gpt") == ["gpt2"]


@pytest.mark.parametrize("arguments", [(), ("models",), ("nonsense", "x"), ("models", "x", "y"), ("models", "\udcff")])
def test_a_wrong_call_prints_nothing(capsys: CatchOutput, arguments: tuple[str, ...]):
    assert completed(capsys, *arguments) == []


def test_a_reader_that_has_left_is_no_error():
    command = [sys.executable, "-m", "llmasos_cli", "--complete", "references", ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


@pytest.mark.parametrize("kind", ["models", "references", "tasks"])
def test_completion_imports_nothing_that_takes_time(kind: str):
    store_models("smollm2")
    find_home().tasks.mkdir()
    (find_home().tasks / "smollm2.toml").touch()
    program = (
        "import sys\n"
        f"sys.argv = ['llmasos', '--complete', '{kind}', 'smollm2']\n"
        "from llmasos_cli.__main__ import main\n"
        "main()\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT, check=True)
    first, *_, loaded = done.stdout.splitlines()
    assert first == "smollm2"
    assert HEAVY & set(loaded.split()) == set()


@pytest.mark.parametrize(
    "line",
    [
        "arguments='run,rm,eval'",
        "arguments='speed,list'",
        "'eval speed')",
        "local groups='eval'",
        "arguments='@references @text'",
        "--file=@files",
        "--kv-type=f16,q8_0",
        "--system=@text",
        "--no-mmap",
        "arguments='@models...'",
    ],
)
def test_the_bash_script_says_what_each_word_can_be(line: str):
    assert line in lines(render("bash", TREE))


@pytest.mark.parametrize(
    "line",
    [
        r"'run:Answers: it'\''s quick'",
        r"'*-f+[Read \[this\]]:f:_files'",
        r"'*--file=[Read \[this\]]:file:_files'",
        r"'*--kv-type=[How]:kv-type:_llmasos_choices f16 q8_0'",
        r"'*--system=[What]:system:()'",
        r"'*--no-mmap[Map it]'",
        r"'1:model:_llmasos_references'",
        r"'2:prompt:()'",
        r"'*:model:_llmasos_models'",
        r"_llmasos_group eval",
        r"'speed:How fast'",
        r"'eval speed')",
    ],
)
def test_the_zsh_script_says_what_each_word_can_be(line: str):
    assert line in lines(render("zsh", TREE))


@pytest.mark.parametrize(
    "line",
    [
        r"""complete -c llmasos -n "__llmasos_at ''" -a run -d 'Answers: it\'s quick'""",
        r"""complete -c llmasos -n "__llmasos_at run" -s f -r -F -d 'Read [this]'""",
        r"""complete -c llmasos -n "__llmasos_at run" -l file -r -F -d 'Read [this]'""",
        r"""complete -c llmasos -n "__llmasos_at run" -l kv-type -x -a 'f16 q8_0' -d 'How'""",
        r"""complete -c llmasos -n "__llmasos_at run" -l system -x -d 'What'""",
        r"""complete -c llmasos -n "__llmasos_at run" -l no-mmap -d 'Map it'""",
        r"""complete -c llmasos -n "__llmasos_at run 1" -a '(__llmasos_references)'""",
        r"""complete -c llmasos -n "__llmasos_at rm 1-" -a '(__llmasos_models)'""",
        r"""string split ' ' -- '-f --file --kv-type --system'""",
        r"""complete -c llmasos -n "__llmasos_at eval" -a speed -d 'How fast'""",
        r"""complete -c llmasos -n "__llmasos_at 'eval speed'" -l threads -x -d 'With'""",
        r"""complete -c llmasos -n "__llmasos_at 'eval speed' 1" -a '(__llmasos_references)'""",
    ],
)
def test_the_fish_script_says_what_each_word_can_be(line: str):
    assert line in lines(render("fish", TREE))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_word_that_a_shell_would_read_otherwise_is_refused(shell: str):
    with pytest.raises(AssertionError, match="need quotes"):
        render(shell, [Command("run", "", (OptionFlag(("--a b",), ""),))])


@pytest.fixture(scope="module")
def commands() -> dict[str, Command]:
    return {each.name: each for each in make_completions.read_commands()}


def option(command: Command, name: str) -> OptionFlag:
    return next(each for each in command.options if name in each.names)


@pytest.mark.parametrize(
    ("name", "completes"),
    [("run", "references"), ("pull", "references"), ("import", "files")]
    + [(name, "models") for name in ("show", "cp", "rm", "verify", "list")],
)
def test_the_first_argument_of_a_real_command_is_a_model_of_the_right_kind(
    commands: dict[str, Command], name: str, completes: str
):
    assert commands[name].arguments[0].completes == completes


@pytest.mark.parametrize("name", ["-f", "--file", "-o", "--output", "--schema"])
def test_options_for_files_complete_files(commands: dict[str, Command], name: str):
    assert option(commands["run"], name).completes == "files"


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("--format", ("json",)),
        ("--extract", ("code", "json")),
        ("--early-stopping", ("true", "false", "never")),
        ("--on-overflow", ("error", "truncate", "shift", "summarize")),
    ],
)
def test_choices_of_a_real_option_are_known(commands: dict[str, Command], name: str, choices: tuple[str, ...]):
    assert option(commands["run"], name).choices == choices


def test_every_option_of_the_library_with_choices_is_completed(commands: dict[str, Command]):
    known = {
        name for kind in ALL_OPTIONS for name, each in kind.__dataclass_fields__.items() if each.metadata["choices"]
    }
    assert known >= {"kv_type", "on_overflow", "early_stopping"}
    for name in known:
        assert option(commands["run"], f"--{name.replace('_', '-')}").choices != ()


@pytest.mark.parametrize(
    ("command", "name", "known"),
    [
        ("quantize", "-t", {"Q4_K_M", "IQ4_XS", "Q8_0", "BF16"}),
        ("convert", "--type", {"Q4_K_M", "F16"}),
        ("quantize", "--output-type", {"Q6_K", "F16"}),
        ("export", "-t", {"bf16", "f32", "f16"}),
    ],
)
def test_types_of_weights_are_known(commands: dict[str, Command], command: str, name: str, known: set[str]):
    assert known <= set(option(commands[command], name).choices)


def test_tasks_are_ours_and_the_users_own(home: Path, capsys: CatchOutput):
    (home / "tasks").mkdir(parents=True)
    (home / "tasks/tweet.toml").write_text("")
    (home / "tasks/$(reboot).toml").write_text("")
    assert completed(capsys, "tasks", "") == ["code", "commit-message", "qa", "summarize", "translate", "tweet"]
    assert completed(capsys, "tasks", "T") == ["translate", "tweet"]


def test_a_task_and_a_draft_complete_names(commands: dict[str, Command]):
    assert option(commands["run"], "--task").completes == "tasks"
    assert option(commands["run"], "--draft").completes == "references"


def test_a_switch_takes_no_value_and_is_known_by_both_names(commands: dict[str, Command]):
    switch = option(commands["run"], "--no-mmap")
    assert (switch.names, switch.takes_value) == (("--mmap", "--no-mmap"), False)


def test_hidden_options_are_not_offered(commands: dict[str, Command]):
    assert not any("--debug" in each.names for command in commands.values() for each in command.options)


def test_the_scripts_are_those_of_the_commands():
    assert make_completions.main(["--check"]) == 0


def test_a_stale_script_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: CatchOutput):
    monkeypatch.setattr(make_completions, "SCRIPTS", tmp_path)
    make_completions.main([])
    (tmp_path / "llmasos.zsh").write_text("old")
    assert make_completions.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "error: completions/llmasos.zsh is stale\nhint: write it anew with `make completions`\n"
    )
