"""Writes docs/commands.md and the manual page docs/llmasos.1 from the command line itself.

`--check` only says whether they are stale.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from llmasos_cli.app import all_commands, load_command

DOCS = Path(__file__).parents[1] / "docs"
EXIT_CODES = {
    0: "done (also when the reader of a pipe leaves)",
    1: "failed",
    2: "wrong call",
    3: "model not found",
    4: "does not fit",
    5: "bad input",
    6: "a quality gate failed",
    75: "try again later",
    130: "interrupted",
    143: "terminated",
}
HEAD = """# Commands

Made by `make docs` from the command line itself. `llmasos COMMAND --help` shows the same.

{story}
"""
STORY = "Data go to standard output, all else to standard error. Exit codes: "
ROFF_SIGNS = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "^": "\\(ha", "~": "\\(ti"}
MANUAL_HEAD = """.\\" Made by `make docs` from the command line itself.
.TH LLMASOS 1 "" llmasos "User Commands"
.SH NAME
llmasos \\- run language models on your own machine
.SH SYNOPSIS
.B llmasos
.I COMMAND
.RI [ ARGUMENTS ]
.br
.B llmasos
.RB [ \\-\\-help | \\-\\-version ]
.SH DESCRIPTION
llmasos pulls, converts, quantizes and runs language models.
Data go to standard output, all else to standard error.
"""
MANUAL_TAIL = """.SH ENVIRONMENT
An option of sampling, of the answer or of loading may be set by a variable too:
.BR "LLMASOS_TEMPERATURE=0.2" .
.TP
.B LLMASOS_HOME
The folder of models, settings, tasks and locks.
.TP
.BR LLMASOS_OFFLINE ", " HF_HUB_OFFLINE
Never use the network.
.TP
.B NO_COLOR
No colours on a terminal.
.SH FILES
.TP
.I config.toml
In the home: options by their names, such as
.BR "temperature = 0.2" .
.TP
.IR tasks/ NAME .toml
In the home: ready-made tasks of your own.
"""


def main() -> int:
    commands = {name: load_command(name) for name in all_commands()}
    texts = {DOCS / "commands.md": reference(commands), DOCS / "llmasos.1": manual(commands)}
    if "--check" not in sys.argv:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stderr.write(f"docs/{path.name} is stale: run `make docs`\n")
    return 1 if stale else 0


def reference(commands: dict[str, Any]) -> str:
    """The page in Markdown."""
    codes = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    head = HEAD.format(story=textwrap.fill(f"{STORY}{codes}.", 118))
    return head + "".join(describe(name, command) for name, command in commands.items())


def manual(commands: dict[str, Any]) -> str:
    """The page for `man`."""
    codes = "".join(f".TP\n.B {code}\n{roff(meaning.capitalize())}.\n" for code, meaning in EXIT_CODES.items())
    sections = "".join(manual_section(name, command) for name, command in commands.items())
    return f"{MANUAL_HEAD}.SH COMMANDS\n{sections}{MANUAL_TAIL}.SH EXIT STATUS\n{codes}"


def manual_section(name: str, command: Any) -> str:
    arguments, options = parameters(command)
    story, examples = split_help(command.help)
    usage = usage_of(command, arguments)
    lines = [f".SS {roff(name)}", f".B llmasos {roff(name)}", f".I {roff(usage)}" if usage else "", ".PP", roff(story)]
    if examples:
        lines += [".PP", ".nf", ".RS", *map(roff, examples), ".RE", ".fi"]
    for each in options:
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in [*each.opts, *each.secondary_opts])
        value = "" if each.is_flag or not each.metavar else f" \\fI{roff(each.metavar)}\\fR"
        lines += [".TP", f"{names}{value}", roff(each.help or "")]
    return "".join(f"{line}\n" for line in lines if line)


def roff(text: str) -> str:
    """Text as troff takes it: no control lines, and signs that can be searched for and copied as they are."""
    escaped = "".join(ROFF_SIGNS.get(sign) or (sign if sign.isascii() else f"\\[u{ord(sign):04X}]") for sign in text)
    escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def parameters(command: Any) -> tuple[list[Any], list[Any]]:
    """Its arguments, and its options but for hidden ones."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    return arguments, [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def usage_of(command: Any, arguments: list[Any]) -> str:
    """What stands behind the command's name; behind that of a group another command."""
    return "COMMAND ..." if hasattr(command, "list_commands") else " ".join(each.metavar for each in arguments)


def describe(name: str, command: Any) -> str:
    arguments, options = parameters(command)
    usage = f"llmasos {name} {usage_of(command, arguments)}".rstrip()
    story, examples = split_help(command.help)
    lines = [f"\n## {name}\n", f"\n`{usage}`\n", f"\n{story}\n"]
    if examples:
        lines.append("\n" + "".join(f"    {example}\n" for example in examples))
    if options:
        lines.append("\n| option | meaning |\n|---|---|\n")
    lines += [f"| {spelling(each)} | {cell(each.help)} |\n" for each in options]
    return "".join(lines)


def split_help(text: str) -> tuple[str, list[str]]:
    """A command's docstring: its story, and the lines that are examples."""
    lines = [line.strip() for line in text.strip().splitlines()]
    examples = [line for line in lines if "llmasos " in line and not line.endswith(".")]
    return " ".join(line for line in lines if line and line not in examples), examples


def spelling(option: Any) -> str:
    names = ", ".join(f"`{each}`" for each in [*option.opts, *option.secondary_opts])
    return names if option.is_flag or not option.metavar else f"{names} {cell(option.metavar)}"


def cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
