"""Slash commands about kept conversations: /save, /load, /sessions, /export."""

from __future__ import annotations

import os
import time
from pathlib import Path

from llmasos.chat.sessions import shelf
from llmasos.chat.sessions.export import FORMS, export
from llmasos.errors import BadInputError, ModelNotFoundError, UsageError
from llmasos.files import require_writable, write_output
from llmasos.units import format_age
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue
from llmasos_cli.chat.opening import open_kept, tell_resumed

SHOWN_BEGINNING = 50  # characters


def save(dialogue: Dialogue, argument: str) -> None:
    session = dialogue.session
    if not session.history.entries:
        raise UsageError("there is no conversation to save yet")
    if not argument and not dialogue.saves:
        raise UsageError("under which name?", hint="/save NAME")
    if argument:
        session.keep(shelf.session_path(argument))
        dialogue.saves = True
    output.note(f"kept as {session.name}; llmasos chat --session {session.name} goes on with it")


def load(dialogue: Dialogue, argument: str) -> None:
    if not argument:
        raise UsageError("which one?", hint="/sessions shows what there is")
    path = shelf.session_path(argument)
    if not path.exists():
        raise ModelNotFoundError(argument, message=f"there is no session `{argument}`", hint="/sessions shows them")
    if path == dialogue.session.path:
        raise UsageError("that is this conversation")
    session = open_kept(path)
    if dialogue.saves and dialogue.session.history.entries:
        dialogue.speaker.save(dialogue.session.cache, waits=True)
    dialogue.session.close()
    dialogue.session, dialogue.saves = session, True
    dialogue.attached.clear()
    tell_resumed(dialogue)


def list_sessions(dialogue: Dialogue, _: str) -> None:
    rows = []
    for kept in shelf.sessions():
        here = "*" if dialogue.session.path and kept.name == dialogue.session.name else ""
        rows.append(
            {
                "name": f"{here}{kept.name}",
                "when": format_age(time.time() - kept.modified),
                "messages": str(kept.message_count),
                "model": kept.model,
                "beginning": (kept.problem or kept.beginning)[:SHOWN_BEGINNING],
            }
        )
    output.write_table(rows)
    if not rows:
        output.note("no conversation is kept yet")


def export_session(dialogue: Dialogue, argument: str) -> None:
    form, _, target = argument.partition(" ")
    if form not in FORMS:
        raise UsageError(f"/export takes {' or '.join(FORMS)}, and the name of a file if you like")
    text = export(dialogue.session.history, dialogue.session.name, form)
    if not target.strip():
        output.write_text(text.rstrip("\n"))
        return
    path = Path(os.path.expanduser(target.strip()))  # noqa: PTH111  # an unknown ~name is left as it is
    if path.exists():
        raise BadInputError(f"{path} exists already", hint="choose another name, or remove it first")
    require_writable(path)
    write_output(path, text)
    output.note(f"written: {path}")
