"""The description of the whole interface, as OpenAPI 3.1 has it."""

from __future__ import annotations

import functools
import re
from typing import Any

from llmasos import __version__
from llmasos.server.access import OPEN_PATHS
from llmasos.server.openapi.operations import EVENTS, JSON, Operation, operations
from llmasos.server.openapi.responses import RESPONSES
from llmasos.server.openapi.schemas import OBJECT, STRING, Schema, obj, ref

DESCRIPTION = (
    "Models on this machine, for programs that speak OpenAI's, Ollama's or llama-server's language. "
    "null in a body is as if nothing were said."
)
STATUSES = {
    400: "The request can't be: it says why.",
    401: "A key is needed, or is not one of this server's.",
    403: "The host name, or the page that asks, is not let in.",
    404: "There is no such model.",
    408: "The request did not come in time.",
    413: "The request is too long.",
    429: "Too many of this key are being answered.",
    500: "Something failed.",
    503: "Too many wait; a later try may work.",
    504: "Nothing came of it in time.",
}
TEXTS = {"/": "text/plain", "/docs": "text/html"}


@functools.cache
def document() -> dict[str, Any]:
    """Of every route. Don't change it."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    keys = {
        "key": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmasos",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": {**RESPONSES, "Description": OBJECT}, "securitySchemes": keys},
    }


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{re.sub('[^a-z0-9]+', '_', operation.path)}".rstrip("_"),
        "tags": [operation.tag],
        "responses": _responses(operation),
        "security": [] if operation.path in OPEN_PATHS else [{"key": []}, {"header": []}, {}],
    }
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {operation.takes: {"schema": operation.body}}}
    return described


def _event(pieces: str) -> Schema:
    """Of server-sent events, as OpenAPI 3.2 has it too."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": ref(pieces)}
    return obj({"data": data}, description="An event; what comes last may be [DONE].")


def _parameters(operation: Operation) -> list[Schema]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": STRING}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    return [*in_path, *({"name": name, "in": "query", "schema": STRING} for name in operation.query)]


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.result:
        content[JSON] = {"schema": ref(operation.result)}
    if operation.pieces:
        is_events = operation.stream_type == EVENTS
        content[operation.stream_type] = {"schema": _event(operation.pieces) if is_events else ref(operation.pieces)}
    if operation.path in TEXTS:
        content[TEXTS[operation.path]] = {"schema": STRING}
    told = "The response" + (", or with stream its pieces." if operation.pieces else ".")
    responses: dict[str, Any] = {
        str(operation.status): {"description": told, **({"content": content} if content else {})}
    }
    if operation.path not in OPEN_PATHS:
        failed = {"content": {JSON: {"schema": ref(operation.errors_as)}}} if operation.method != "HEAD" else {}
        for status in sorted({401, 403, *operation.errors}):
            responses[str(status)] = {"description": STATUSES[status], **failed}
    return responses
