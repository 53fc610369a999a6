"""How long a request may take: what has begun ends with what there is, what has not is told so."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.serving import Served, served
from llmasos.engine.options import AnswerOptions
from llmasos.engine.sequence import Answer
from llmasos.errors import TimeUpError
from llmasos.server.deadline import Deadline

pytestmark = pytest.mark.timeout(180)
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello"}]
ENDLESS = {"max_tokens": 1_000_000, "ignore_eos": True, "on_overflow": "shift", "model": "tiny", "messages": HELLO}


@pytest.mark.real
def test_what_has_begun_ends_with_what_there_is_and_waiting_counts(served_home: Path):
    with served("--parallel", "1", "--max-request-seconds", "2") as server:
        server.post(CHAT, **{**ENDLESS, "max_tokens": 1})  # loading does not count

        def answered(after: float) -> tuple[float, int, str]:
            time.sleep(after)
            begun = time.monotonic()
            response = server.post(CHAT, **ENDLESS)
            took = time.monotonic() - begun
            return took, response.status, response.json["choices"][0]["finish_reason"]

        with ThreadPoolExecutor() as threads:
            first, second = threads.map(answered, [0.0, 1.0])  # the second has to wait for the first
        assert first[1:] == second[1:] == (200, "length")
        assert 1.9 < first[0] < 3.5
        assert 1.9 < second[0] < 2.9  # with its wait of one second

        own = server.post(CHAT, **ENDLESS, max_seconds=0.2)
        assert own.json["choices"][0]["finish_reason"] == "length"
        streamed = server.post("/api/chat", model="tiny", messages=HELLO, options={**ENDLESS, "num_predict": 10**6})
        *_, end = streamed.body.splitlines()
        assert json.loads(end)["done_reason"] == "length"


def test_what_has_not_begun_is_told_so(served_home: Path):
    with served("--max-request-seconds", "0.000001") as server:
        assert server.post(COMPLETIONS, model="tiny", prompt="a").status == 504
        late = server.post(CHAT, **ENDLESS)
        assert (late.status, late.json["error"]["type"]) == (504, "timeout_error")
        assert "no answer within 1e-06 seconds" in late.json["error"]["message"]
        ollamas = server.post("/api/chat", model="tiny", messages=HELLO)
        assert ollamas.status == 504
        assert "no answer within" in ollamas.json["error"]
        assert server.post("/tokenize", model="tiny", content="a").status == 504
        assert server.ask("GET", "/v1/models").status == 200


def test_loading_has_a_limit_of_its_own(served_home: Path):
    with served("--max-load-seconds", "0.001") as server:
        late = server.post(CHAT, **ENDLESS)
        assert late.status == 504
        assert "tiny was not in memory within 0.001 seconds" in late.json["error"]["message"]
        _wait_until_nothing_runs(server)


def test_an_answer_that_has_begun_is_kept():
    none = Answer("", (), "time", prompt_tokens=1, cached_tokens=0, prompt_seconds=0, completion_seconds=0, seed=0)
    with pytest.raises(TimeUpError, match="no answer within 0 seconds"):
        Deadline(0).require_begun(none)
    Deadline(0).require_begun(replace(none, tokens=(1,)))
    Deadline(60).require_begun(none)  # the request itself wanted no more
    Deadline(None).require_begun(none)


def test_an_answer_ends_by_the_shorter_limit():
    assert Deadline(None).limited(AnswerOptions()).max_seconds is None
    assert Deadline(60).limited(AnswerOptions(max_seconds=1)).max_seconds == 1
    assert Deadline(0).limited(AnswerOptions(max_seconds=1)).max_seconds == 0


def _wait_until_nothing_runs(server: Served) -> None:
    for _ in range(100):
        if not server.runners:
            return
        time.sleep(0.1)
    raise AssertionError("a model that took too long to load is still being loaded")
