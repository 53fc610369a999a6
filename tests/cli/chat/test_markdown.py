"""Markdown on a terminal: laid out within any width, and cut where nothing will change any more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from rich.cells import cell_len

from llmasos_cli.chat.screen.area import ESCAPES
from llmasos_cli.chat.screen.markdown import NARROWEST, render, render_aside, split_finished, without_undecided

PIECES = [
    "# Head\n", "para *em* `code`\n", "\n", "- item\n", "  - inner\n", "1. one\n", "```py\nx = 1\n", "```\n",
    "|a|b|\n", "|-|-|\n", "> quote\n", "中文字 🎉 👨\u200d👩\u200d👧\n", "---\n", "<b>html</b>\n", "**bo", "ld**",
    "[a](http://b.c/d)", "word " * 30, "x" * 100, "\\", "&amp;", "[1]: http://x\n", "==\n", "\t", "    code\n",
    "~~~\n", "![i](j)\n",
]  # fmt: skip
visible = some.text(some.characters(exclude_categories=("Cc", "Cs")), max_size=8)  # as it comes to the screen
texts = some.lists(some.sampled_from(PIECES) | visible, max_size=20).map("".join)


def plain(lines: list[str]) -> list[str]:
    return [ESCAPES.sub("", line) for line in lines]


@settings(deadline=None)
@given(texts, some.integers(NARROWEST, 60))
def test_no_line_is_wider_than_the_screen_and_none_ends_in_spaces(text, width):
    for lines in (render(text, width), render_aside(text, width)):
        assert all(cell_len(line) <= width for line in plain(lines))
        assert all("\n" not in line for line in lines)


@settings(deadline=None)
@given(texts)
def test_a_cut_loses_nothing_and_what_is_finished_looks_the_same_alone(text):
    finished, rest = split_finished(text)
    assert (f"{finished}\n{rest}" if finished else rest) == text
    if finished:
        whole = [line for line in plain(render(text, 60)) if line]
        apart = [line for part in (finished, rest) for line in plain(render(part, 60)) if line]
        assert apart == whole


@settings(deadline=None)
@given(texts)
def test_what_is_undecided_is_the_beginning_of_a_last_line_alone(text):
    shown = without_undecided(text)
    assert text.startswith(shown)
    assert "\n" not in text[len(shown) :].removeprefix("\n")


@pytest.mark.parametrize("growing", ["-", "1", "1.", "``", "###", "---", "|", "  ", "**"])
def test_a_line_that_may_become_anything_waits(growing):
    assert without_undecided(f"Some text:\n{growing}") == "Some text:"
    assert without_undecided(f"Some text:\n{growing} word") == f"Some text:\n{growing} word"


def test_code_is_coloured_and_can_be_copied_as_it_is():
    lines = render("```python\ndef f():\n    return 1\n```", 40)
    assert plain(lines) == ["```python", "def f():", "    return 1", "```"]
    assert "\x1b[" in lines[1]


def test_html_and_line_breaks_are_shown_as_they_are():
    assert plain(render("a <b>bold</b>\nb", 40)) == ["a <b>bold</b>", "b"]
