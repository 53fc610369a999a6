"""What TAB offers in a chat."""

from __future__ import annotations

import pytest

from llmasos.chat.sessions import shelf
from llmasos_cli.chat.completer import candidates
from llmasos_cli.chat.slash.table import COMMANDS, is_command


def offered(text: str) -> list[str]:
    """The lines that the offers would make of a text."""
    return [text[:start] + word for word, start, _ in candidates(text, lambda: ["one", "two"])]


def test_commands_are_offered_at_the_beginning_only():
    assert offered("/") == [f"/{command.name}" for command in COMMANDS]
    assert offered("/ex") == ["/export"]
    assert offered(" /ex") == offered("say /ex") == offered("/x\n/ex") == []


@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("/set on_", ["/set on_overflow"]),
        ("/set on-", ["/set on_overflow"]),
        ("/set on_overflow s", ["/set on_overflow shift", "/set on_overflow summarize"]),
        ("/set mmap ", ["/set mmap on", "/set mmap off", "/set mmap default"]),
        ("/set nothing x", []),
        ("/think o", ["/think on", "/think off"]),
        ("/export j", ["/export json"]),
        ("/undo x", []),
        ("/nothing x", []),
    ],
)
def test_arguments_are_offered_as_each_command_takes_them(typed, offers):
    assert offered(typed) == offers


def test_files_are_offered_and_hidden_ones_only_after_a_dot(tmp_path):
    for name in ("b c.txt", "a.txt", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    place = f"/read {tmp_path}"
    assert offered(f"{place}/") == [f"{place}/a.txt", f"{place}/b c.txt", f"{place}/folder/"]
    assert offered(f"{place}/.h") == [f"{place}/.hidden"]
    assert offered(f"/export md {tmp_path}/a") == [f"/export md {tmp_path}/a.txt"]


def test_sessions_and_models_are_offered(home):
    (home / "sessions").mkdir(parents=True)
    shelf.session_path("trip").touch()
    assert offered("/load t") == ["/load trip"]
    assert offered("/model ") == ["/model one", "/model two"]


def test_what_only_looks_like_a_command_is_a_message():
    assert all(map(is_command, ("/help", "/HELP", "/?", "/bogus", "/system many\nlines", "/set a b")))
    assert not any(map(is_command, ("/etc/hosts", " /help", "/bogus\nlines", "//help", "/", "help", "/9")))
