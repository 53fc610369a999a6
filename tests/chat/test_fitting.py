"""What becomes of a conversation that outgrows the context. A token is a letter here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from llmasos.chat.fitting import Tools, fit_conversation
from llmasos.chat.sessions.history import Entry
from llmasos.errors import PromptTooLongError

SYSTEM = 10  # letters of a system prompt, which always counts


def turns(*lengths: int) -> list[Entry]:
    """A question and an answer of so many letters each, the last question without an answer."""
    entries = [
        Entry(2 * index + number + 1, 0, role, "x" * length)
        for index, length in enumerate(lengths)
        for number, role in enumerate(("user", "assistant"))
    ]
    return entries[:-1]


def count(entries, summary):
    return SYSTEM + len(summary) + sum(len(entry.content) for entry in entries)


TOOLS = Tools(count, lambda entries, summary, longest: "s" * longest)


def test_what_fits_stays_as_it_is():
    fitted = fit_conversation(turns(100, 100), "", 1000, "shift", TOOLS)
    assert (fitted.dropped, fitted.summary, fitted.note) == (0, "", None)


def test_error_refuses_with_both_counts():
    with pytest.raises(PromptTooLongError, match="the conversation is 1110 tokens long and the context holds 1000"):
        fit_conversation(turns(200, 200, 300), "", 1000, "error", TOOLS)


def test_error_refuses_nothing_that_fits():
    assert fit_conversation(turns(200, 200, 189), "", 1000, "error", TOOLS).note is None


@pytest.mark.parametrize("policy", ["shift", "truncate"])
def test_the_oldest_turns_go_and_it_is_told(policy):
    fitted = fit_conversation(turns(200, 200, 200), "", 1000, policy, TOOLS)
    assert (fitted.dropped, fitted.summary) == (2, "")
    assert fitted.note == (
        "the context of 1,000 tokens is full: the oldest turn was dropped; the prompt has 610 tokens now, not 1,010"
    )


def test_a_summary_stands_for_what_went():
    fitted = fit_conversation(turns(200, 200, 200), "", 1000, "summarize", TOOLS)
    assert (fitted.dropped, fitted.summary) == (4, "s" * 125)
    assert "the oldest 2 turns were summarized" in fitted.note


def test_room_is_made_for_the_answer_that_is_asked_for():
    assert fit_conversation(turns(200, 180, 200), "", 1000, "shift", TOOLS).dropped == 2
    assert fit_conversation(turns(200, 180, 200), "", 1000, "shift", TOOLS, answer_tokens=20).dropped == 0


def test_a_last_message_that_is_too_long_alone_is_refused():
    with pytest.raises(PromptTooLongError, match="the last message with the system prompt is 1010"):
        fit_conversation(turns(10, 1000), "", 1000, "shift", TOOLS)


@settings(deadline=None)
@given(
    some.lists(some.integers(1, 120), min_size=1, max_size=12),
    some.sampled_from(["shift", "summarize"]),
    some.text("s", max_size=90),
)
def test_whatever_is_left_fits_ends_with_the_last_message_and_begins_with_a_question(lengths, policy, summary):
    entries = turns(*lengths)
    fitted = fit_conversation(entries, summary, 500, policy, TOOLS)
    left = entries[fitted.dropped :]
    assert left[0].role == "user"
    assert left[-1] is entries[-1]
    assert count(left, fitted.summary) < 500
    assert (fitted.note is None) == (fitted.dropped == 0 and fitted.summary == summary)
