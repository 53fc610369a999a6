"""Where a person types: prompt_toolkit on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmasos.errors import BadInputError
from llmasos.paths import find_home
from llmasos_cli import output
from llmasos_cli.chat.lines import is_open

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT, CONTINUATION = "> ", "  "
EDITORS = ("VISUAL", "EDITOR")


class Editor(Protocol):
    """`ask` gives a whole text as it was typed. Raises EOFError at its end, KeyboardInterrupt at Ctrl-C."""

    def ask(self) -> str: ...


class PlainEditor:
    """Lines of standard input; bytes that are no UTF-8 are replaced."""

    def __init__(self, *, is_prompted: bool) -> None:
        self._is_prompted = is_prompted

    def ask(self) -> str:
        lines = [self._line(PROMPT)]
        while is_open("\n".join(lines)):
            try:
                lines.append(self._line(CONTINUATION))
            except EOFError:
                break
        return "\n".join(lines)

    def _line(self, prompt: str) -> str:
        if self._is_prompted:
            with suppress(OSError):
                sys.stderr.write(prompt)
                sys.stderr.flush()
        line = sys.stdin.buffer.readline()
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace").rstrip("\r\n")


def make_editor(status: Callable[[], str], models: Callable[[], list[str]], *, keeps_history: bool) -> Editor:
    """The editor of a terminal, with `status` as the line at its foot; `models` names those to complete."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.styles import Style

    from llmasos_cli.chat.completer import SlashCompleter

    history: History = FileHistory(_history_file()) if keeps_history else InMemoryHistory()
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=history,
        multiline=True,
        prompt_continuation=CONTINUATION,
        key_bindings=_key_bindings(),
        completer=SlashCompleter(models),
        complete_while_typing=Condition(lambda: session.default_buffer.text.startswith("/")),
        enable_open_in_editor=True,
        enable_suspend=True,
        tempfile_suffix=".md",
        bottom_toolbar=lambda: _foot(status()),
        style=Style([("bottom-toolbar", "noreverse dim"), ("completion-menu", "noinherit")]),
        reserve_space_for_menu=6,
    )
    return _TerminalEditor(session.prompt)


class _TerminalEditor:
    def __init__(self, prompt: Callable[[], str]) -> None:
        self._prompt = prompt

    def ask(self) -> str:
        return self._prompt()


def _foot(status: str) -> str:
    from llmasos_cli.chat.screen.area import cut_to, terminal_size

    return cut_to(status, terminal_size()[0])


def _key_bindings() -> KeyBindings:
    from prompt_toolkit.application import get_app
    from prompt_toolkit.filters import Condition, has_completions
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.document.text):
            buffer.newline()
        else:
            buffer.validate_and_handle()

    @bindings.add("enter", filter=has_completions)
    def _(event: KeyPressEvent) -> None:
        """A completion that was chosen is taken; Enter sends if none was."""
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
        else:
            buffer.validate_and_handle()

    @bindings.add("c-c", filter=Condition(lambda: bool(get_app().current_buffer.text)))
    def _(event: KeyPressEvent) -> None:
        """Clears what was typed; undo (Ctrl-_) brings it back."""
        event.current_buffer.save_to_undo_stack()
        event.current_buffer.text = ""

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline()

    @bindings.add("c-g")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    return bindings


def _history_file() -> Path:
    """What is typed is as private as the conversations."""
    path = find_home().chat_history
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    return path


def edit_in_editor(text: str) -> str:
    """The text as the person's editor leaves it. Raises BadInputError if there is none, or if it fails."""
    command = next((os.environ[name] for name in EDITORS if os.environ.get(name)), "vi")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInputError("there is no terminal for an editor")
    from prompt_toolkit.input.vt100 import cooked_mode

    descriptor, name = tempfile.mkstemp(suffix=".md", prefix="llmasos-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        with cooked_mode(sys.stdin.fileno()):
            done = subprocess.run([*shlex.split(command), name], check=False)
        if done.returncode:
            raise BadInputError(f"the editor `{command}` ended with {done.returncode}; nothing was changed")
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise BadInputError(f"the editor `{command}` can't be run: {error}", hint="name one in EDITOR") from error
    finally:
        path.unlink(missing_ok=True)


def has_full_terminal() -> bool:
    """Whether a person sits at a terminal that can move its cursor."""
    return sys.stdin.isatty() and output.is_seen() and os.environ.get("TERM", "dumb") != "dumb"
