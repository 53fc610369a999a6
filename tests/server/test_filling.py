"""Filling in the middle, beams and the best of several, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from doubles.serving import Served, served
from doubles.tiny import FILLING, TinyModel
from llmasos.pull import pull
from llmasos.server.openapi.document import document

pytestmark = pytest.mark.timeout(180)
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello"}]
FIXED = {"temperature": 0, "max_tokens": 8}
GAP = {"input_prefix": "def f():\n", "input_suffix": "\nf()", **FIXED}


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory, make_tiny) -> Iterator[Served]:
    """Its one model can fill in."""
    home: Path = tmp_path_factory.mktemp("coder") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMASOS_HOME", str(home))
        patch.setenv("LLMASOS_THREADS", "1")
        pull(str(make_tiny(TinyModel(controls=FILLING))), name="coder")
        with served() as server:
            yield server


def test_a_gap_is_filled_whole_and_streamed(coder: Served):
    whole = coder.post("/infill", **GAP).json  # llama-server's clients name no model: there is one
    assert (whole["model"], whole["stop"]) == ("coder", True)
    described = {"$ref": "#/components/schemas/Infill", "components": document()["components"]}
    jsonschema.Draft202012Validator({**described, "unevaluatedProperties": False}).validate(whole)
    streamed = coder.post("/infill", stream=True, n_probs=1, **GAP)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *pieces, end = streamed.events  # and none of them is [DONE]
    assert "".join(piece["content"] for piece in pieces) == whole["content"]
    assert not any(piece["stop"] for piece in pieces)
    assert (end["stop"], end["content"], end["tokens_predicted"]) == (True, "", whole["tokens_predicted"])
    scored = [entry for piece in [*pieces, end] for entry in piece.get("completion_probabilities", [])]
    assert len(scored) == whole["tokens_predicted"]
    refused = coder.post("/infill", input_prefix="a")
    assert (refused.status, refused.json["error"]["code"]) == (400, 400)


def test_a_suffix_is_the_same_question_in_all_interfaces(coder: Served):
    told = coder.post("/infill", **GAP).json["content"]
    completed = coder.post(COMPLETIONS, model="coder", prompt="def f():\n", suffix="\nf()", **FIXED).json
    assert completed["choices"][0]["text"] == told
    asked = {"model": "coder", "prompt": "def f():\n", "suffix": "\nf()", "stream": False}
    generated = coder.post("/api/generate", options={"temperature": 0, "num_predict": 8}, **asked).json
    assert generated["response"] == told
    assert "insert" in coder.post("/api/show", model="coder").json["capabilities"]


def test_models_that_can_not_fill_in_say_so(shared_server: Served):
    for path, body in (
        ("/infill", {**GAP}),
        (COMPLETIONS, {"prompt": "a", "suffix": "b"}),
        ("/api/generate", {"prompt": "a", "suffix": "b"}),
    ):
        refused = shared_server.post(path, model="tiny", **body)
        assert refused.status == 400
        assert "fill in" in str(refused.json) or "does not support insert" in refused.json["error"]
    assert "insert" not in shared_server.post("/api/show", model="tiny").json["capabilities"]


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": HELLO}), (COMPLETIONS, {"prompt": ["a", "b"]})])
def test_beams_are_streamed_at_their_end(shared_server: Served, path: str, body: dict[str, object]):
    asked = {"model": "tiny", "num_beams": 3, "n": 2, **FIXED, **body}
    whole = shared_server.post(path, **asked).json
    *events, usage, _ = shared_server.post(path, stream=True, stream_options={"include_usage": True}, **asked).events
    assert usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    said: dict[int, str] = {}
    for event in events:
        [choice] = event["choices"]
        text = choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
        said[choice["index"]] = said.get(choice["index"], "") + text
    told = [choice.get("text", choice.get("message", {}).get("content")) for choice in whole["choices"]]
    assert [said[number] for number in sorted(said)] == told
    assert len(told) == (2 if path == CHAT else 4)


def test_beams_are_no_more_than_go_on_at_a_time(shared_server: Served):
    refused = shared_server.post(COMPLETIONS, model="tiny", prompt="a", num_beams=9)
    assert refused.status == 400
    assert "9 beams are more than the 8" in refused.json["error"]["message"]


def test_streams_whose_ends_have_the_figures_have_no_event_for_them(shared_server: Served):
    asked = {"model": "tiny", "prompt": "a", "options": {"num_predict": 2}, "stream_options": {"include_usage": True}}
    *_, end = shared_server.post("/api/generate", **asked).body.splitlines()
    assert json.loads(end)["done"] is True
