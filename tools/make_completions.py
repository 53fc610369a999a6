"""Writes completions/llmasos.{bash,zsh,fish} from the real commands. With --check: fails if those there are stale.

What a value completes to is read off its metavar, which `--help` shows too: words in small letters are what to choose
from (`f16|q8_0`), TYPE and TENSOR-TYPE are types of weights, FILE, DIR, PATH and SCHEMA are files, MODEL is a model,
TASK a ready-made task, and anything else is text nobody can foresee. Candidates are found whatever the case typed.

How a shell finds out where the cursor stands is in tools/completions/, one file a shell, into which the grammar is put.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
SCRIPTS = PROJECT / "completions"
TEMPLATES = PROJECT / "tools/completions"
FILES, MODELS, REFERENCES, TASKS = "files", "models", "references", "tasks"
BY_METAVAR = {
    **dict.fromkeys(("FILE", "DIR", "PATH", "SCHEMA", "GRAMMAR", "CHECKPOINT"), FILES),
    **{"MODEL": REFERENCES, "PREFIX": MODELS, "TASK": TASKS},
}
NEVER_PULL = ("list", "show", "cp", "rm", "verify", "stop")  # their MODEL is a stored one
WORD = re.compile(r"[A-Za-z0-9_.+-]+")  # needs no quotes in any shell


@dataclass(frozen=True)
class Argument:
    """What stands at one position. `completes` is `files`, a kind of names, or empty where nothing is known."""

    name: str
    choices: tuple[str, ...] = ()
    completes: str = ""
    repeats: bool = False


@dataclass(frozen=True)
class OptionFlag:
    """One option with all its names; `completes` as for an argument."""

    names: tuple[str, ...]
    help: str
    takes_value: bool = False
    choices: tuple[str, ...] = ()
    completes: str = ""


@dataclass(frozen=True)
class Command:
    """One command, named as it is typed: `eval perplexity` stands below `eval`. `help` is a single line."""

    name: str
    help: str
    options: tuple[OptionFlag, ...] = ()
    arguments: tuple[Argument, ...] = ()


HELP = OptionFlag(("--help",), "Show how it is called")
VERSION = OptionFlag(("--version",), "Show the version")


def main(arguments: Sequence[str]) -> int:
    commands = read_commands()
    scripts = {SCRIPTS / f"llmasos.{shell}": render(shell, commands) for shell in SHELLS}
    if "--check" in arguments:
        return _check(scripts)
    for path, text in scripts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _check(scripts: dict[Path, str]) -> int:
    stale = [path for path, text in scripts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stderr.write(f"error: completions/{path.name} is stale\n")
    if stale:
        sys.stderr.write("hint: write it anew with `make completions`\n")
    return 1 if stale else 0


def read_commands() -> list[Command]:
    """The command line as it is."""
    sys.path.insert(0, str(PROJECT))  # llmasos need not be installed
    from llmasos_cli.app import all_commands, load_command

    return [_command(name, load_command(name)) for name in all_commands()]


def render(shell: str, commands: Sequence[Command]) -> str:
    """The completion script of `bash`, `zsh` or `fish`."""
    odd = [word for command in commands for word in _words(command) if not WORD.fullmatch(word)]
    assert not odd, f"these would need quotes: {odd}"
    text = (TEMPLATES / f"llmasos.{shell}.in").read_text(encoding="utf-8")
    for place, lines in SHELLS[shell](commands).items():
        text = text.replace(f"#{place}#\n", "".join(f"{line}\n" for line in lines))
    return text


def _words(command: Command) -> Iterable[str]:
    yield from command.name.split()
    for option in command.options:
        yield from (*option.names, *option.choices)
    for argument in command.arguments:
        yield from argument.choices


def _below(commands: Sequence[Command], name: str) -> list[Command]:
    """The commands that stand directly below the one of that name; those of the first level if it is empty."""
    return [each for each in commands if each.name.rpartition(" ")[0] == name]


def _groups(commands: Sequence[Command]) -> list[str]:
    """The names of the commands below which others stand."""
    return [each.name for each in commands if _below(commands, each.name)]


def _last_word(command: Command) -> str:
    return command.name.rpartition(" ")[2]


def _label(name: str) -> str:
    """A name where the shell reads one word."""
    return f"'{name}'" if " " in name or not name else name


# --- from Typer's commands to ours ---


def _command(name: str, command: Any) -> Command:
    shown = [each for each in command.params if not each.hidden]
    options = [_option(name, each) for each in shown if each.param_type_name == "option"]
    arguments = [_argument(name, each) for each in shown if each.param_type_name == "argument"]
    return Command(name, _one_line(command.help), (*options, HELP), tuple(arguments))


def _option(command: str, option: Any) -> OptionFlag:
    names = (*option.opts, *option.secondary_opts)
    if option.is_flag or option.count:
        return OptionFlag(names, _one_line(option.help))
    return OptionFlag(names, _one_line(option.help), True, *_values(command, _metavar(option)))


def _argument(command: str, argument: Any) -> Argument:
    metavar = _metavar(argument)
    return Argument(metavar.lower(), *_values(command, metavar), repeats=argument.nargs != 1)


def _values(command: str, metavar: str) -> tuple[tuple[str, ...], str]:
    """The choices that a metavar lists, and what else the value completes to."""
    parts = metavar.split("|")
    choices = tuple(part for part in parts if part == part.lower() and WORD.fullmatch(part)) or _types(metavar)
    kind = next((BY_METAVAR[part] for part in parts if part in BY_METAVAR), "")
    return choices, MODELS if kind == REFERENCES and command in NEVER_PULL else kind


def _types(metavar: str) -> tuple[str, ...]:
    """The types of weights that a metavar stands for."""
    from llmasos.quantization.choices import TENSOR_TYPES
    from llmasos.quantization.types import MIXES

    return {"TYPE": tuple(MIXES), "TENSOR-TYPE": TENSOR_TYPES}.get(metavar, ())


def _metavar(parameter: Any) -> str:
    """Without the signs for optional and for several."""
    return str(parameter.metavar or parameter.name.upper()).strip("[].")


def _one_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0].removesuffix(".")


# --- bash ---


def _bash(commands: Sequence[Command]) -> dict[str, list[str]]:
    root = Command("", "", (HELP, VERSION))
    return {
        "GROUPS": [f"    local groups='{' '.join(_groups(commands))}'"],
        "GRAMMAR": [line for each in (root, *commands) for line in _bash_case(each, _below(commands, each.name))],
    }


def _bash_case(command: Command, below: Sequence[Command]) -> Iterable[str]:
    kinds = [_bash_kind(each) + ("..." if each.repeats else "") for each in command.arguments]
    kinds += [",".join(map(_last_word, below))] if below else []
    yield f"        {_label(command.name)})"
    yield f"            arguments='{' '.join(kinds)}'"
    yield "            options='"
    for option in command.options:
        value = f"={_bash_kind(option)}" if option.takes_value else ""
        yield from (f"                {name}{value}" for name in option.names)
    yield "            '"
    yield "            ;;"


def _bash_kind(value: Argument | OptionFlag) -> str:
    return ",".join(value.choices) or f"@{value.completes or 'text'}"


# --- zsh ---


def _zsh(commands: Sequence[Command]) -> dict[str, list[str]]:
    return {
        "COMMANDS": [f"    {_zsh_described(each)}" for each in _below(commands, "")],
        "GRAMMAR": [line for each in commands for line in _zsh_case(each, _below(commands, each.name))],
    }


def _zsh_described(command: Command) -> str:
    return _quoted(f"{_last_word(command)}:{command.help}")


def _zsh_case(command: Command, below: Sequence[Command]) -> Iterable[str]:
    yield f"    {_label(command.name)})"
    yield from _zsh_group(command.name, below) if below else _zsh_arguments(command)
    yield "      ;;"


def _zsh_group(name: str, below: Sequence[Command]) -> Iterable[str]:
    yield f"      _llmasos_group {name} \\"
    yield from (f"        {_zsh_described(each)} \\" for each in below[:-1])
    yield f"        {_zsh_described(below[-1])}"


def _zsh_arguments(command: Command) -> Iterable[str]:
    specs = [_zsh_option(name, each) for each in command.options for name in each.names]
    specs += [_zsh_argument(position, each) for position, each in enumerate(command.arguments, 1)]
    yield "      _arguments -S \\"
    yield from (f"        {_quoted(spec)} \\" for spec in specs[:-1])
    yield f"        {_quoted(specs[-1])}"


def _zsh_option(name: str, option: OptionFlag) -> str:
    if not option.takes_value:
        return f"*{name}[{_zsh_escaped(option.help)}]"
    sign = "=" if name.startswith("--") else "+"
    return f"*{name}{sign}[{_zsh_escaped(option.help)}]:{name.lstrip('-')}:{_zsh_action(option)}"


def _zsh_argument(position: int, argument: Argument) -> str:
    return f"{'*' if argument.repeats else position}:{_zsh_escaped(argument.name)}:{_zsh_action(argument)}"


def _zsh_action(value: Argument | OptionFlag) -> str:
    if value.choices:
        return f"_llmasos_choices {' '.join(value.choices)}"
    if value.completes:
        return "_files" if value.completes == FILES else f"_llmasos_{value.completes}"
    return "()"  # nothing; a message instead would have to be shown before an option is completed in its place


def _zsh_escaped(text: str) -> str:
    return re.sub(r"([\\:\[\]])", r"\\\1", text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish ---


def _fish(commands: Sequence[Command]) -> dict[str, list[str]]:
    return {
        "VALUED": [line for command in commands for line in _fish_valued(command)],
        "GROUPS": [f"    set -l groups {' '.join(_groups(commands))}"],
        "COMMANDS": [
            _fish_line(name, f"-a {_last_word(each)}", each.help)
            for name in ("", *_groups(commands))
            for each in _below(commands, name)
        ],
        "GRAMMAR": [line for command in commands for line in _fish_command(command)],
    }


def _fish_valued(command: Command) -> Iterable[str]:
    if names := [name for each in command.options if each.takes_value for name in each.names]:
        yield f"        case {_label(command.name)}"
        yield f"            string split ' ' -- '{' '.join(names)}'"


def _fish_command(command: Command) -> Iterable[str]:
    for option in command.options:
        for name in option.names:
            flag = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            yield _fish_line(command.name, flag + _fish_value(option), option.help)
    for position, argument in enumerate(command.arguments, 1):
        if source := _fish_source(argument):
            yield _fish_line(command.name, source, position=f" {position}{'-' if argument.repeats else ''}")


def _fish_value(option: OptionFlag) -> str:
    if not option.takes_value:
        return ""
    source = _fish_source(option)
    return " -r -F" if source == "-F" else f" -x {source}".rstrip()  # -x: no files


def _fish_source(value: Argument | OptionFlag) -> str:
    """The flag of `complete` that says where candidates come from; empty where nothing is known."""
    if value.choices:
        return f"-a '{' '.join(value.choices)}'"
    if value.completes:
        return "-F" if value.completes == FILES else f"-a '(__llmasos_{value.completes})'"
    return ""


def _fish_line(name: str, flags: str, help: str = "", position: str = "") -> str:
    escaped = help.replace("\\", "\\\\").replace("'", "\\'")
    return f'complete -c llmasos -n "__llmasos_at {_label(name)}{position}" {flags}' + (
        f" -d '{escaped}'" if help else ""
    )


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
