"""Schemathesis at `llmasos serve`: by its own description no request makes it fail, and responses are as described."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from doubles.serving import served
from doubles.tiny import FILLING, TinyModel
from llmasos.pull import pull
from llmasos.server.openapi.document import document
from llmasos.server.openapi.fields import LOADED_BY

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
EXAMPLES = 100  # of each operation, of what is allowed and of what is not: about a minute in all
OF_THE_NETWORK, OF_THE_MODEL = "/api/pull", "/api/delete"  # what others are and have is no matter of this server


@pytest.fixture
def coder(home: Path, make_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LLMASOS_THREADS", "1")
    pull(str(make_tiny(TinyModel(controls=FILLING))), name="tiny")
    with served("--max-request-seconds", "2") as server:  # a request may ask for an answer without an end
        yield f"http://127.0.0.1:{server.port}"


def described() -> dict[str, Any]:
    """The description, with the one model's name, and without what would load it anew each time."""
    told = copy.deepcopy(document())
    for path in (OF_THE_NETWORK, OF_THE_MODEL):
        del told["paths"][path]
    for operations in told["paths"].values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _narrow(content["schema"].get("properties", {}))
    return told


def _narrow(properties: dict[str, Any]) -> None:
    for name in {*LOADED_BY, "keep_alive"}:
        properties.pop(name, None)
    for name in ("model", "name", "source"):
        if name in properties:
            properties[name] = {"const": "tiny"}


def is_late(response: Any, check: Any) -> bool:
    """Whether more answers were asked for than can begin in time: then to say so is no failure."""
    return response.status_code == 504 and check is not_a_server_error


def test_no_request_makes_it_fail(coder: str):
    schema = openapi.from_dict(described())
    asked = 0
    for each in schema.get_all_operations():
        operation = each.ok()
        takes_json = "application/json" in operation.get_request_payload_content_types()
        for mode in MODES if takes_json and operation.method == "post" else MODES[:1]:

            @settings(
                max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                response = case.call(base_url=coder, timeout=60)
                case.validate_response(response, checks=[check for check in CHECKS if not is_late(response, check)])

            ask()
    assert asked > 30 * EXAMPLES
