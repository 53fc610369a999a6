"""What a client is told when something is wrong, in the form of the interface that it speaks."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from llmasos.errors import BusyError, LlmasosError, TryAgainError
from llmasos.openai.failures import failure

SOON = {"Retry-After": "1"}  # seconds
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}


def told(status: int, message: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal that is no error of a model."""
    body = {"error": {"message": message, "type": KINDS.get(status, "server_error"), "param": None, "code": None}}
    return JSONResponse(body, status, headers=headers)


def failed(error: LlmasosError) -> JSONResponse:
    """What a model, or its loading, has failed of."""
    status, body = failure(error)
    return JSONResponse(body, status, headers=SOON if isinstance(error, BusyError | TryAgainError) else None)


def body_of(error: LlmasosError) -> dict[str, Any]:
    """The same in the middle of a stream, where the status has been sent."""
    return failure(error)[1]
