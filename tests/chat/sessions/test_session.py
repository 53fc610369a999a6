"""Conversations in files: what was written is what is read, wherever the file was cut."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from doubles.conversations import deeds, do
from llmasos.chat.sessions import shelf
from llmasos.chat.sessions.history import History
from llmasos.chat.sessions.session import Session, open_session, parse, read_history
from llmasos.errors import BadInputError, BusyError, NameTakenError, UsageError


def written(path: Path, *texts: str) -> Path:
    """A session's file with questions and answers."""
    with Session(path) as session:
        for index, text in enumerate(texts):
            session.record(session.history.message(("user", "assistant")[index % 2], text))
    return path


def contents(history: History) -> list[str]:
    return [entry.content for entry in history.path()]


@settings(deadline=None)
@given(some.lists(deeds, max_size=30), some.integers(0, 30))
def test_any_conversation_is_the_same_when_it_is_read_again_and_gone_on_with(done, leaving):
    with tempfile.TemporaryDirectory() as folder:
        path, history = Path(folder) / "talk.jsonl", History()
        session = Session(path)
        for index, deed in enumerate(done):
            if index == leaving and path.exists() and not any(history.growing):
                session.close()
                session, troubles = open_session(path)
                assert troubles == []
            do(deed, session.history, session.record)
            do(deed, history, history.apply)
        session.close()
        assert session.history == history
        if path.exists():
            assert read_history(path) == (history, [])


@settings(deadline=None)
@given(some.lists(deeds, min_size=1, max_size=15), some.data())
def test_any_cut_of_a_file_loads_as_what_was_said_until_then(done, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "talk.jsonl"
        session = Session(path)
        session.record(session.history.message("user", "first"))
        for deed in done:
            do(deed, session.history, session.record)
        session.close()
        content = path.read_bytes()
        end = data.draw(some.integers(0, len(content)))
        path.write_bytes(content[:end])
        before, _, _ = parse(content[:end])
        again, troubles = open_session(path)
        with again:
            assert troubles == []
            again.record(again.history.message("user", "next"))
        assert contents(again.history)[-1] == "next"
        assert contents(again.history)[: len(before.path())] == contents(before)
        assert read_history(path) == (again.history, [])


@settings(deadline=None)
@given(some.lists(deeds, max_size=10), some.binary(min_size=1, max_size=20), some.integers(0))
def test_damage_never_stops_a_conversation_from_being_read(done, damage, place):
    history = History()
    lines = [b'{"event": "session", "format": 1}']

    def record(event):
        history.apply(event)
        lines.append(json.dumps(event).encode())

    for deed in done:
        do(deed, history, record)
    content = bytearray(b"\n".join(lines) + b"\n")
    start = place % len(content)
    content[start : start + len(damage)] = damage
    try:
        found, _, whole = parse(bytes(content))
    except BadInputError as error:
        assert "format" in error.message
    else:
        assert whole <= len(content)
        assert found.path() is not None


def test_a_damaged_line_is_left_out_and_told(home):
    path = written(shelf.session_path("talk"), "a", "b", "c")
    lines = path.read_bytes().split(b"\n")
    lines[2] = b"\xff\x00 no line at all"
    path.write_bytes(b"\n".join(lines))
    session, troubles = open_session(path)
    with session:
        assert troubles == ["line 3 of the session can't be read and is left out"]
        assert contents(session.history) == ["a", "c"]


def test_files_are_private_and_an_empty_chat_leaves_none(home):
    with Session(shelf.session_path("talk")) as session:
        session.record({"event": "model", "name": "tiny"})
        assert not home.exists() or list(home.rglob("*.jsonl")) == []
        session.record(session.history.message("user", "a"))
    assert stat.S_IMODE(session.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(session.path.parent.stat().st_mode) == 0o700
    assert read_history(session.path)[0].model == "tiny"


def test_a_session_that_is_open_elsewhere_is_refused(home):
    path = written(shelf.session_path("talk"), "a")
    session, _ = open_session(path)
    with session, pytest.raises(BusyError, match="is open in another"):
        open_session(path)


def test_a_newer_format_is_refused(home):
    path = written(shelf.session_path("talk"), "a")
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(BadInputError, match="format 2"):
        open_session(path)


def test_a_name_is_given_later_and_never_taken_from_another(home):
    taken = written(shelf.session_path("taken"), "x")
    with Session(shelf.new_path()) as session:
        session.record(session.history.message("user", "a"))
        old = session.path
        with pytest.raises(NameTakenError):
            session.keep(taken)
        session.keep(shelf.session_path("mine"))
        session.record(session.history.message("assistant", "b"))
    assert not old.exists()
    assert contents(read_history(shelf.session_path("mine"))[0]) == ["a", "b"]


def test_what_was_not_kept_is_kept_whole_when_it_is_given_a_name(home):
    with Session(None) as session:
        session.record(session.history.message("user", "a"))
        session.keep(shelf.session_path("late"))
        session.record(session.history.message("assistant", "b"))
    assert contents(read_history(shelf.session_path("late"))[0]) == ["a", "b"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 61, "a\0"])
def test_names_that_would_be_other_files_are_refused(home, name):
    with pytest.raises(UsageError):
        shelf.session_path(name)


def test_the_shelf_lists_the_last_one_first_and_what_is_broken_too(home):
    written(shelf.session_path("old"), "first question", "b")
    broken = shelf.session_path("newer")
    broken.write_text('{"event": "session", "format": 99}\n')
    kept = list(shelf.sessions())
    assert {each.name for each in kept} == {"old", "newer"}
    assert [each.beginning for each in kept if each.name == "old"] == ["first question"]
    assert [bool(each.problem) for each in kept if each.name == "newer"] == [True]


def test_only_the_last_few_caches_stay(home):
    folder = shelf.session_path("x").parent
    folder.mkdir(parents=True)
    for number in range(8):
        (folder / f"{number}.kv").touch()
    torn, written_now = folder / ".1.kv.77-ab", folder / ".2.kv.78-cd"
    for path in (torn, written_now):
        path.touch()
    os.utime(torn, (0, 0))
    shelf.drop_old_caches()
    assert len(list(folder.glob("*.kv"))) == shelf.KEPT_CACHES
    assert (torn.exists(), written_now.exists()) == (False, True)
