"""A person at a terminal: what is seen of a chat. The stable screens are kept in tests/goldens/screens."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from doubles.conversations import answering
from doubles.screens import is_golden
from llmasos_cli.chat.screen.area import ESCAPES
from llmasos_cli.chat.screen.markdown import render

pytestmark = pytest.mark.real  # seconds each

ANSWER = """# Fruits

Some **bold** text, `code`, 中文 and 🎉:

- apples
- pears, which are so long a word that their line has to be laid out in several on any narrow screen

```python
def taste(fruit):
    return f"sweet {fruit}"  # always
```

| fruit | colour |
|---|---|
| apple | red |
"""

WRONG = """/bogus
/set temperature hot
/set top_q 1
/edit 7
/undo
/regen
/read nothing.txt
/model no-such-model-here
/think maybe
/branch x
/load nothing
/export pdf
/copy"""


def asked_again(after: str) -> Callable[[str], bool]:
    """Whether a screen shows that text, and below it the next prompt."""
    return lambda screen: re.search(r"\n>[ ]*\n", screen.rpartition(after)[2]) is not None


def test_help_lists_every_command(open_chat):
    chat = open_chat("--no-save", rows=50)
    chat.enter("/help")
    assert is_golden("help", chat.settled(asked_again("begins with a slash")))


def test_an_answer_is_laid_out(open_chat):
    chat = open_chat("--no-save", *answering(ANSWER), rows=32)
    chat.enter("Which fruits?")
    assert is_golden("answer-80-columns", chat.settled(asked_again("red")))


def test_an_answer_is_laid_out_in_twenty_columns(open_chat):
    chat = open_chat("--no-save", *answering(ANSWER), columns=20, rows=50)
    chat.enter("Which fruits?")
    assert is_golden("answer-20-columns", chat.settled(asked_again("red")))


def test_several_lines_are_typed_quoted_and_with_a_backslash(open_chat):
    chat = open_chat("--no-save", *answering("Yes."))
    for line in ('"""', "one", '  two"""'):
        chat.enter(line)
    chat.wait_for("Yes.")
    chat.enter("three\\")
    chat.enter("four")
    chat.wait_for(lambda screen: screen.count("Yes.") == 2)
    chat.enter("/export md")
    assert is_golden("several-lines", chat.settled(asked_again("## Answer\n\nYes.")).partition("gguf\n")[2])


def test_pasted_lines_are_one_message(open_chat):
    chat = open_chat("--no-save", *answering("Yes."))
    chat.paste("".join(f"line {number}\n" for number in range(200)))
    chat.wait_for("line 199")
    chat.press("Enter")
    chat.wait_for("Yes.")
    chat.enter("/edit")
    assert re.search(r"1  you     line 0 line 1 .*\n  2  answer  Yes\.", chat.wait_for("answer  Yes."))


def test_commands_options_and_files_are_completed(open_chat, tmp_path):
    (tmp_path / "notes one.txt").write_text("x")
    chat = open_chat("--no-save")
    chat.type("/se")
    assert is_golden("completion", chat.settled("/sessions"))
    chat.press("C-c")
    chat.type("/set top_")
    chat.wait_for("top_n_sigma")
    chat.press("C-c")
    chat.type(f"/read {tmp_path}/no")
    chat.wait_for("notes one.txt")


def test_what_is_wrong_is_told_and_the_chat_goes_on(open_chat):
    chat = open_chat("--no-save")
    for line in WRONG.split("\n"):
        chat.enter(line)
        chat.wait_for(f"> {line}\nerror:")
    chat.enter("/show")
    chat.settled(asked_again("have their defaults"))
    assert is_golden("errors", chat.scrolled().partition("model   ")[0])


def test_ctrl_c_stops_an_answer_and_keeps_what_came(open_chat):
    chat = open_chat("--no-save", *answering("yes " * 800))
    chat.enter("Go on.")
    chat.wait_for("tokens/s · Ctrl-C stops")
    chat.press("C-c")
    chat.wait_for("stopped; what came is kept")
    chat.enter("/edit")
    chat.wait_for(lambda screen: re.search(r"2  answer  yes ", screen) is not None)


def test_ctrl_c_clears_the_line_and_ctrl_d_leaves(open_chat):
    chat = open_chat("--no-save")
    chat.type("nonsense")
    chat.wait_for("nonsense")
    chat.press("C-c")
    chat.wait_for(lambda screen: "nonsense" not in screen)
    chat.press("C-_")
    chat.wait_for("nonsense")
    chat.press("C-c")
    chat.press("C-c")
    chat.wait_for("Ctrl-D or /bye leaves")
    chat.press("C-d")
    assert chat.wait_for_end() == 0


def test_typing_during_an_answer_waits_for_the_next_prompt(open_chat):
    chat = open_chat("--no-save", *answering("word " * 150))
    chat.enter("Go on.")
    chat.wait_for("Ctrl-C stops")
    chat.type("later")
    screen = chat.wait_for(lambda screen: "Ctrl-C" not in screen)
    assert "> later" in chat.wait_for("> later")
    assert screen.count("later") <= 1


def test_an_answer_is_laid_out_anew_when_the_screen_changes(open_chat):
    chat = open_chat("--no-save", *answering("word " * 600), columns=60, rows=30)
    chat.enter("Go on.")
    chat.wait_for(lambda screen: screen.count("word") > 30)
    chat.resize(20, 30)
    narrow = chat.wait_for(lambda screen: ">" not in screen and "word word word word\n" in screen)
    assert max(map(len, narrow.split("\n"))) <= 20
    chat.resize(70, 30)
    assert is_golden("resized", chat.settled("\n>", seconds=40))


def test_an_edited_question_is_a_branch(open_chat, tmp_path):
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nprintf "changed" > "$1"\n')
    editor.chmod(0o755)
    chat = open_chat("--no-save", *answering("Yes."), VISUAL=str(editor))
    chat.enter("first")
    chat.wait_for("Yes.")
    chat.enter("/edit 1")
    chat.wait_for(lambda screen: screen.count("Yes.") == 2)
    chat.enter("/branch")
    chat.wait_for("* 2")
    chat.enter("/branch 1")
    chat.enter("/undo")
    assert is_golden("branches", chat.settled(asked_again("taken back: first")))
    chat.press("C-g")
    chat.wait_for("> changed")


def test_an_edited_answer_is_what_the_model_has_said(open_chat, tmp_path):
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i s/Yes/No/ "$1"\n')
    editor.chmod(0o755)
    chat = open_chat("--no-save", *answering("Yes."), VISUAL=str(editor))
    chat.enter("first")
    chat.wait_for("Yes.\n\n>")
    chat.enter("/edit 2")
    chat.wait_for("changed; the conversation goes on from there")
    chat.enter("/edit")
    chat.wait_for("  1  you     first\n  2  answer  No.")


def test_an_answer_is_copied_by_terminal_and_program(open_chat, tmp_path):
    copier, copied = tmp_path / "wl-copy", tmp_path / "copied"
    copier.write_text(f"#!/bin/sh\ncat > {copied}\n")
    copier.chmod(0o755)
    chat = open_chat("--no-save", *answering("# Yes, 中文"), PATH=f"{tmp_path}:/usr/bin:/bin", WAYLAND_DISPLAY="x")
    chat.enter("really?")
    chat.wait_for("Yes, 中文\n\n>")
    chat.enter("/copy")
    chat.wait_for("copied 9 characters by wl-copy and the terminal (OSC 52)")
    assert copied.read_text() == "# Yes, 中文"
    assert chat.clipboard() == "# Yes, 中文"


def test_a_terminal_that_can_do_nothing_gets_plain_text(open_chat):
    chat = open_chat("--no-save", *answering("# Yes"), TERM="dumb", dumb="1")
    chat.enter("really?")
    assert is_golden("dumb", chat.settled("# Yes\n\n>"))
    chat.press("C-d")
    assert chat.wait_for_end() == 0


def test_without_colour_answers_are_plain_text(open_chat):
    chat = open_chat("--no-save", *answering("# Yes"), NO_COLOR="1")
    chat.enter("really?")
    chat.wait_for("# Yes")


def test_reasoning_is_shown_dim_and_kept_apart(open_chat):
    chat = open_chat("--no-save", *answering("<think>\nhm\n</think>\n\nYes"))
    chat.enter("really?")
    chat.wait_for("hm\n\nYes")
    chat.enter("/export md")
    chat.wait_for("## Answer\n\nYes")


def test_what_scrolls_away_is_the_answer_and_each_line_of_it_once(open_chat):
    blocks = [
        "Here is *much*:",
        "\n".join(f"- point {number} of a list that is longer than the screen is high" for number in range(25)),
        "```python\n" + "\n".join(f"value_{number} = {number}" for number in range(30)) + "\n```",
        "word " * 150,
        "> a quote\n> of two lines",
        "1. one\n2. two",
    ]
    text = "\n\n".join(blocks)
    chat = open_chat("--no-save", *answering(text), columns=50, rows=12)
    chat.enter("Go on.")
    chat.settled("\n>", seconds=60)
    shown = chat.scrolled().partition("> Go on.\n")[2].rpartition("\n\n>")[0]
    lines = [ESCAPES.sub("", line) for line in render(text, 50)]
    assert shown.split("\n") == lines


def test_a_chat_that_is_ended_in_an_answer_goes_on_from_there(open_chat):
    chat = open_chat("--session", "trip", *answering("yes " * 800))
    chat.enter("Go on.")
    chat.wait_for("tokens/s · Ctrl-C stops")
    chat.end()
    assert chat.wait_for_end() == 143
    again = open_chat("--session", "trip")
    again.wait_for("going on with trip: 2 messages")
    assert "the last answer was cut off; /regen answers once more" in again.scrolled()


def test_a_chat_that_is_ended_at_its_prompt_keeps_what_was_read(open_chat):
    chat = open_chat("--session", "trip", *answering("Yes."))
    chat.enter("Go on.")
    chat.wait_for("Yes.\n\n>")
    chat.end()
    assert chat.wait_for_end() == 143
    again = open_chat("--session", "trip")
    again.wait_for("going on with trip: 2 messages; 13 tokens of it are remembered")
