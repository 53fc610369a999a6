"""`/openapi.json` and `/docs`: every route, every field that a reader knows, and responses that are as described."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from conftest import PROJECT
from doubles.serving import Served
from llmasos.openai import chat, completions, embeddings, infill, ranking
from llmasos.server.access import Access
from llmasos.server.app import build_app
from llmasos.server.models import LOADED_WITH, Models
from llmasos.server.openapi.document import document
from llmasos.server.options import ServeOptions

pytestmark = pytest.mark.timeout(180)
HELLO = [{"role": "user", "content": "Hello"}]
FIXED = {"temperature": 0, "max_tokens": 4}
READERS = {
    "/v1/chat/completions": chat.KNOWN,
    "/v1/completions": completions.KNOWN,
    "/v1/embeddings": embeddings.KNOWN,
    "/v1/rerank": ranking.KNOWN,
    "/infill": infill.KNOWN,
}
# Who reads which bodies, where no list of what is known says so.
OPEN_READERS = {
    "llmasos/ollama/bodies.py": ["/api/generate", "/api/chat", "/api/embed", "/api/embeddings"],
    "llmasos/ollama/interface.py": ["/api/embed", "/api/embeddings"],
    "llmasos/server/tokens.py": ["/tokenize", "/detokenize", "/apply-template"],
    "llmasos/server/making.py": ["/api/create", "/api/pull"],
    "llmasos/server/ollama_routes.py": ["/api/generate", "/api/chat", "/api/show", "/api/copy", "/api/create"],
    "llmasos/server/models.py": ["/api/generate", "/v1/chat/completions"],
    "llmasos/server/relay.py": ["/v1/chat/completions"],
    "llmasos/server/serving.py": ["/v1/chat/completions"],
    "llmasos/openai/chat.py": ["/v1/chat/completions"],
    "llmasos/openai/completions.py": ["/v1/completions"],
    "llmasos/openai/embeddings.py": ["/v1/embeddings"],
    "llmasos/openai/ranking.py": ["/v1/rerank"],
    "llmasos/openai/infill.py": ["/infill"],
    "llmasos/openai/bodies.py": ["/v1/chat/completions"],
}


def body_at(path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return found


def names_read_in(path: Path) -> Iterator[str]:
    """The fields that code asks a body for: `body.get("a")`, `body["a"]`, `read_field(body, "a", …)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript) and _is_body(node.value):
            yield from _texts([node.slice])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_body(node.func.value):
            yield from _texts(node.args[:1])
        elif isinstance(node, ast.Call) and node.args and _is_body(node.args[0]):
            yield from _texts(node.args[1:2])


def _is_body(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "body"


def _texts(nodes: list[ast.expr]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def validator(name: str, **others: bool) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    )


def test_every_route_is_described_and_nothing_else():
    options = ServeOptions()
    app = build_app(options, Access(), Models(options))
    assert isinstance(app, Starlette)
    routes = {
        (method, re.sub(r":\w+}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD" or route.methods == {"HEAD"}
    }
    described = {(method.upper(), path) for path, found in document()["paths"].items() for method in found}
    assert described == routes


@pytest.mark.parametrize("path", READERS)
def test_every_field_that_a_reader_knows_is_described_and_no_other(path: str):
    body = body_at(path)
    assert body["additionalProperties"] is False
    assert READERS[path] | LOADED_WITH <= body["properties"].keys()
    assert all(schema.get("description") or schema.keys() & {"anyOf", "type"} for schema in body["properties"].values())


@pytest.mark.parametrize("file", OPEN_READERS)
def test_every_field_that_code_asks_for_is_described(file: str):
    described = {name for path in OPEN_READERS[file] for name in body_at(path)["properties"]}
    read = set(names_read_in(PROJECT / file))
    assert read
    assert read - described == set()


def test_no_reader_of_bodies_is_forgotten():
    folders = [PROJECT / "llmasos" / name for name in ("server", "openai", "ollama")]
    reading = {
        path.relative_to(PROJECT).as_posix()
        for folder in folders
        for path in folder.rglob("*.py")
        if "openapi" not in path.parts and set(names_read_in(path))
    }
    assert reading - OPEN_READERS.keys() - {"llmasos/server/manners.py"} == set()


def test_schemas_are_schemas_and_all_that_is_referred_to_is_there():
    schemas = document()["components"]["schemas"]
    for schema in [*schemas.values(), *map(body_at, READERS)]:
        jsonschema.Draft202012Validator.check_schema(schema)
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(document())))
    assert referred <= schemas.keys()
    assert schemas.keys() <= referred | {"Description"}


def test_defaults_and_limits_are_those_of_the_options():
    temperature = body_at("/v1/completions")["properties"]["temperature"]
    assert (temperature["default"], temperature["minimum"], temperature["maximum"]) == (0.8, 0, 100)
    assert temperature["type"] == ["number", "null"]
    assert "Another name for max_tokens" in body_at("/v1/completions")["properties"]["n_predict"]["description"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO, "logprobs": True, "top_logprobs": 1, **FIXED}),
        ("/v1/completions", {"prompt": ["a", "b"], "logprobs": 1, "echo": True, **FIXED}),
        ("/v1/completions", {"prompt": "a", "num_beams": 2, **FIXED}),
        ("/tokenize", {"content": "a", "with_pieces": True}),
        ("/detokenize", {"tokens": [65]}),
        ("/apply-template", {"messages": HELLO}),
        ("/api/generate", {"prompt": "a", "options": {"num_predict": 3}, "logprobs": True, "stream": False}),
        ("/api/chat", {"messages": HELLO, "options": {"num_predict": 3}, "stream": False}),
        ("/api/show", {}),
        ("/api/show", {"verbose": True}),
    ],
)
def test_bodies_and_responses_are_as_described(shared_server: Served, path: str, body: dict[str, Any]):
    asked = {"model": "tiny", **body}
    components = {"components": document()["components"]}
    jsonschema.Draft202012Validator({**body_at(path), **components}).validate(asked)
    response = shared_server.post(path, **asked)
    described = document()["paths"][path]["post"]["responses"][str(response.status)]["content"]["application/json"]
    jsonschema.Draft202012Validator({**described["schema"], **components}).validate(response.json)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny", "/api/tags", "/api/ps", "/api/version", "/health"])
def test_what_is_only_read_is_as_described(shared_server: Served, path: str):
    operation = document()["paths"]["/v1/models/{name}" if path.endswith("tiny") else path]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    components = {"components": document()["components"]}
    jsonschema.Draft202012Validator({**schema, **components}).validate(shared_server.ask("GET", path).json)


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        ("/v1/chat/completions", "ChatCompletionChunk", {"messages": HELLO, "stream_options": {"include_usage": True}}),
        ("/v1/completions", "Completion", {"prompt": "a", "logprobs": 0}),
    ],
)
def test_pieces_of_streams_are_as_described(shared_server: Served, path: str, name: str, body: dict[str, Any]):
    *events, _ = shared_server.post(path, model="tiny", stream=True, **FIXED, **body).events
    for event in events:
        validator(name).validate(event)


@pytest.mark.parametrize(("path", "name"), [("/v1/completions", "Error"), ("/api/chat", "OllamaError")])
def test_errors_are_as_described(shared_server: Served, path: str, name: str):
    validator(name).validate(shared_server.post(path, model="nobody").json)


def test_the_page_has_every_route_and_needs_nothing_else(shared_server: Served):
    response = shared_server.ask("GET", "/docs")
    assert response.headers["content-type"].startswith("text/html")
    text = response.body.decode()
    assert all(path in text for path in document()["paths"])
    assert "num_beams" in text
    assert not re.search(r"<script|src=|@import|url\(|https?://", text)
    assert set(re.findall(r"href='#(\w+)'", text)) <= set(re.findall(r"id='(\w+)'", text))
    assert shared_server.ask("GET", "/openapi.json").json["openapi"] == "3.1.0"
