"""Slash commands that bring files in and answers out: /read and /copy."""

from __future__ import annotations

import base64
import glob
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from llmasos.errors import BadInputError, UsageError
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue, attachment
from llmasos_cli.prompts import read_file

MOST_FILES = 1000
NOBODY = "none"
COPIERS = (  # program, its arguments, the variable that says that it has somewhere to copy to
    ("wl-copy", (), "WAYLAND_DISPLAY"),
    ("xclip", ("-selection", "clipboard"), "DISPLAY"),
    ("pbcopy", (), ""),
)


def read(dialogue: Dialogue, argument: str) -> None:
    if argument == NOBODY:
        dialogue.attached.clear()
        output.note("no file goes with the next message")
        return
    if not argument:
        raise UsageError("which file?", hint="/read FILE, or a pattern such as /read src/*.py")
    found = [(str(path), read_file(path)) for path in _paths(argument)]
    for name, content in found:
        output.note(f"{name}: {dialogue.speaker.count(attachment(name, content)):,} tokens")
    names = {name for name, _ in found}
    dialogue.attached = [each for each in dialogue.attached if each[0] not in names] + found
    total = sum(dialogue.speaker.count(attachment(*each)) for each in dialogue.attached)
    room = dialogue.speaker.context_length
    warning = f", more than the context of {room:,} holds" if total >= room else ""
    output.note(f"with the next message go {total:,} tokens of files{warning}")


def _paths(argument: str) -> list[Path]:
    """The files that a line names: one as it is, or several names and patterns as in a shell."""
    whole = Path(argument).expanduser()
    if _is_file(whole):
        return [whole]
    try:
        words = shlex.split(argument)
    except ValueError:
        words = [argument]
    paths = [path for word in words for path in _matching(word)]
    if len(paths) > MOST_FILES:
        raise BadInputError(f"these are {len(paths):,} files; at most {MOST_FILES:,} can be read at once")
    return paths


def _matching(word: str) -> list[Path]:
    pattern = os.path.expanduser(word)  # noqa: PTH111  # a pattern is no path
    try:
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        matches = []
    files = [path for path in map(Path, matches) if _is_file(path)]
    if not files:
        what = "is a folder" if matches else "names no file"
        raise BadInputError(f"`{word}` {what}", hint="/read FILE, or a pattern such as /read src/*.py")
    return files


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def copy(dialogue: Dialogue, _: str) -> None:
    answer = dialogue.session.history.last("assistant")
    if answer is None:
        raise UsageError("there is no answer to copy yet")
    ways = [name for name, arguments, variable in COPIERS if _copies(name, arguments, variable, answer.content)]
    if output.is_seen() and os.environ.get("TERM") != "dumb":
        encoded = base64.b64encode(answer.content.encode("utf-8", "replace")).decode()
        sys.stdout.write(f"\x1b]52;c;{encoded}\x07")  # OSC 52: terminals copy, over ssh too, if they are set to
        sys.stdout.flush()
        ways.append("the terminal (OSC 52)")
    if not ways:
        raise BadInputError("there is no clipboard here", hint="/export md FILE writes the conversation into a file")
    output.note(f"copied {len(answer.content):,} characters by {' and '.join(ways)}")


def _copies(name: str, arguments: tuple[str, ...], variable: str, text: str) -> bool:
    program = shutil.which(name)
    if program is None or (variable and not os.environ.get(variable)):
        return False
    content = text.encode("utf-8", "replace")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.run([program, *arguments], input=content, timeout=5, check=False, **silent).returncode == 0  # type: ignore[call-overload, no-any-return]
    except (OSError, subprocess.TimeoutExpired):
        return False
