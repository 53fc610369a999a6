"""The loop of a chat: ask the person, ask the model, until somebody leaves."""

from __future__ import annotations

from llmasos.errors import LlmasosError
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue, LeaveChat
from llmasos_cli.chat.editor import Editor
from llmasos_cli.chat.keyboard import interruptible
from llmasos_cli.chat.lines import meaning
from llmasos_cli.chat.slash.table import is_command, run_command

HOW_TO_LEAVE = "Ctrl-D or /bye leaves"


def talk(dialogue: Dialogue, editor: Editor) -> None:
    """Until the person leaves. Where nobody sits there, an error ends it, as it ends any command of a script."""
    while True:
        try:
            text = editor.ask()
        except EOFError:
            return
        except KeyboardInterrupt:
            if not dialogue.is_interactive:
                raise
            output.note(HOW_TO_LEAVE)
            continue
        try:
            _take(dialogue, text)
        except LeaveChat:
            return
        except KeyboardInterrupt:
            if not dialogue.is_interactive:
                raise
        except (LlmasosError, OSError) as error:
            if not dialogue.is_interactive or isinstance(error, BrokenPipeError):
                raise
            _tell(error)


def _take(dialogue: Dialogue, text: str) -> None:
    if not text.strip():
        return
    with interruptible(is_on=dialogue.is_interactive):
        if is_command(text):
            run_command(dialogue, text)
        else:
            dialogue.say(meaning(text))


def _tell(error: LlmasosError | OSError) -> None:
    if isinstance(error, LlmasosError):
        output.note(f"error: {error.message}")
        if error.hint:
            output.note(f"hint: {error.hint}")
    else:
        output.note(f"error: {error.filename or ''}: {error.strerror or error}")
