"""The loop of a chat: ask the person, ask the model, until somebody leaves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from llmasos.errors import LlmasosError
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue, LeaveChat
from llmasos_cli.chat.editor import Editor
from llmasos_cli.chat.lines import meaning
from llmasos_cli.chat.slash.table import is_command, run_command

INTERRUPTED_TWICE = "Ctrl-D or /bye leaves"


def talk(dialogue: Dialogue, editor: Editor) -> None:
    """Until the person leaves. Where nobody sits there, an error ends it, as it ends any command of a script."""
    was_interrupted = False
    while True:
        try:
            text = editor.ask()
            was_interrupted = False
            _take(dialogue, text)
        except (EOFError, LeaveChat):
            return
        except KeyboardInterrupt:
            if not dialogue.is_interactive:
                raise
            if was_interrupted:
                output.note(INTERRUPTED_TWICE)
            was_interrupted = True
        except (LlmasosError, OSError) as error:
            if not dialogue.is_interactive or isinstance(error, BrokenPipeError):
                raise
            _tell(error)


def _take(dialogue: Dialogue, text: str) -> None:
    if not text.strip():
        return
    if is_command(text):
        run_command(dialogue, text)
        return
    with silent_keyboard(is_on=dialogue.is_interactive):
        dialogue.say(meaning(text))


def _tell(error: LlmasosError | OSError) -> None:
    if isinstance(error, LlmasosError):
        output.note(f"error: {error.message}")
        if error.hint:
            output.note(f"hint: {error.hint}")
    else:
        output.note(f"error: {error.filename or ''}: {error.strerror or error}")


@contextmanager
def silent_keyboard(*, is_on: bool) -> Iterator[None]:
    """What is typed meanwhile waits for the next prompt, and is not shown in the middle of an answer."""
    if not (is_on and sys.stdin.isatty()):
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = termios.tcgetattr(sys.stdin)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def interrupts_raised(*, is_on: bool) -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt as often as it is pressed, for somebody who stays."""
    if not is_on or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def has_colour() -> bool:
    """Whether answers are laid out, which takes colours and a cursor that moves."""
    return not os.environ.get("NO_COLOR")
