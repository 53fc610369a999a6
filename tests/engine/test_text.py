"""From tokens to text that can be shown: whole characters, no stop string, whatever the pieces."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doubles.cuts import cut, places
from llmasos.engine.text import StopMatcher, TextDecoder

unhurried = settings(deadline=None)


def shown(stops: list[str], pieces: list[str]) -> str:
    matcher = StopMatcher(stops)
    return "".join(map(matcher.feed, pieces)) + matcher.finish()


# Characters.


def test_a_character_is_shown_once_it_is_whole():
    decoder = TextDecoder()
    assert [decoder.feed(piece) for piece in (b"\xe4", b"\xbd", b"\xa0!", b"\xf0\x9f")] == ["", "", "你!", ""]
    assert decoder.finish() == "\ufffd"


def test_broken_bytes_are_shown_as_such_and_hold_nothing_up():
    decoder = TextDecoder()
    assert decoder.feed(b"a\xffb\xc3") + decoder.feed(b"(") + decoder.finish() == "a\ufffdb\ufffd("


@unhurried
@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), places)
def test_the_pieces_together_are_the_text_of_the_whole(content: bytes, places: list[int]):
    decoder = TextDecoder()
    text = "".join(map(decoder.feed, cut(content, places))) + decoder.finish()
    assert text == content.decode("utf-8", "replace")


@unhurried
@given(st.text(max_size=20), places)
def test_what_is_shown_of_sound_text_is_never_taken_back(text: str, places: list[int]):
    decoder, so_far = TextDecoder(), ""
    for piece in cut(text.encode(), places):
        so_far += decoder.feed(piece)
        assert text.startswith(so_far)
    assert (so_far, decoder.finish()) == (text, "")


# Stop strings.


def test_text_without_stop_strings_passes_at_once():
    assert StopMatcher([]).feed("anything") == "anything"
    assert StopMatcher([""]).feed("anything") == "anything"


def test_only_what_may_become_a_stop_string_is_held_back():
    matcher = StopMatcher(["###", "\nUser:"])
    assert [matcher.feed(piece) for piece in ("a#", "#b", "\n", "Use", "d", "##")] == ["a", "##b", "", "", "\nUsed", ""]
    assert (matcher.finish(), matcher.matched) == ("##", None)


def test_after_a_stop_string_nothing_more_is_shown():
    matcher = StopMatcher(["END"])
    assert [matcher.feed(piece) for piece in ("one E", "ND two", "three")] == ["one ", "", ""]
    assert matcher.finish() == ""
    assert matcher.matched == "END"


@pytest.mark.parametrize(
    ("stops", "text", "before", "matched"),
    [
        (["b", "abc"], "xabcd", "xa", "b"),  # the first that is complete, as a stream of letters would have it
        (["bc", "abc"], "xabcd", "x", "abc"),  # of two that end together the longer
        (["c", "b"], "abc", "a", "b"),
        (["aab"], "aaab", "a", "aab"),
    ],
)
def test_of_several_stop_strings_the_first_to_be_complete_counts(
    stops: list[str], text: str, before: str, matched: str
):
    matcher = StopMatcher(stops)
    assert (matcher.feed(text), matcher.matched) == (before, matched)
    assert shown(stops, list(text)) == before


few_letters = st.text("ab", max_size=12)
stop_lists = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@unhurried
@given(few_letters, stop_lists, places)
@example("xabc", ["abc", "b"], [3])
def test_any_pieces_give_the_same_text_and_the_same_stop(text: str, stops: list[str], places: list[int]):
    assert shown(stops, cut(text, places)) == shown(stops, [text]) == shown(stops, list(text))


@unhurried
@given(few_letters, stop_lists, places)
def test_no_stop_string_is_ever_shown_and_nothing_else_is_lost(text: str, stops: list[str], places: list[int]):
    result = shown(stops, cut(text, places))
    assert text.startswith(result)
    assert not any(stop in result for stop in stops)
    if not any(stop in text for stop in stops):
        assert result == text


@unhurried
@given(few_letters, stop_lists, places)
def test_no_more_is_held_back_than_could_become_a_stop_string(text: str, stops: list[str], places: list[int]):
    matcher, so_far, fed = StopMatcher(stops), "", ""
    for piece in cut(text, places):
        so_far, fed = so_far + matcher.feed(piece), fed + piece
        held = fed.removeprefix(so_far)
        assert matcher.matched or held == "" or any(stop.startswith(held) for stop in stops)
