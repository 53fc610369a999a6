"""Errors as OpenAI's interface tells them."""

from __future__ import annotations

import pytest

from llmasos import errors
from llmasos.openai.failures import LONGEST_MESSAGE, failure


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (errors.PromptTooLongError(9, 8), 400, "invalid_request_error", "context_length_exceeded"),
        (errors.BadInputError("bad"), 400, "invalid_request_error", None),
        (errors.UsageError("wrong"), 400, "invalid_request_error", None),
        (errors.ModelNotFoundError("x"), 404, "not_found_error", "model_not_found"),
        (errors.BusyError("busy"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (errors.NetworkError("gone"), 503, "unavailable_error", None),
        (errors.LlmasosError("failed"), 500, "server_error", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_has_a_status_and_a_kind(error, status, kind, code):
    found, body = failure(error)
    assert (found, body["error"]["type"], body["error"]["code"]) == (status, kind, code)
    assert body["error"]["message"].startswith(error.message)


def test_a_message_is_never_as_long_as_what_it_quotes():
    _, body = failure(errors.BadInputError("x" * 100_000))
    assert len(body["error"]["message"]) == LONGEST_MESSAGE
