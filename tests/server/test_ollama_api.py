"""`/api/*` as Ollama's clients meet it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from doubles.serving import Response, Served

pytestmark = pytest.mark.timeout(180)
HELLO = [{"role": "user", "content": "Hello"}]
OPTIONS = {"temperature": 0, "num_predict": 8}
FIGURES = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


def lines(response: Response) -> list[Any]:
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.body.splitlines()]


def test_a_chat_is_streamed_unless_it_is_not_wanted(shared_server: Served):
    asked = {"model": "tiny", "messages": HELLO, "options": OPTIONS}
    whole = shared_server.post("/api/chat", stream=False, **asked).json
    *pieces, end = lines(shared_server.post("/api/chat", **asked))
    assert "".join(piece["message"]["content"] for piece in pieces) == whole["message"]["content"]
    assert not any(piece["done"] for piece in pieces)
    for each in (whole, end):
        assert (each["model"], each["done"], each["message"]["role"]) == ("tiny", True, "assistant")
        assert each["done_reason"] in ("stop", "length")
        assert all(type(each[name]) is int for name in FIGURES)
    assert end["eval_count"] == whole["eval_count"] <= 8


def test_a_text_goes_on_behind_an_earlier_one(shared_server: Served):
    asked = {"model": "tiny", "stream": False, "options": OPTIONS}
    first = shared_server.post("/api/generate", prompt="Hello", **asked).json
    second = shared_server.post("/api/generate", prompt="And?", context=first["context"], **asked).json
    assert second["prompt_eval_count"] > len(first["context"])
    assert second["context"][: len(first["context"])] == first["context"]
    raw = shared_server.post("/api/generate", prompt="Hello", raw=True, **asked).json
    assert raw["prompt_eval_count"] < first["prompt_eval_count"]


def test_scores_and_shapes(shared_server: Served):
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    asked = {"model": "tiny", "messages": HELLO, "stream": False}
    shaped = shared_server.post("/api/chat", format=schema, options={"num_predict": 200}, **asked).json
    assert json.loads(shaped["message"]["content"])["a"] in ("x", "y")
    scored = shared_server.post("/api/chat", logprobs=True, top_logprobs=2, options=OPTIONS, **asked).json["logprobs"]
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in scored)


def test_models_are_told_as_ollama_tells_them(shared_server: Served):
    tags = {each["name"]: each for each in shared_server.ask("GET", "/api/tags").json["models"]}
    assert tags.keys() == {"tiny:latest", "org/other:small"}
    assert tags["tiny:latest"]["details"]["format"] == "gguf"
    assert len(tags["tiny:latest"]["digest"]) == 64
    shown = shared_server.post("/api/show", model="tiny").json
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    assert "tensors" not in shown
    assert shared_server.post("/api/show", name="tiny", verbose=True).json["tensors"][0]["shape"]
    assert (
        len(shared_server.post("/api/show", name="tiny", verbose=True).json["model_info"]["tokenizer.ggml.tokens"])
        > 250
    )
    assert shared_server.ask("GET", "/").body == b"Ollama is running"
    assert shared_server.ask("HEAD", "/").status == 200
    assert "version" in shared_server.ask("GET", "/api/version").json


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/chat", {"model": "nobody", "messages": HELLO}, 404, "model 'nobody' not found"),
        ("/api/generate", {"model": "nobody"}, 404, "model 'nobody' not found"),
        ("/api/show", {"model": "nobody"}, 404, "model 'nobody' not found"),
        ("/api/chat", "", 400, "missing request body"),
        ("/api/chat", "{", 400, "the body is no JSON"),
        (
            "/api/chat",
            {"model": "tiny", "messages": HELLO, "options": {"temperature": "hot"}},
            400,
            "temperature can't be",
        ),
        ("/api/chat", {"model": "tiny", "messages": HELLO, "format": "xml"}, 400, "invalid format"),
        ("/api/chat", {"model": "tiny", "messages": HELLO, "think": "often"}, 400, "invalid think value"),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "", "images": ["x"]}]}, 400, "images"),
        (
            "/api/generate",
            {"model": "tiny", "prompt": "a", "raw": True, "system": "b"},
            400,
            "raw mode does not support",
        ),
        ("/api/generate", {"model": "tiny", "prompt": "a", "suffix": "b"}, 400, "does not support insert"),
        ("/api/embed", {"model": "tiny", "input": "a"}, 400, "does not support embeddings"),
        ("/api/push", {"model": "tiny"}, 400, "gives no models away"),
        ("/api/pull", {"model": "/etc/passwd"}, 400, "can't be pulled by a request"),
        ("/api/pull", {"model": "http://127.0.0.1:9/x.gguf"}, 400, "can't be pulled by a request"),
        ("/api/create", {"model": "new", "from": "/etc/passwd"}, 400, "neither 'from' or 'files' was specified"),
        ("/api/create", {"model": "new", "modelfile": "FROM ./x.gguf"}, 400, "an installed model, not with a file"),
        ("/api/create", {"model": "new", "modelfile": "FROM tiny\nADAPTER /x"}, 400, "not with a file"),
        ("/api/create", {"model": "tiny", "from": "org/other:small"}, 500, "belongs to a model from"),
        ("/api/copy", {"source": "nobody", "destination": "x"}, 404, "model 'nobody' not found"),
        ("/api/nothing", {}, 404, "nothing at /api/nothing"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_errors_are_told_as_ollama_tells_them(shared_server: Served, path: str, body: Any, status: int, error: str):
    response = shared_server.ask("POST", path, body)
    assert response.status == status
    assert error in response.json["error"]


def test_what_a_client_sends_beside_is_passed_over(shared_server: Served):
    options = {**OPTIONS, "num_gpu": -1, "num_keep": 4, "main_gpu": 0, "mirostat_eta": 0.1, "penalize_newline": True}
    asked = {"model": "tiny", "messages": HELLO, "options": options, "keep_alive": "5m", "unknown": 1, "stream": False}
    assert shared_server.post("/api/chat", **asked).status == 200


def test_models_are_loaded_told_and_unloaded(server: Served):
    assert server.ask("GET", "/api/ps").json == {"models": []}
    assert server.post("/api/generate", model="tiny").json["done_reason"] == "load"
    [held] = server.ask("GET", "/api/ps").json["models"]
    assert (held["name"], held["context_length"], held["size_vram"]) == ("tiny:latest", 256, 0)
    assert server.post("/api/chat", model="tiny", messages=[], keep_alive=0).json["done_reason"] == "unload"
    assert server.ask("GET", "/api/ps").json == {"models": []}
    assert server.runners == []


def test_a_model_that_was_removed_from_the_disk_is_not_told(llmasos, server: Served):
    server.post("/api/copy", source="tiny", destination="gone")
    server.post("/api/generate", model="gone")
    assert llmasos("rm", "gone").exit_code == 0
    assert server.ask("GET", "/api/ps").json == {"models": []}


def test_models_are_copied_created_and_deleted(server: Served, tiny_model: Path):
    assert server.post("/api/copy", source="tiny", destination="copied").status == 200
    statuses = [
        line["status"]
        for line in lines(server.post("/api/create", model="made", **{"from": "copied"}, system="Be nice."))
    ]
    assert statuses[-1] == "success"
    assert server.post("/api/show", model="made").json["system"] == "Be nice."
    made = server.post("/api/create", name="made", modelfile="FROM tiny\nPARAMETER stop END", stream=False)
    assert made.json == {"status": "success"}
    assert server.post("/api/show", model="made").json["parameters"].split() == ["stop", '"END"']
    for name in ("copied", "made"):
        assert server.ask("DELETE", "/api/delete", {"model": name}).status == 200
    assert server.ask("DELETE", "/api/delete", {"model": "made"}).json["error"] == "model 'made' not found"


def test_a_model_is_made_of_a_file_that_was_sent(server: Served, tiny_model: Path):
    content = tiny_model.read_bytes() + b"\0"  # a file that is not here yet
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = f"/api/blobs/{digest}"
    assert server.ask("HEAD", path).status == 404
    assert server.ask("POST", path, content[:-2]).status == 400
    assert server.ask("POST", "/api/blobs/sha256:1", b"x").status == 400
    assert server.ask("HEAD", path).status == 404
    assert server.ask("POST", path, content).status == 201
    assert server.ask("HEAD", path).status == 200
    made = server.post("/api/create", model="sent", files={"model.gguf": digest}, stream=False)
    assert made.json == {"status": "success"}
    answer = server.post("/api/generate", model="sent", prompt="Hello", stream=False, options=OPTIONS)
    assert answer.json["eval_count"] > 0
    assert server.ask("DELETE", "/api/delete", {"model": "sent"}).status == 200


def test_a_pull_tells_its_steps_and_its_failure(server: Served):
    steps = lines(server.post("/api/pull", model="tiny"))
    assert [steps[0]["status"], steps[-1]["status"]] == ["pulling manifest", "success"]
    *_, failure = lines(server.post("/api/pull", model="nosuchmodel"))
    assert "can't be reached" in failure["error"]
