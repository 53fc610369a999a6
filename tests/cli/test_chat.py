"""`llmasos chat` without a terminal: lines are turns, answers are data, conversations are kept."""

from __future__ import annotations

import json
import os
import re
import stat
import time

import pytest

from doubles.conversations import answering
from doubles.tiny import TinyModel

YES = answering("Yes.")
pytestmark = pytest.mark.real  # seconds each


@pytest.fixture
def talker(make_tiny):
    return make_tiny(TinyModel(context_length=2048))


def sessions(home):
    return sorted((home / "sessions").glob("*.jsonl")) if (home / "sessions").exists() else []


def said(path):
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event["content"] for event in events if event["event"] == "message"]


def test_each_line_of_a_pipe_is_a_turn(llmasos, talker, home):
    result = llmasos("chat", talker, *YES, stdin="one\n\ntwo\\\nthree\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Yes.\nYes.\n", "")
    [path] = sessions(home)
    assert said(path) == ["one", "Yes.", "two\nthree", "Yes."]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_suffix(".kv").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_kept_that_shall_not_be(llmasos, talker, home):
    result = llmasos("chat", talker, *YES, "--no-save", stdin="one\n")
    assert (result.exit_code, result.stdout) == (0, "Yes.\n")
    assert sessions(home) == []
    assert not (home / "chat_history").exists()


def test_a_turn_reads_only_what_is_new(llmasos, talker):
    result = llmasos("chat", talker, *YES, stdin=f"{'a long story ' * 20}\n/set top_k 5\nAnd?\n/tokens\n")
    read, remembered = map(int, re.search(r"(\d+) tokens read, (\d+) remembered", result.stderr).groups())
    assert read < 12
    assert remembered > 240


def test_a_conversation_goes_on_from_what_was_read(llmasos, talker, home):
    llmasos("chat", talker, *YES, stdin=f"{'a long story ' * 20}\n")
    again = llmasos("chat", *YES, "--continue", stdin="And?\n/tokens\n")
    assert again.exit_code == 0
    assert f"note: {talker}, since it held this conversation" not in again.stdout
    read, remembered = map(int, re.search(r"(\d+) tokens read, (\d+) remembered", again.stderr).groups())
    assert (read < 12, remembered > 240) == (True, True)
    [path] = sessions(home)
    assert len(said(path)) == 4


@pytest.mark.parametrize("change", ["missing", "damaged", "other options"])
def test_it_is_read_again_where_what_was_read_is_of_no_use(llmasos, talker, home, change):
    llmasos("chat", talker, *YES, stdin=f"{'a long story ' * 20}\n")
    [cache] = (home / "sessions").glob("*.kv")
    if change == "missing":
        cache.unlink()
    if change == "damaged":
        content = bytearray(cache.read_bytes())
        content[len(content) // 2] ^= 1
        cache.write_bytes(content)
    more = ("--kv-type", "f32") if change == "other options" else ()
    again = llmasos("chat", talker, *YES, *more, "--continue", stdin="And?\n/tokens\n")
    assert again.exit_code == 0
    assert "it will be read again" in again.stderr
    assert re.search(r"2\d\d tokens read, 0 remembered", again.stderr)


def test_a_session_has_a_name(llmasos, talker, home):
    first = llmasos("chat", talker, *YES, "--session", "trip", stdin="one\n")
    assert (first.exit_code, [path.stem for path in sessions(home)]) == (0, ["trip"])
    again = llmasos("chat", talker, *YES, "--session", "trip", stdin="two\n/save journey\nthree\n")
    assert (again.exit_code, [path.stem for path in sessions(home)]) == (0, ["journey"])
    assert said(home / "sessions" / "journey.jsonl") == ["one", "Yes.", "two", "Yes.", "three", "Yes."]
    listed = llmasos("chat", talker, "--no-save", stdin="/sessions\n")
    assert re.search(r"journey +just now +6 +\S*other.gguf +one", listed.stdout)


def test_a_session_that_was_damaged_goes_on_and_says_so(llmasos, talker, home):
    llmasos("chat", talker, *YES, "--session", "trip", stdin="one\ntwo\n")
    path = home / "sessions" / "trip.jsonl"
    lines = path.read_bytes().split(b"\n")
    [answer] = [index for index, line in enumerate(lines) if b'"id": 2' in line]
    lines[answer] = b'{"event": "mess'
    path.write_bytes(b"\n".join(lines) + b'{"event": "message", "id": 9, "conte')
    again = llmasos("chat", talker, *YES, "--session", "trip", stdin="three\n/edit\n")
    assert again.exit_code == 0
    assert f"warning: line {answer + 1} of the session can't be read and is left out" in again.stderr
    assert re.findall(r"\d  (?:you|answer) +(.*)", again.stdout) == ["one", "two", "Yes.", "three", "Yes."]


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"garbage\n" * 3, os.urandom(300), b"[]\n{}\n1\n"])
def test_a_file_that_is_no_session_begins_anew(llmasos, talker, home, content):
    (home / "sessions").mkdir(parents=True)
    (home / "sessions" / "odd.jsonl").write_bytes(content)
    result = llmasos("chat", talker, *YES, "--session", "odd", stdin="one\n")
    assert (result.exit_code, result.stdout) == (0, "Yes.\n")
    again = llmasos("chat", talker, *YES, "--session", "odd", stdin="/edit\n")
    assert "1  you     one" in again.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--continue",), ("--no-save", "--continue"), ("--continue", "--session", "x"), ("--session", "../x"),
     ("--session", "")],
)  # fmt: skip
def test_calls_without_a_meaning_are_refused(llmasos, talker, arguments):
    assert llmasos("chat", talker, *arguments, stdin="one\n").exit_code == 2


def test_an_error_ends_a_script_with_its_exit_code(llmasos, talker):
    result = llmasos("chat", talker, *YES, stdin="one\n/set temperature hot\ntwo\n")
    assert (result.exit_code, result.stdout) == (2, "Yes.\n")
    assert result.stderr == "error: temperature can't be `hot`; it takes a number\n"
    too_long = llmasos("chat", talker, *YES, "--context-length", "512", stdin="x" * 600)
    assert too_long.exit_code == 5
    assert "the conversation is 603 tokens long and the context holds 512" in too_long.stderr


def test_garbage_is_a_message(llmasos, talker, home):
    result = llmasos("chat", talker, *YES, stdin=b"\xff\xfe\x00\x1b[31m\x07 /etc/hosts\n/etc/hosts\n")
    assert (result.exit_code, result.stdout) == (0, "Yes.\nYes.\n")
    assert said(sessions(home)[0])[2] == "/etc/hosts"


@pytest.mark.parametrize(
    ("policy", "word"), [("shift", "dropped"), ("truncate", "dropped"), ("summarize", "summarized")]
)
def test_a_full_context_is_dealt_with_as_asked_and_told(llmasos, talker, home, policy, word):
    lines = "".join(f"{number} {'x' * 100}\n" for number in range(6))
    flags = (*YES, "--context-length", "512", "--on-overflow", policy)
    result = llmasos("chat", talker, *flags, "--session", "x", "--system", "Be kind.", stdin=f"{lines}/tokens\n")
    assert (result.exit_code, result.stdout.count("Yes.")) == (0, 6)
    assert re.search(rf"the context of 512 tokens is full: .* {word}; the prompt has \d+ tokens now", result.stderr)
    assert "older messages are no longer given to the model" in result.stderr
    assert len(said(home / "sessions" / "x.jsonl")) == 12
    again = llmasos("chat", talker, *flags, "--session", "x", stdin="/tokens\n")
    assert "older messages are no longer given" in again.stderr


def test_a_full_context_is_refused_unless_something_else_is_asked(llmasos, talker):
    lines = "".join(f"{number} {'x' * 100}\n" for number in range(6))
    result = llmasos("chat", talker, *YES, "--context-length", "512", stdin=lines)
    assert result.exit_code == 5
    assert "hint: /set on_overflow shift, or summarize, goes on without the oldest" in result.stderr


def test_options_change_in_the_middle(llmasos, talker):
    typed = """/set max-tokens 3
one
/set num_predict
/set max_tokens default
two
/set context_length 512
three
/set lora nothing.gguf
"""
    result = llmasos("chat", talker, *YES, stdin=typed)
    assert result.stdout == "Yes\nmax_tokens = 3\nYes.\nYes.\n"
    assert "context_length = 512" in result.stderr
    assert result.exit_code == 3


def test_files_go_with_the_next_message(llmasos, talker, home, tmp_path):
    (tmp_path / "a.txt").write_text("alpha\n```\n")
    (tmp_path / "b c.txt").write_text("beta\n")
    (tmp_path / "binary.bin").write_bytes(b"\xff\x00")
    lines = [f"/read {tmp_path}/*.txt", f"/read {tmp_path}/b c.txt", "/set max_tokens 1", "what?", "and?"]
    result = llmasos("chat", talker, *YES, stdin="\n".join(lines))
    assert result.exit_code == 0
    assert re.search(r"a.txt: \d+ tokens\n.*b c.txt: \d+ tokens\nwith the next message go \d+ tokens", result.stderr)
    first, _, second, _ = said(sessions(home)[0])
    assert first == f"{tmp_path}/a.txt:\n````\nalpha\n```\n````\n\n{tmp_path}/b c.txt:\n```\nbeta\n```\n\nwhat?"
    assert second == "and?"
    wrong = llmasos("chat", talker, stdin=f"/read {tmp_path}/binary.bin\n")
    assert (wrong.exit_code, "is not UTF-8 text" in wrong.stderr) == (5, True)
    assert llmasos("chat", talker, stdin=f"/read {tmp_path}\n").exit_code == 5


def test_a_conversation_is_exported(llmasos, talker, tmp_path):
    target = tmp_path / "talk.json"
    lines = ["/system Be kind.", "one", f"/export json {target}", "/export md", f"/export json {target}"]
    result = llmasos("chat", talker, *YES, "--session", "trip", stdin="\n".join(lines))
    assert json.loads(target.read_text())["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Yes."},
    ]
    assert "## System\n\nBe kind.\n\n## You\n\none\n\n## Answer\n\nYes.\n" in result.stdout
    assert (result.exit_code, "exists already" in result.stderr) == (5, True)


def test_turns_are_taken_back_answered_again_and_branched(llmasos, talker, home):
    lines = [
        "one",
        "two",
        "/undo",
        "three",
        "/regen",
        "/branch",
        "/branch 1",
        "/edit",
        "/clear",
        "four",
        "/bye",
        "never",
    ]
    result = llmasos("chat", talker, *YES, stdin="\n".join(lines))
    assert result.exit_code == 0
    assert "* 3    4 messages, the last: three → Yes." in result.stdout
    assert re.findall(r"\d  you +(.*)", result.stdout) == ["one", "two"]
    assert said(sessions(home)[0])[-2:] == ["four", "Yes."]


def test_answers_that_are_asked_for_again_have_other_seeds(llmasos, talker):
    flags = ("--seed", "3", "--max-tokens", "12", "--ignore-eos", "--temperature", "1.5")
    answers = llmasos("chat", talker, *flags, stdin="one\n/regen\n").stdout
    first, second = answers[: len(answers) // 2], answers[len(answers) // 2 :]
    assert first != second
    assert llmasos("chat", talker, *flags, stdin="one\n/regen\n").stdout == answers


def test_another_model_goes_on_with_the_conversation(llmasos, talker, tiny_model, home):
    lines = ["one", f"/model {tiny_model}", "two", "/edit", "/model nothing.gguf"]
    result = llmasos("chat", talker, *YES, stdin="\n".join(lines))
    assert result.stdout.count("Yes.") == 4
    assert f"{tiny_model.name}, context 256; the conversation goes on" in result.stderr
    assert result.exit_code == 3
    again = llmasos("chat", *YES, "--continue", stdin="/model\n")
    assert f"note: {tiny_model.name}, since it held this conversation" in again.stderr


def test_the_model_that_is_taken_if_none_is_named_is_told(llmasos, tiny_model):
    llmasos("import", tiny_model, "--as", "mine")
    only = llmasos("chat", *YES, stdin="one\n")
    assert (only.exit_code, only.stderr) == (0, "note: mine, since it is the only one here\n")
    llmasos("cp", "mine", "other")
    last = llmasos("chat", *YES, stdin="one\n")
    assert last.stderr == "note: mine, since it held the last conversation\n"


def test_reasoning_can_be_turned_off_and_stays_out_of_the_conversation(llmasos, make_tiny, home):
    model = make_tiny(TinyModel())
    thinking = answering("<think>\nhm\n</think>\n\nYes")
    result = llmasos("chat", model, *thinking, stdin="/think on\n/set grammar default\n/think off\n")
    assert "reasoning is off" in result.stderr
    shown = llmasos("chat", model, *thinking, "--session", "x", stdin="one\n")
    assert (shown.stdout, shown.stderr) == ("Yes\n", "")
    assert said(home / "sessions" / "x.jsonl") == ["one", "Yes"]


def test_a_model_without_a_template_is_given_a_plain_one(llmasos, make_tiny):
    result = llmasos("chat", make_tiny(TinyModel(template=None)), *YES, stdin="one\ntwo\n")
    assert (result.exit_code, result.stdout) == (0, "Yes.\nYes.\n")
    assert "the model has no chat template" in result.stderr


def test_a_beam_search_answers_too(llmasos, talker):
    result = llmasos("chat", talker, "--num-beams", "2", "--grammar", 'root ::= "Yes."', stdin="one\ntwo\n")
    assert (result.exit_code, result.stdout) == (0, "Yes.\nYes.\n")


def test_models_that_write_nothing_are_refused(llmasos, home):
    assert llmasos("chat", home / "nothing.gguf", stdin="one\n").exit_code == 3
    assert list(home.rglob("*.jsonl")) == []


def test_the_last_conversation_is_the_one_that_was_last_spoken_in(llmasos, talker, home):
    for name in ("a", "b"):
        llmasos("chat", talker, *YES, "--session", name, stdin="one\n")
        time.sleep(0.05)
    llmasos("chat", talker, *YES, "--session", "a", stdin="two\n")
    again = llmasos("chat", talker, *YES, "--continue", stdin="")
    assert "going on with a: 4 messages" in again.stderr
