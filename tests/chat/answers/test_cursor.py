"""Reading a text that comes in pieces: JSON as `json` reads it, however it is cut, and given up once it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doubles.cuts import cut, places
from llmasos.chat.answers.cursor import DEEPEST, Cursor, MismatchError, Reading, read_json

unhurried = settings(deadline=None)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: value == json.loads(json.dumps(value)))


def read(pieces: list[str], reader: Any = read_json) -> tuple[Any, str]:
    """What a reader finds, and what it leaves."""
    cursor, coming = Cursor(), iter(pieces)
    reading: Reading[Any] = reader(cursor)
    try:
        for piece in coming:
            cursor.text += piece
            next(reading)
        cursor.is_whole = True
        next(reading)
    except StopIteration as stop:
        return stop.value, cursor.text[cursor.position :] + "".join(coming)
    raise AssertionError("it waits for text that will never come")


def is_json(text: str) -> bool:
    try:
        read([text])
    except MismatchError:
        return False
    return True


@unhurried
@given(values, st.sampled_from(["", " ", "\n", ", more", "}"]), st.none() | st.integers(0, 4), places)
def test_a_value_is_read_as_it_was_written_however_it_is_cut(
    value: Any, rest: str, indent: int | None, edges: list[int]
):
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    assert read([*cut(f" {text}", edges), rest]) == (value, rest)


@unhurried
@given(st.text(alphabet='{}[]",:\\ \n1eE+-.truefalsn\u00e9', max_size=20), places)
@example('{"a": "\\', [])
@example("[1,]", [])
@example('"\\u12"', [])
@example("01", [])
@example("1e1111", [])
def test_any_text_is_judged_as_json_judges_it(text: str, edges: list[int]):
    try:
        expected, end = json.JSONDecoder(strict=False).raw_decode(text.lstrip(" \n"))
        json.dumps(expected, allow_nan=False)  # `1e999` is infinite
    except ValueError:
        with pytest.raises(MismatchError):
            read(cut(text, edges))
        return
    rest = text.lstrip(" \n")[end:]
    if rest and isinstance(expected, int | float | None) and (rest[0].isalnum() or rest[0] in "+-._"):
        return  # `1e` is a number and a letter to json, and no value to us
    assert read(cut(text, edges)) == (expected, rest)


@pytest.mark.parametrize("beginning", ["x", "{x", '{"a" x', '{"a": x', "[1 2", '{"a": tru,', "{,", "nul ", "[01,"])
def test_what_can_no_more_be_a_value_is_given_up_at_once(beginning: str):
    cursor = Cursor()
    cursor.text = beginning
    with pytest.raises(MismatchError):
        next(read_json(cursor))


def test_line_breaks_may_stand_in_a_string():
    assert read(['"two\nlines"']) == ("two\nlines", "")


@pytest.mark.parametrize("text", ['"\\ud800"', "1e999", "NaN", "[Infinity]", "1" * 5000, "[" * (DEEPEST + 2)])
def test_what_could_not_be_written_again_is_none(text: str):
    assert not is_json(text)


def test_values_may_be_nested_so_deep():
    assert is_json("[" * DEEPEST + "]" * DEEPEST)
    assert not is_json("[" * 100_000)


@unhurried
@given(st.text(alphabet="ab</", max_size=20), places)
def test_a_mark_is_found_however_it_is_cut(text: str, edges: list[int]):
    before, mark, rest = text.partition("</a")
    if not mark:
        with pytest.raises(MismatchError):
            read(cut(text, edges), lambda cursor: cursor.until("</a"))
        return
    assert read(cut(text, edges), lambda cursor: cursor.until("</a")) == (before, rest)
