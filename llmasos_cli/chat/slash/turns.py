"""Slash commands that go back in the conversation: answer again, take back, edit, change between branches."""

from __future__ import annotations

from llmasos.chat.sessions.history import BEGINNING, Entry, move
from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue

SHOWN_LENGTH = 60  # characters of a message in a list
SPEAKERS = {"user": "you", "assistant": "answer"}


def regenerate(dialogue: Dialogue, _: str) -> None:
    history = dialogue.session.history
    question = history.last("user")
    if question is None:
        raise UsageError("there is nothing to answer yet")
    with dialogue.going_back_without_answer(history.tip):
        dialogue.session.record(move(question.id))
        dialogue.answer(seed=dialogue.another_seed())


def undo(dialogue: Dialogue, _: str) -> None:
    question = dialogue.session.history.last("user")
    if question is None:
        raise UsageError("there is nothing to take back")
    dialogue.session.record(move(question.parent))
    output.note(f"taken back: {_short(question)}")


def clear(dialogue: Dialogue, _: str) -> None:
    dialogue.attached.clear()
    dialogue.session.record(move(BEGINNING))
    output.note("the conversation begins anew; /branch leads back")


def edit(dialogue: Dialogue, argument: str) -> None:
    """An edited question is answered; an edited answer stands in the place of what the model said."""
    history = dialogue.session.history
    path = history.path()
    if not argument:
        for number, entry in enumerate(path, start=1):
            output.write_line(f"{number:3}  {SPEAKERS[entry.role]:6}  {_short(entry)}")
        if not path:
            output.note("there is no message yet")
        return
    entry = path[_number(argument, len(path), "message") - 1]
    text = dialogue.ask_editor(entry.content).rstrip("\n")
    if not text.strip() or text == entry.content:
        output.note("nothing was changed")
        return
    before = history.tip
    dialogue.session.record(move(entry.parent))
    if entry.role == "assistant":
        dialogue.session.record(history.message("assistant", text))
        output.note("changed; the conversation goes on from there")
        return
    dialogue.say(text, before=before)


def branch(dialogue: Dialogue, argument: str) -> None:
    history = dialogue.session.history
    leaves = history.leaves()
    if not argument:
        for number, leaf in enumerate(leaves, start=1):
            path = history.path(leaf)
            mark = "*" if leaf == history.tip else " "
            ending = " → ".join(_short(entry, SHOWN_LENGTH // 2) for entry in path[-2:])
            output.write_line(f"{mark}{number:2}  {len(path):3} messages, the last: {ending}")
        if not leaves:
            output.note("there is no branch yet")
        return
    leaf = leaves[_number(argument, len(leaves), "branch") - 1]
    dialogue.session.record(move(leaf))
    output.note(f"going on from: {_short(history.entries[leaf])}")


def _number(argument: str, most: int, what: str) -> int:
    if not argument.isdecimal() or not 1 <= int(argument) <= most:
        allowed = f"a number from 1 to {most}" if most else f"there is no {what} yet"
        raise UsageError(f"`{argument}` is no {what}: {allowed}")
    return int(argument)


def _short(entry: Entry, length: int = SHOWN_LENGTH) -> str:
    text = " ".join(output.visible(entry.content).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
