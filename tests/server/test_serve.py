"""`llmasos serve` as programs meet it: whole and streamed responses, refusals, faults, the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from doubles.rerankers import write_bert_reranker
from doubles.serving import Served, served
from llmasos.pull import pull

pytestmark = pytest.mark.timeout(180)
CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "Hello"}]
FIXED = {"temperature": 0, "max_tokens": 8}
ENDLESS = {"max_tokens": 100_000, "ignore_eos": True, "on_overflow": "shift"}


def text_of(events: list[Any]) -> str:
    choices = [event["choices"][0] for event in events if isinstance(event, dict) and event.get("choices")]
    return "".join(choice["delta"].get("content") or "" if "delta" in choice else choice["text"] for choice in choices)


def test_a_stream_says_what_a_whole_response_does(server: Served):
    whole = server.post(CHAT, model="tiny", messages=HELLO, **FIXED).json
    streamed = server.post(
        CHAT, model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}, **FIXED
    )
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *events, usage, end = streamed.events
    assert end == "[DONE]"
    assert text_of(events) == whole["choices"][0]["message"]["content"]
    assert events[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert usage["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1


def test_streamed_scores_are_those_of_the_whole(server: Served):
    asked = {"model": "tiny", "messages": HELLO, "logprobs": True, "top_logprobs": 2, **FIXED}
    whole = server.post(CHAT, **asked).json["choices"][0]["logprobs"]["content"]
    events = [event for event in server.post(CHAT, stream=True, **asked).events if isinstance(event, dict)]
    streamed = [entry for event in events if (found := event["choices"][0]["logprobs"]) for entry in found["content"]]
    assert [entry["token"] for entry in streamed] == [entry["token"] for entry in whole]
    for one, other in zip(streamed, whole, strict=True):
        assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-3)


def test_prompts_may_be_many_texts_or_tokens_and_are_echoed(server: Served):
    asked = {"model": "tiny", "logprobs": 1, "echo": True, "temperature": 0, "max_tokens": 2}
    two = server.post(COMPLETIONS, prompt=["a b c", "d"], n=1, **asked).json["choices"]
    assert [choice["index"] for choice in two] == [0, 1]
    assert two[0]["text"].startswith("a b c")
    assert two[0]["logprobs"]["token_logprobs"][0] is None
    tokens = server.post(COMPLETIONS, prompt=[65, 66, 67], **asked).json["choices"][0]
    assert len(tokens["logprobs"]["tokens"]) == 5


def test_models_are_listed_and_described(server: Served):
    listed = server.ask("GET", "/v1/models").json["data"]
    assert [each["id"] for each in listed] == ["tiny", "org/other:small"]
    assert [each["owned_by"] for each in listed] == ["library", "org"]
    assert server.ask("GET", "/v1/models/org/other:small").json["id"] == "org/other:small"
    assert server.ask("GET", "/v1/models/nobody").status == 404
    assert server.ask("GET", "/health").json == {"status": "ok"}


def test_documents_are_ranked(server: Served, tmp_path: Path):
    pull(str(write_bert_reranker(tmp_path)), name="ranker")
    asked = {"model": "ranker", "query": "the cat", "documents": ["a dog ran", {"text": "the cat sat"}, "one"]}
    found = server.post("/v1/rerank", return_documents=True, **asked).json["results"]
    assert sorted(each["index"] for each in found) == [0, 1, 2]
    assert [each["relevance_score"] for each in found] == sorted(
        (each["relevance_score"] for each in found), reverse=True
    )
    assert {each["document"]["text"] for each in found} == {"a dog ran", "the cat sat", "one"}
    assert server.post("/v1/rerank", top_n=1, **asked).json["results"][0]["index"] == found[0]["index"]
    for body in ({"documents": "a"}, {"documents": [1]}, {"query": ""}, {"top_n": 0}, {"querry": "a"}):
        assert server.post("/v1/rerank", **{**asked, **body}).status == 400
    assert server.post("/v1/rerank", **{**asked, "model": "tiny"}).status == 400
    assert server.post(CHAT, model="ranker", messages=HELLO).status == 400
    assert server.ask("DELETE", "/api/delete", {"model": "ranker"}).status == 200


def test_tokens_and_prompts_are_told(shared_server: Served):
    for name in ("content", "prompt"):
        found = shared_server.post("/tokenize", model="tiny", **{name: "a b c<|end|>"}).json
        assert found["count"] == len(found["tokens"])
    text = shared_server.post("/detokenize", model="tiny", tokens=found["tokens"]).json
    assert text == {"content": "a b c<|end|>", "prompt": "a b c<|end|>"}
    pieces = shared_server.post("/tokenize", model="tiny", content="é", with_pieces=True).json["tokens"]
    assert b"".join(bytes(each["piece"]) for each in pieces).decode() == "é"
    prompt = shared_server.post("/apply-template", model="tiny", messages=HELLO).json["prompt"]
    assert prompt == "<|user|>Hello<|end|><|assistant|>"
    counted = shared_server.post("/tokenize", model="tiny", content=prompt, add_special=True).json["count"]
    assert shared_server.post("/apply-template", model="tiny", messages=HELLO).json["count"] == counted
    told = shared_server.ask("GET", "/tokenizer_info?model=tiny").json
    assert (told["eos_token"], told["chat_template"][:2]) == ("<|end|>", "{%")
    assert (told["purpose"], told["context_length"], told["parallel"], told["system"]) == ("text", 256, 8, None)
    assert shared_server.ask("GET", "/tokenizer_info").json == told  # of the model that was used last
    assert shared_server.post("/tokenizer_info", model="tiny").json == told
    assert shared_server.post("/detokenize", model="tiny", tokens=[10**9]).status == 400
    assert shared_server.post("/tokenize", model="tiny").status == 400


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        (CHAT, {"model": "nobody", "messages": HELLO}, 404, "`nobody` is not installed"),
        (CHAT, {"messages": HELLO}, 400, "names no model"),
        (CHAT, {"model": 5, "messages": HELLO}, 400, "names no model"),
        (CHAT, {"model": "tiny"}, 400, "the messages are no list"),
        (CHAT, {"model": "tiny", "messages": HELLO, "temprature": 1}, 400, "did you mean `temperature`?"),
        (CHAT, {"model": "tiny", "messages": HELLO, "temperature": -1}, 400, "temperature is at least 0"),
        (CHAT, {"model": "tiny", "messages": HELLO, "num_ctx": "x"}, 400, "num_ctx can't be"),
        (CHAT, {"model": "tiny", "messages": HELLO, "keep_alive": "soon"}, 400, "is no duration"),
        (CHAT, {"model": "tiny", "messages": [{"role": "user", "content": "a " * 9000}]}, 400, "tokens long"),
        (CHAT, {"model": "tiny", "messages": HELLO, "stream": True, "n": 0}, 400, "n is 1 to 128"),
        (CHAT, {"model": "tiny", "messages": HELLO, "num_ctx": 10**9}, 400, "TB of memory"),
        (EMBEDDINGS, {"model": "tiny", "input": "a"}, 400, "does not answer to /v1/embeddings"),
        (CHAT, "{", 400, "no JSON"),
        (CHAT, "[]", 400, "no JSON object"),
        (CHAT, "[" * 100_000, 400, "no JSON"),
        (CHAT, b"\xff\xfe", 400, "no JSON"),
        ("/v1/nothing", {}, 404, "nothing at /v1/nothing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_told(shared_server: Served, path: str, body: Any, status: int, told: str):
    response = shared_server.ask("POST", path, body)
    assert response.status == status
    assert told in response.json["error"]["message"]


def test_a_request_that_is_too_long_is_not_read(shared_server: Served):
    assert shared_server.ask("POST", CHAT, b"x" * 1_000_001).status == 413
    chunked = shared_server.ask("POST", CHAT, iter([b"x" * 500_000] * 3))
    assert chunked.status == 413
    assert shared_server.ask("GET", CHAT).status == 405


def test_garbage_never_makes_it_fail(shared_server: Served):
    chance = random.Random(7)
    for _ in range(150):
        garbage = chance.choice(
            [bytes(chance.randrange(256) for _ in range(chance.randrange(60))), _random_body(chance)]
        )
        response = shared_server.ask("POST", chance.choice([CHAT, COMPLETIONS, EMBEDDINGS]), garbage)
        assert 200 <= response.status < 500, (garbage, response.body)


def _random_body(chance: random.Random) -> Any:
    names = [
        "messages",
        "prompt",
        "max_tokens",
        "n",
        "stop",
        "seed",
        "tools",
        "logprobs",
        "stream",
        "temperature",
        "format",
    ]
    values = [None, True, -1, 0, 3, 1e300, "", "json", [], ["a"], [1], {}, {"role": "user"}, HELLO, [[]], [None]]
    return {
        "model": "tiny",
        **{chance.choice(names): chance.choice(values) for _ in range(4)},
        "max_completion_tokens": 2,
    }


def test_a_runner_that_is_killed_fails_its_own_requests_alone(server: Served):
    with (
        server.streaming(CHAT, model="tiny", messages=HELLO, **ENDLESS) as one,
        server.streaming(CHAT, model="org/other:small", messages=HELLO, **ENDLESS) as other,
    ):
        for _ in range(4):
            one.readline(), other.readline()
        first, second = sorted(server.runners, key=lambda process: process.create_time())
        first.kill()
        rest = one.read().decode()
        assert "was killed" in rest
        assert "[DONE]" not in rest
        assert all(other.readline() for _ in range(20))
        assert second.is_running()
    assert server.post(CHAT, model="tiny", messages=HELLO, **FIXED).status == 200


def test_clients_that_vanish_leave_nothing_behind(server: Served):
    server.post(CHAT, model="tiny", messages=HELLO, **FIXED)
    for _ in range(40):  # five times as many as are answered at a time
        with server.streaming(CHAT, model="tiny", messages=HELLO, **ENDLESS) as stream:
            stream.readline()
    for _ in range(10):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            connection.request("POST", CHAT, json.dumps({"model": "tiny", "messages": HELLO, **ENDLESS}))
            time.sleep(0.02)
    assert server.ask("POST", CHAT, {"model": "tiny", "messages": HELLO, **FIXED}, timeout=20).status == 200


def test_it_finishes_what_it_answers_and_ends(server: Served):
    with server.streaming(CHAT, model="tiny", messages=HELLO, **{**ENDLESS, "max_tokens": 2000}) as stream:
        stream.readline()
        runners = server.runners
        server.process.send_signal(signal.SIGTERM)
        assert stream.read().endswith(b"data: [DONE]\n\n")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    assert server.process.wait(30) == 0
    assert not any(runner.is_running() for runner in runners)


def test_a_model_goes_when_it_is_not_kept_alive(server: Served):
    server.post(CHAT, model="tiny", messages=HELLO, keep_alive=0, **FIXED)
    assert server.runners == []
    server.post(CHAT, model="tiny", messages=HELLO, keep_alive="5m", **FIXED)
    [before] = server.runners
    server.post(CHAT, model="tiny", messages=HELLO, num_ctx=128, **FIXED)  # it has 256
    assert server.runners == [before]
    server.post(CHAT, model="tiny", messages=HELLO, num_batch=64, **FIXED)
    [after] = server.runners
    assert before.pid != after.pid
    server.post(CHAT, model="tiny", messages=HELLO, num_ctx=64, num_batch=32, **FIXED)
    [short] = server.runners
    server.post(CHAT, model="tiny", messages=HELLO, **FIXED)
    assert short not in server.runners


def test_a_context_that_is_set_shorter_than_usual_holds(served_home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMASOS_CONTEXT_LENGTH", "64")
    with served() as server:
        assert server.post(CHAT, model="tiny", messages=HELLO, **FIXED).status == 200
        [runner] = server.runners
        assert server.post(CHAT, model="tiny", messages=HELLO, num_ctx=64, **FIXED).status == 200
        assert server.runners == [runner]


def test_without_a_key_nobody_is_let_in(served_home: Path):
    with served("--api-key", "secret") as server:
        asked = {"model": "tiny", "messages": HELLO, **FIXED}
        assert server.post(CHAT, **asked).status == 401
        assert server.ask("POST", CHAT, asked, {"Authorization": "Bearer secret"}).status == 200
        assert server.ask("GET", "/health").status == 200


def test_pages_may_ask_from_the_origins_that_are_allowed(served_home: Path):
    with served("--allow-origin", "https://chat.example") as server:
        asking = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
        allowed = server.ask("OPTIONS", CHAT, headers={**asking, "Access-Control-Request-Headers": "authorization"})
        assert allowed.headers["access-control-allow-origin"] == "https://chat.example"
        assert server.ask("OPTIONS", CHAT, headers={**asking, "Origin": "https://evil.example"}).status >= 400
        assert server.ask("GET", "/v1/models", headers={"Origin": "https://evil.example"}).status == 403


def test_names_that_are_not_this_machine_s_are_refused_unless_they_are_allowed(served_home: Path):
    with served("--allow-host", "models.example") as server:
        for host, status in (("evil.example", 403), ("models.example:80", 200), ("localhost", 200), ("[::1]:80", 200)):
            assert server.ask("GET", "/v1/models", headers={"Host": host}).status == status


def test_more_than_may_wait_are_told_to_come_again(served_home: Path):
    with served("--parallel", "1", "--max-queue", "0") as server:
        server.post(CHAT, model="tiny", messages=HELLO, **FIXED)
        with server.streaming(CHAT, model="tiny", messages=HELLO, **ENDLESS) as stream:
            stream.readline()
            busy = server.post(CHAT, model="tiny", messages=HELLO, **FIXED)
            assert (busy.status, busy.headers["retry-after"]) == (503, "1")
            assert server.ask("GET", "/v1/models").status == 200
    with served("--max-requests-per-key", "1") as server:
        server.post(CHAT, model="tiny", messages=HELLO, **FIXED)
        with server.streaming(CHAT, model="tiny", messages=HELLO, **ENDLESS) as stream:
            stream.readline()
            assert server.post(CHAT, model="tiny", messages=HELLO, **FIXED).status == 429
            other = server.ask("POST", CHAT, {"model": "tiny", "messages": HELLO, **FIXED}, {"X-Api-Key": "another"})
            assert other.status == 200


def test_a_unix_socket_is_its_owner_s_alone(served_home: Path, tmp_path: Path):
    path = tmp_path / "s"
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(path))
    leftover.close()
    with served("--socket", str(path)) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert server.stop(signal.SIGINT) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "exit_code", "told"),
    [
        (["--host", "0.0.0.0"], 2, "everybody who reaches this machine"),
        (["--host", "256.1.1.1"], 2, "everybody"),
        (["--host", "256.1.1.1", "--insecure"], 1, "can't listen at 256.1.1.1"),
        (["--api-key-file", "/nowhere"], 5, "can't read the keys"),
        (["--keep-alive", "soon"], 2, "is no duration"),
        (["--max-body", "much"], 2, "is not a size"),
        (["--tls-certificate", "/nowhere"], 5, "can't read /nowhere"),
        (["--tls-key", "/nowhere"], 2, "a key for https and no certificate"),
        (["--socket", "/nowhere/s"], 1, "can't listen at /nowhere/s"),
    ],
    ids=str,
)
def test_options_that_can_not_be_are_refused(llmasos, options: list[str], exit_code: int, told: str):
    result = llmasos("serve", "--port", "0", *options, timeout=20)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in result.stderr


def test_a_port_that_is_taken_is_told(llmasos, server: Served):
    result = llmasos("serve", "--port", str(server.port))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: can't listen at 127.0.0.1:{server.port}: Address already in use\nhint: ")


def test_an_answer_is_debiased_where_a_body_asks_for_it(server: Served):
    asked = {"model": "tiny", "messages": HELLO, **FIXED, "ignore_eos": True, "debias_attributes": ["age", "insults"]}

    def answer(**more: Any) -> str:
        return str(server.post(CHAT, **asked, **more).json["choices"][0]["message"]["content"])

    assert answer(debias="self", debias_strength=0) == answer()
    assert answer(debias="self", debias_strength=5000) != answer()
    options = {name: value for name, value in asked.items() if name not in ("model", "messages")}
    ollama = {"model": "tiny", "messages": HELLO, "stream": False}
    options |= {"debias": "self", "debias_strength": 5000}
    found = server.post("/api/chat", **ollama, options=options).json["message"]["content"]
    assert found == answer(debias="self", debias_strength=5000)
    assert server.post(CHAT, **asked, debias="much").status == 400
