"""A person at a terminal in a chat with a real model: ten turns of all kinds, killed in the middle and gone on with."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.terminal import Terminal

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

LONG = "Write a very long story about a ship, with many paragraphs."
CHAT = ("chat", "smollm2", "--temperature", "0", "--seed", "1")
LONG_WAIT = 60.0  # seconds


@pytest.fixture
def terminal(home: Path):
    subprocess.run(command("pull", "smollm2"), cwd=PROJECT, check=True, capture_output=True)
    with Terminal(command(*CHAT, "--max-tokens", "60")) as terminal:
        terminal.wait_for("smollm2 · 0 of 8,192 tokens")
        yield terminal


def is_ready(screen: str) -> bool:
    return re.search(r"smollm2 · [\d,]+ of 8,192 tokens", screen) is not None


def is_answered(screen: str) -> bool:
    """The prompt is there again, with the speed of the last answer below."""
    return bool(re.search(r"\n>\n", screen)) and "tokens/s" in screen and "Ctrl-C stops" not in screen


def ask(terminal: Terminal, text: str) -> None:
    before = used(terminal)
    terminal.enter(text)
    terminal.wait_for(lambda screen: is_answered(screen) and used(terminal) != before, LONG_WAIT)


def used(terminal: Terminal) -> str:
    """What the status line says of the context."""
    found = re.search(r"smollm2 · ([\d,]+) of", terminal.screen())
    return found[1] if found else ""


def messages(home: Path) -> list[dict[str, str]]:
    [path] = (home / "sessions").glob("*.jsonl")
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in events if event["event"] == "message"]


def test_ten_turns_with_all_that_a_person_does(terminal: Terminal, home: Path, tmp_path: Path):
    ask(terminal, "The capital of France is which city?")  # 1
    terminal.type("Nme a colour")  # 2, with a mistake that is mended
    terminal.press("Home", "Right")
    terminal.type("a")
    terminal.press("End")
    ask(terminal, ".")
    terminal.paste("Here is a list:\n\n- apples\n- pears\n- plums\n\nWhich is red?")  # 3
    terminal.wait_for("Which is red?")
    ask(terminal, "")
    terminal.enter('"""first line')  # 4
    ask(terminal, 'second line"""')
    terminal.enter("/set max_tokens default")
    terminal.enter(LONG)  # 5, stopped
    terminal.wait_for("tokens/s · Ctrl-C stops", LONG_WAIT)
    terminal.press("C-c")
    terminal.wait_for("stopped; what came is kept")
    terminal.enter("/set max_tokens 200")
    terminal.enter("/regen")  # 6, and the screen changes meanwhile
    terminal.wait_for("tokens/s · Ctrl-C stops", LONG_WAIT)
    terminal.resize(40, 24)
    terminal.wait_for(lambda screen: "smollm2 ·" in screen and max(map(len, screen.split("\n"))) <= 40)
    terminal.resize(80, 24)
    terminal.wait_for(is_answered, LONG_WAIT)
    terminal.enter("/set max_tokens 30")
    ask(terminal, "你好！What is two and two?")  # 7
    terminal.enter("/undo")
    terminal.wait_for("taken back: 你好")
    ask(terminal, "Thank you\\\nso much")  # 8
    terminal.enter("/set max_tokens default")
    terminal.enter(LONG)  # 9, killed
    terminal.wait_for("tokens/s · Ctrl-C stops", LONG_WAIT)
    time.sleep(2)
    terminal.kill()

    with Terminal(command("chat", "--continue", "--temperature", "0", "--max-tokens", "30")) as again:
        screen = again.wait_for(is_ready)
        assert re.search(r"going on with \S+: 14 messages", again.scrolled())
        assert "the last answer was cut off; /regen answers once more" in screen
        ask(again, "Goodbye!")  # 10
        again.enter("/tokens")
        again.wait_for("tokens read")
        again.press("C-d")
        assert again.wait_for_end() == 0
    said = messages(home)
    assert [each["content"] for each in said if each["role"] == "user"] == [
        "The capital of France is which city?",
        "Name a colour.",
        "Here is a list:\n\n- apples\n- pears\n- plums\n\nWhich is red?",
        "first line\nsecond line",
        LONG,
        "你好！What is two and two?",
        "Thank you\nso much",
        LONG,
        "Goodbye!",
    ]
    assert "Paris" in said[1]["content"]
    assert [each["finish_reason"] for each in said if each["role"] == "assistant"].count("cancelled") == 1
    assert [each.get("finish_reason") for each in said].count("cut") == 1

    with Terminal(command("chat", "--continue", "--temperature", "0", "--max-tokens", "30")) as last:
        last.wait_for(is_ready)
        assert re.search(r"going on with \S+: 16 messages; [\d,]{3,} tokens of it are remembered", last.scrolled())
        ask(last, "Are you still there?")
        last.enter("/tokens")
        screen = last.wait_for("remembered,")
        read, remembered = re.search(r"([\d,]+) tokens read, ([\d,]+) remembered", screen).groups()
        assert int(read.replace(",", "")) < 60
        assert int(remembered.replace(",", "")) > 500


def test_a_long_prompt_is_stopped_at_once_and_taken_back(terminal: Terminal, home: Path):
    terminal.paste("".join(f"line {number} of many words in a long paste\n" for number in range(400)))
    terminal.wait_for("line 399")
    terminal.press("Enter")
    terminal.wait_for("reading 5,")
    time.sleep(0.5)
    terminal.press("C-c")
    terminal.wait_for("stopped before anything came; the message is taken back", 1.0)
    terminal.press("Up")
    terminal.wait_for("line 399 of many words in a long paste\n\nsmollm2")
    terminal.press("C-c")
    terminal.enter("/edit")
    terminal.wait_for("there is no message yet")
