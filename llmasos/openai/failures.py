"""Errors as OpenAI's interface tells them: a status, and a body that says what was wrong. Pure."""

from __future__ import annotations

from typing import Any

from llmasos.errors import (
    BadInputError,
    BusyError,
    LlmasosError,
    ModelNotFoundError,
    PromptTooLongError,
    TimeUpError,
    TryAgainError,
    UsageError,
)

LONGEST_MESSAGE = 2000  # characters: a message may quote what was given
# The first that an error is one of.
KINDS: tuple[tuple[type[LlmasosError], int, str, str | None], ...] = (
    (PromptTooLongError, 400, "invalid_request_error", "context_length_exceeded"),
    (BadInputError, 400, "invalid_request_error", None),
    (UsageError, 400, "invalid_request_error", None),
    (ModelNotFoundError, 404, "not_found_error", "model_not_found"),
    (BusyError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (TimeUpError, 504, "timeout_error", None),
    (TryAgainError, 503, "unavailable_error", None),
    (LlmasosError, 500, "server_error", None),
)


def failure(error: LlmasosError) -> tuple[int, dict[str, Any]]:
    """The status and the body of a response that says what went wrong, and what would help."""
    status, kind, code = next(found for each, *found in KINDS if isinstance(error, each))
    message = f"{error.message}; {error.hint}" if error.hint else error.message
    told = {"message": message[:LONGEST_MESSAGE], "type": kind, "param": None, "code": code}
    told |= {"hint": error.hint and error.hint[:LONGEST_MESSAGE], "exit_code": error.exit_code}  # for our own client
    return int(str(status)), {"error": told}
