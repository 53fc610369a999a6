"""A conversation with its branches, as data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from doubles.conversations import deeds, do
from llmasos.chat.sessions.export import export
from llmasos.chat.sessions.history import History, messages_of, move
from llmasos.errors import BadInputError


def talk(*texts: str) -> History:
    """Questions and answers in turn."""
    history = History()
    for index, text in enumerate(texts):
        history.apply(history.message(("user", "assistant")[index % 2], text))
    return history


def contents(history: History) -> list[str]:
    return [entry.content for entry in history.path()]


def test_what_was_taken_back_stays_as_a_branch():
    history = talk("a", "b", "c", "d")
    history.apply(move(2))
    history.apply(history.message("user", "x"))
    assert contents(history) == ["a", "b", "x"]
    assert history.leaves() == [4, 5]
    history.apply(move(4))
    assert contents(history) == ["a", "b", "c", "d"]


def test_what_is_forgotten_is_forgotten_on_its_own_branch_only():
    history = talk("a", "b", "c", "d")
    history.apply({"event": "forgotten", "through": 2, "summary": "a and b"})
    entries, summary = history.remembered()
    assert ([entry.content for entry in entries], summary) == (["c", "d"], "a and b")
    history.apply(move(0))
    history.apply(history.message("user", "x"))
    assert history.remembered() == (history.path(), "")


def test_a_question_without_an_answer_becomes_one_with_the_next():
    history = talk("a")
    history.apply(history.message("user", "b"))
    assert messages_of(history.path(), "be kind", "they met") == [
        {"role": "system", "content": "be kind\n\nWhat was said before, in short:\nthey met"},
        {"role": "user", "content": "a\n\nb"},
    ]


def test_an_answer_that_was_cut_off_becomes_a_message():
    history = talk("a")
    history.apply({"event": "piece", "thought": "hm"})
    history.apply({"event": "piece", "said": "wel"})
    history.apply({"event": "piece", "said": "l"})
    event = history.unfinished()
    assert event is not None
    history.apply(event)
    last = history.path()[-1]
    assert (last.content, last.reasoning, last.finish_reason) == ("well", "hm", "cut")
    assert history.unfinished() is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "unheard of"},
        {"event": ["message"]},
        {"event": "message", "id": 1, "parent": 0, "role": "user", "content": "twice"},
        {"event": "message", "id": "2", "parent": 0, "role": "user", "content": "b"},
        {"event": "message", "id": 2, "parent": None, "role": "user", "content": "b"},
        {"event": "message", "id": 2, "parent": 0, "role": "tool", "content": "b"},
        {"event": "message", "id": 2, "parent": 0, "role": "user", "content": 7},
        {"event": "tip", "id": 99},
        {"event": "tip", "id": []},
        {"event": "system", "content": 1},
        {"event": "model", "name": None},
        {"event": "forgotten", "through": 99, "summary": ""},
        {"event": "piece", "said": 1},
    ],
)
def test_what_is_no_event_is_refused_and_changes_nothing(event):
    history, same = talk("a"), talk("a")
    with pytest.raises(BadInputError):
        history.apply(event)
    assert history == same


def test_a_message_whose_parent_is_lost_follows_the_one_before():
    history = talk("a")
    history.apply({"event": "message", "id": 3, "parent": 2, "role": "user", "content": "c"})
    assert contents(history) == ["a", "c"]


@settings(deadline=None)
@given(some.lists(deeds, max_size=40))
def test_every_branch_leads_back_to_the_beginning_and_nothing_is_lost(done):
    history = History()
    for deed in done:
        do(deed, history, history.apply)
    reached = {entry.id for leaf in history.leaves() for entry in history.path(leaf)}
    assert reached == set(history.entries)


def test_markdown_and_json_have_the_whole_path():
    history = talk("a?", "b!")
    history.apply({"event": "system", "content": "be kind"})
    history.apply({"event": "model", "name": "tiny"})
    history.apply({"event": "forgotten", "through": 2, "summary": ""})
    assert export(history, "trip", "md") == (
        "# trip\n\nModel: tiny\n\n## System\n\nbe kind\n\n## You\n\na?\n\n## Answer\n\nb!\n"
    )
    assert '"content": "b!"' in export(history, "trip", "json")
