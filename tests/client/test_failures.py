"""What servers say to be wrong, as the errors that there would have been here."""

from __future__ import annotations

import pytest

from llmasos import errors
from llmasos.client.failures import error_of
from llmasos.openai.failures import failure


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("wrong", hint="otherwise"),
        errors.BadInputError("bad"),
        errors.PromptTooLongError(9, 8),
        errors.DoesNotFitError("large"),
        errors.ModelNotFoundError("x", near=["y"]),
        errors.BusyError("busy", hint="later"),
        errors.NetworkError("gone"),
        errors.LlmasosError("failed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_exit_code_and_its_message_on_the_way(error: errors.LlmasosError):
    told = error_of(*failure(error), "x")
    assert (told.exit_code, told.message) == (error.exit_code, error.message)
    assert told.hint == error.hint or isinstance(error, errors.ModelNotFoundError)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, {"error": "model 'x' not found"}, errors.ModelNotFoundError, "model 'x' not found"),
        (404, {"error": {"message": "there is nothing at /a"}}, errors.LlmasosError, "there is nothing at /a"),
        (401, {"error": {"message": "an API key is needed"}}, errors.AccessDeniedError, "an API key is needed"),
        (503, {"error": "busy"}, errors.BusyError, "busy"),
        (502, None, errors.TryAgainError, "the server answers with status 502"),
        (500, "<html>", errors.LlmasosError, "the server answers with status 500"),
        (413, {"error": {"message": "long", "exit_code": "x"}}, errors.BadInputError, "long"),
    ],
)
def test_whatever_a_server_says_becomes_an_error(status, body, kind, message):
    error = error_of(status, body, "x")
    assert (type(error), error.message) == (kind, message)


def test_whoever_is_not_let_in_is_told_where_the_key_belongs():
    assert "LLMASOS_API_KEY" in (error_of(401, {"error": {"message": "no"}}).hint or "")
