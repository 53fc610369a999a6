"""Writes docs/commands.md from the command line itself; `--check` only says whether it is stale."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from llmasos_cli.app import COMMANDS, load_command

TARGET = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """# Commands

Made by `make docs` from the command line itself. `llmasos COMMAND --help` shows the same.

Data go to standard output, all else to standard error. Exit codes: 0 done (also when the reader of a pipe leaves), 1
failed, 2 wrong call, 3 model not found, 4 does not fit, 5 bad input, 75 try again later, 130 interrupted, 143
terminated.
"""


def main() -> int:
    text = HEAD + "".join(describe(name, load_command(name)) for name in COMMANDS)
    if "--check" in sys.argv:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("docs/commands.md is stale: run `make docs`\n")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def describe(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    usage = " ".join([f"llmasos {name}", *(each.metavar for each in arguments)])
    story, examples = split_help(command.help)
    lines = [f"\n## {name}\n", f"\n`{usage}`\n", f"\n{story}\n"]
    if examples:
        lines.append("\n" + "".join(f"    {example}\n" for example in examples))
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
