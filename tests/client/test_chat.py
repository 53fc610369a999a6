"""`llmasos chat --server`: the model is there, the conversation is kept here."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from conftest import command
from doubles.conversations import answering
from doubles.serving import Served, served
from doubles.terminal import Terminal
from doubles.tiny import TinyModel
from llmasos.pull import pull

pytestmark = [pytest.mark.timeout(180), pytest.mark.real]  # seconds each
YES = answering("Yes.")
FIXED = ("--temperature", "0", "--max-tokens", "8")


def test_a_conversation_goes_on_and_is_kept_here(at_shared: Served, llmasos, tmp_path: Path):
    first = llmasos("chat", "tiny", *YES, stdin="one\ntwo\n/tokens\n")
    assert (first.exit_code, first.stdout.splitlines()[:2]) == (0, ["Yes.", "Yes."])
    read, remembered, wrote = map(int, re.search(r"(\d+) tokens read, (\d+) rem.*, (\d+) wr", first.stderr).groups())
    assert remembered > 5
    assert (read > 0, wrote > 0) == (True, True)
    again = llmasos("chat", "--continue", *YES, stdin="three\n")
    assert (again.exit_code, again.stdout.splitlines()[-1]) == (0, "Yes.")
    [path] = (tmp_path / "empty/sessions").glob("*.jsonl")
    said = [event["content"] for event in map(json.loads, path.read_text().splitlines()) if event["event"] == "message"]
    assert said == ["one", "Yes.", "two", "Yes.", "three", "Yes."]


def test_it_says_what_it_says_here(at_shared: Served, llmasos, tiny_model: Path):
    turns = "the cat\n/system You are a dog.\nand then?\n/regen\n/system none\nagain\n/undo\n/edit\n"
    there = llmasos("chat", "tiny", "--no-save", *FIXED, stdin=turns)
    here = llmasos("chat", tiny_model, "--no-save", *FIXED, "--server", "", stdin=turns)
    assert (there.exit_code, there.stdout, there.stderr) == (0, here.stdout, here.stderr)


def test_models_are_those_of_the_server(at_shared: Served, llmasos):
    done = llmasos("chat", "tiny", *YES, stdin="one\n/model\n/model org/other:small\ntwo\n/model\n")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["Yes.", "* tiny", "  org/other:small", "Yes.", "  tiny", "* org/other:small"]
    assert llmasos("chat", "nobody", stdin="one\n").exit_code == 3
    refused = llmasos("chat", "tiny", *YES, stdin="/set gpu_layers 0\n/set lora x\n")
    assert (refused.exit_code, "for models that are loaded here" in refused.stderr) == (2, True)


def test_ctrl_c_stops_an_answer_there_and_keeps_what_came(served_home: Path, turn_to, make_tiny):
    pull(str(make_tiny(TinyModel(context_length=4096))), name="talker")
    with served("--parallel", "1", "--max-queue", "0") as server:
        turn_to(server)
        with Terminal(command("chat", "talker", "--no-save", *answering("yes " * 800))) as chat:
            chat.wait_for("talker ·")
            chat.enter("Go on.")
            chat.wait_for("tokens/s · Ctrl-C stops")
            chat.press("C-c")
            chat.wait_for("stopped; what came is kept")
            status = chat.wait_for(lambda screen: re.search(r"talker · [\d,]+ of 4,096 tokens", screen) is not None)
            chat.enter("/edit")
            chat.wait_for(lambda screen: re.search(r"2  answer  yes ", screen) is not None)
            deadline = time.monotonic() + 10
            while server.post("/v1/completions", model="talker", prompt="x", max_tokens=1).status != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        used = int(re.findall(r"talker · ([\d,]+) of", status)[-1].replace(",", ""))
        assert used > 10


def test_a_chat_outlives_its_server(served_home: Path, server: Served, turn_to, monkeypatch: pytest.MonkeyPatch):
    turn_to(server)
    with Terminal(command("chat", "tiny", "--no-save", *YES)) as chat:
        chat.wait_for("tiny ·")
        for count in (1, 2):
            chat.enter("Well?")
            chat.wait_for(lambda screen, count=count: screen.count("Yes.") == count)
        server.stop()
        chat.enter("Well?")
        chat.wait_for("error: there is no server at")
        chat.enter("/undo")
        chat.wait_for("? of 256 tokens")
        monkeypatch.setenv("LLMASOS_HOME", str(served_home))
        with served("--port", str(server.port)):
            chat.enter("Well?")
            chat.wait_for(lambda screen: screen.count("Yes.") == 3)


@pytest.mark.parametrize("policy", ["shift", "summarize"])
def test_old_turns_leave_a_context_that_is_full(at: Served, llmasos, policy: str):
    turns = "".join(f"{'a long story ' * 12} {number}\n" for number in range(12))
    done = llmasos("chat", "tiny", *FIXED, "--on-overflow", policy, stdin=turns)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"turns? (was|were) (dropped|summarized)", done.stderr)


def test_a_conversation_that_is_too_long_is_refused_by_default(at_shared: Served, llmasos):
    done = llmasos("chat", "tiny", *FIXED, stdin=f"{'a long story ' * 200}\n")
    assert (done.exit_code, "the context holds" in done.stderr) == (5, True)


def test_a_model_without_a_template_gets_a_plain_one(
    home: Path, turn_to, llmasos, make_tiny, monkeypatch: pytest.MonkeyPatch
):
    plain = make_tiny(TinyModel(template=None))
    monkeypatch.setenv("LLMASOS_THREADS", "1")
    pull(str(plain), name="plain")
    with served() as server:
        turn_to(server)
        there = llmasos("chat", "plain", "--no-save", *FIXED, stdin="the cat\nand then?\n")
        here = llmasos("chat", plain, "--no-save", *FIXED, "--server", "", stdin="the cat\nand then?\n")
        assert (there.exit_code, there.stdout, there.stderr) == (0, here.stdout, here.stderr)
        assert llmasos("run", "plain", "the cat", *FIXED).exit_code == 0
        assert llmasos("run", "plain", "the cat", *FIXED, "--system", "x").exit_code == 5
