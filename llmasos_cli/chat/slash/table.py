"""The slash commands: one table, from which they are run, helped with and completed."""

from __future__ import annotations

import difflib
import re
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue, LeaveChat
from llmasos_cli.chat.slash import keeping, reading, settings, turns

NARROW_INDENT = 4
COMMAND = re.compile(r"/(\?|[A-Za-z]+)(?:\s+(.*))?\s*", re.DOTALL)
OTHER_NAMES = {"?": "help", "exit": "bye", "quit": "bye", "new": "clear"}


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command; `run` gets the dialogue and what stands behind the name."""

    name: str
    arguments: str
    help: str
    run: Callable[[Dialogue, str], None]

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


def _help(dialogue: Dialogue, _: str) -> None:
    columns = shutil.get_terminal_size().columns
    indent = max(len(command.usage) for command in COMMANDS) + 2
    if columns < 2 * indent:  # too narrow for two columns
        indent = NARROW_INDENT
    for command in COMMANDS:
        for line in _hanging(command.usage, command.help, indent, columns):
            output.write_line(line)
    output.write_line()
    for key, meaning in KEYS:
        for line in _hanging(key, meaning, indent, columns):
            output.write_line(line)


def _hanging(term: str, meaning: str, indent: int, columns: int) -> list[str]:
    """A term and what it means, which stands behind it, or below it where there is no room."""
    lines = textwrap.wrap(meaning, max(1, columns - indent), initial_indent="", break_long_words=False)
    if len(term) >= indent:
        return [term, *(" " * indent + line for line in lines)]
    return [term.ljust(indent) + lines[0], *(" " * indent + line for line in lines[1:])]


def _leave(dialogue: Dialogue, _: str) -> None:
    raise LeaveChat


KEYS = (
    ("Enter", "sends; Alt-Enter, or a backslash at a line's end, begins another line"),
    ('"""', "text between these may have many lines"),
    ("Ctrl-G", "opens the text in $EDITOR"),
    ("Ctrl-C", "stops an answer, or clears the line"),
    ("Ctrl-D", "leaves"),
    ("↑ Ctrl-R", "find what was typed before"),
    ("space /", "a message that begins with a slash"),
)

COMMANDS = (
    Command("help", "", "what can be typed here", _help),
    Command("set", "KEY VALUE", "change an option, `default` takes it back; alone: what changed", settings.set_option),
    Command("show", "", "the model, the session and the options that were changed", settings.show),
    Command("model", "NAME", "go on with another model; alone: which there are", settings.change_model),
    Command("system", "TEXT", "what the model should be and do, or `none`; alone: what it is told", settings.system),
    Command("regen", "", "answer once more", turns.regenerate),
    Command("undo", "", "take back the last turn", turns.undo),
    Command("edit", "N", "change message N in your editor and go on from there; alone: the messages", turns.edit),
    Command("branch", "N", "go on with branch N; alone: which there are", turns.branch),
    Command("read", "FILE|GLOB", "send files with the next message; `none` sends none", reading.read),
    Command("save", "NAME", "give the conversation a name", keeping.save),
    Command("load", "NAME", "go on with another conversation", keeping.load),
    Command("sessions", "", "the conversations that are kept", keeping.list_sessions),
    Command("export", "md|json [FILE]", "the conversation as Markdown or JSON", keeping.export_session),
    Command("copy", "", "the last answer into the clipboard", reading.copy),
    Command("clear", "", "begin anew; /branch leads back", turns.clear),
    Command("tokens", "", "how the context is used", settings.tokens),
    Command("think", "on|off", "let the model reason before it answers, or not", settings.think),
    Command("bye", "", "leave", _leave),
)  # fmt: skip
BY_NAME = {command.name: command for command in COMMANDS}


def is_command(text: str) -> bool:
    """A path such as /etc/hosts is none, nor what follows a space, nor many lines that only look like one."""
    found = COMMAND.fullmatch(text)
    return found is not None and ("\n" not in text or _called(found[1]) is not None)


def run_command(dialogue: Dialogue, text: str) -> None:
    """Raises UsageError for a command that there is not, and whatever the command raises."""
    found = COMMAND.fullmatch(text)
    assert found is not None
    command = _called(found[1])
    if command is None:
        near = difflib.get_close_matches(found[1].lower(), BY_NAME, n=1)
        meant = f"did you mean /{near[0]}?" if near else "/help shows what there is; put a space before it to say it"
        raise UsageError(f"there is no command /{found[1]}", hint=meant)
    command.run(dialogue, (found[2] or "").strip())


def _called(name: str) -> Command | None:
    return BY_NAME.get(OTHER_NAMES.get(name.lower(), name.lower()))
