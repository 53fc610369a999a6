"""What TAB offers in a chat: slash commands, names of options, models, sessions and files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from llmasos.chat.sessions import shelf
from llmasos.chat.sessions.export import FORMS
from llmasos.errors import LlmasosError
from llmasos.settings import value_type
from llmasos_cli.chat.slash.settings import DEFAULT, KINDS
from llmasos_cli.chat.slash.table import COMMANDS

MOST_OFFERED = 200
Models = Callable[[], list[str]]


class SlashCompleter(Completer):
    """For a line that begins with a slash; `models` names those that there are."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        with contextlib.suppress(OSError, LlmasosError):  # a folder that can't be read offers nothing, nor a server
            for offered, start, meaning in candidates(text, self._models):
                shown = PurePath(offered).name + "/" * offered.endswith("/") if "/" in offered[1:] else offered
                yield Completion(offered, start - len(text), display=shown, display_meta=meaning)


def candidates(text: str, models: Models) -> Iterator[tuple[str, int, str]]:
    """What may stand at the end of a line, from which character on, and what it means."""
    if not text.startswith("/") or "\n" in text:
        return
    name, space, argument = text[1:].partition(" ")
    if not space:
        for command in COMMANDS:
            if command.name.startswith(name.lower()):
                yield f"/{command.name}", 0, command.help
        return
    last = argument.rpartition(" ")[2]
    start = len(text) - len(last)
    for offered, meaning in _arguments(name.lower(), argument, last, models):
        yield offered, start, meaning


def _arguments(name: str, argument: str, last: str, models: Models) -> Iterable[tuple[str, str]]:
    is_first = " " not in argument
    if name == "set":
        return _option_names(last) if is_first else _option_values(argument.partition(" ")[0], last)
    if name == "read" or (name == "export" and not is_first):
        return _files(last)
    if not is_first:
        return []
    words = {"think": ["on", "off"], "export": list(FORMS)}.get(name, [])
    if name == "load":
        words = [path.stem for path in shelf.paths()]
    if name == "model":
        words = models()
    return [(word, "") for word in words if word.startswith(last)][:MOST_OFFERED]


def _option_names(beginning: str) -> list[tuple[str, str]]:
    wanted = beginning.replace("-", "_")
    return [(name, each.metadata["help"]) for name, (_, each) in KINDS.items() if name.startswith(wanted)]


def _option_values(name: str, beginning: str) -> list[tuple[str, str]]:
    if name not in KINDS:
        return []
    kind, each = KINDS[name]
    words: list[Any] = list(each.metadata["choices"] or (["on", "off"] if value_type(kind, each) is bool else []))
    return [(word, "") for word in [*words, DEFAULT] if word.startswith(beginning)]


def _files(beginning: str) -> Iterator[tuple[str, str]]:
    """Files and folders whose path begins so; hidden ones only where a dot was typed."""
    folder, _, name = beginning.rpartition("/")
    shown = f"{folder}/" if "/" in beginning else ""
    place = Path(os.path.expanduser(shown or "."))  # noqa: PTH111  # an unknown ~name is left as it is
    found = sorted(each for each in place.iterdir() if each.name.startswith(name))
    for each in found[:MOST_OFFERED]:
        if name.startswith(".") or not each.name.startswith("."):
            yield f"{shown}{each.name}{'/' if each.is_dir() else ''}", ""
