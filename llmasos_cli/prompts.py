"""Prompts as a command line gets them: from files, a pipe and an argument, in that order."""

from __future__ import annotations

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


def read_prompt(prompt: str | None, files: list[Path]) -> str:
    """Files, then the pipe, then the argument, a blank line between them."""
    parts = [read_file(path) for path in files]
    if not sys.stdin.isatty():
        parts.append(_decode(sys.stdin.buffer.read(), "standard input"))
    parts = [part.rstrip("\n") for part in parts if part.strip()]
    if prompt:
        parts.append(_decode(os.fsencode(prompt), "the prompt"))
    text = "\n\n".join(parts)
    if not text.strip():
        raise UsageError("there is no prompt", hint='give one: llmasos run MODEL "PROMPT", or pipe text in')
    return text


def read_file(path: Path) -> str:
    try:
        return _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror}") from error


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name} is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}") from error
