"""Typed texts of several lines."""

from __future__ import annotations

import pytest

from llmasos_cli.chat.lines import is_open, meaning


@pytest.mark.parametrize("text", ['"""', '"""one\ntwo', "one\\", "one\\\ntwo\\", 'say """this', '"""a"""b"""'])
def test_more_has_to_follow(text):
    assert is_open(text)


@pytest.mark.parametrize("text", ["", "one", '"""one"""', '"""one\ntwo"""', "one\\\ntwo", '"""one\\"""', '""'])
def test_a_text_is_whole(text):
    assert not is_open(text)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("one", "one"),
        ("one\\\ntwo", "one\ntwo"),
        ('"""\none\n  two\n"""', "one\n  two"),
        ('  """one"""  ', "one"),
        ('say """this\\\n"""', 'say """this\\\n"""'),
        (" /etc", " /etc"),
    ],
)
def test_marks_that_held_lines_together_are_no_part_of_it(typed, meant):
    assert meaning(typed) == meant
