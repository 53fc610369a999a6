"""How a chat begins: which session, which model, and what is said about a conversation that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmasos.chat.sessions import shelf
from llmasos.chat.sessions.history import CUT
from llmasos.chat.sessions.session import Session, open_session
from llmasos.errors import UsageError
from llmasos_cli import output

if TYPE_CHECKING:
    from llmasos_cli.chat.dialogue import Dialogue

FIRST_MODEL = "smollm2"


def find_session(name: str | None, *, goes_on: bool, saves: bool) -> Session:
    """The session that the flags name: the last one, one of a name, or a new one."""
    if goes_on:
        paths = shelf.paths()
        if not paths:
            raise UsageError("there is no conversation to go on with yet", hint="begin one: llmasos chat")
        return open_kept(paths[0])
    if name is None:
        return Session(shelf.new_path() if saves else None)
    path = shelf.session_path(name)
    return open_kept(path) if path.exists() else Session(path)


def open_kept(path: Path) -> Session:
    session, troubles = open_session(path)
    for trouble in troubles:
        output.note(f"warning: {trouble}")
    return session


def default_model(session: Session, server: str | None) -> tuple[str, str]:
    """The model for a chat that names none, here or at that server, and why it is that one."""
    from llmasos_cli.local import installed_names
    from llmasos_cli.server_place import connect, named_server

    if session.history.model:
        return session.history.model, "it held this conversation"
    place = named_server(server)
    if place:
        from llmasos_cli.remote import names_at

        with connect(place) as connection:
            names = names_at(connection)
    else:
        names = installed_names()
    last = shelf.last_model()
    if last and (last in names or (not place and Path(last).exists())):
        return last, "it held the last conversation"
    if len(names) == 1:
        return names[0], "it is the only one here" if not place else "it is the only one there"
    return FIRST_MODEL, "no model was named"


def tell_resumed(dialogue: Dialogue) -> None:
    """Takes in what was read before, and says where the conversation stands."""
    session = dialogue.session
    path = session.history.path()
    if not path:
        return
    restored = dialogue.speaker.restore(session.cache)
    how = f"{restored:,} tokens of it are remembered" if restored else "it will be read again"
    output.note(f"going on with {session.name}: {len(path)} message{'s' if len(path) > 1 else ''}; {how}")
    dialogue.show_end()
    if path[-1].role == "user":
        output.note("the last message has no answer yet; /regen answers it")
    elif path[-1].finish_reason == CUT:
        output.note("the last answer was cut off; /regen answers once more")
