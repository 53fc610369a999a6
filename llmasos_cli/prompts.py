"""Prompts as a command line gets them: from files, a pipe and an argument, in that order."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from llmasos.errors import BadInputError, UsageError

PromptArgument = Annotated[
    str | None, typer.Argument(help="The prompt; joined to what comes by file and pipe.", metavar="[PROMPT]")
]
FileOption = Annotated[
    list[Path] | None,
    typer.Option(
        "-f",
        "--file",
        help="Put this file's text before the prompt. Again for more.",
        metavar="FILE",
        readable=False,  # whether it can be read is told by the library, with its own exit code
    ),
]


def read_prompt(prompt: str | None, files: list[Path], *, may_be_empty: bool = False) -> str:
    """Files, then the pipe, then the argument, a blank line between them."""
    parts = [read_file(path) for path in files]
    if not sys.stdin.isatty():
        parts.append(decode(sys.stdin.buffer.read(), "standard input"))
    parts = [part.rstrip("\n") for part in parts if part.strip()]
    if prompt:
        parts.append(argument_text(prompt, "the prompt"))
    text = "\n\n".join(parts)
    if not text.strip() and not may_be_empty:
        raise UsageError("there is no prompt", hint='give one: llmasos run MODEL "PROMPT", or pipe text in')
    return text


def argument_text(argument: str, name: str) -> str:
    """An argument of the command line, which has to be text."""
    return decode(os.fsencode(argument), name)


def read_lines(files: list[Path]) -> list[str]:
    """The lines of the files, or of the pipe where there are none, without those that are empty."""
    if files:
        return [line for path in files for line in lines_of(read_file(path))]
    if sys.stdin.isatty():
        raise UsageError("there are no lines to read", hint="name a file with -f FILE, or pipe lines in")
    return lines_of(decode(sys.stdin.buffer.read(), "standard input"))


def lines_of(text: str) -> list[str]:
    """The lines that are not empty, as files have them: other separators that Unicode knows stay within a line."""
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None) if line.strip()]


def read_file(path: Path) -> str:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror}") from error


def decode(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name} is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}") from error
