"""What a server says is wrong, as an error of ours with the exit code that it would have had here. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmasos.errors import (
    AccessDeniedError,
    BadInputError,
    BusyError,
    DoesNotFitError,
    LlmasosError,
    ModelNotFoundError,
    TryAgainError,
    UsageError,
)

BY_EXIT_CODE: Mapping[int, type[LlmasosError]] = {
    each.exit_code: each for each in (LlmasosError, UsageError, DoesNotFitError, BadInputError, TryAgainError)
}
BY_STATUS: Mapping[int, type[LlmasosError]] = {
    400: BadInputError,
    401: AccessDeniedError,
    403: AccessDeniedError,
    408: TryAgainError,
    413: BadInputError,
    429: BusyError,
    502: TryAgainError,
    503: BusyError,
    504: TryAgainError,
}
KEY_HINT = "put the server's key into the environment as LLMASOS_API_KEY"


def error_of(status: int, body: Any, model: str | None = None) -> LlmasosError:
    """The error that a response tells; `model` is what was asked for. 200 is for one within a stream."""
    told = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(told, Mapping):  # Ollama's way of telling errors
        told = {"message": told} if isinstance(told, str) else {}
    message = str(told.get("message") or f"the server answers with status {status}")
    hint = told.get("hint")
    if isinstance(hint, str):
        message = message.removesuffix(f"; {hint}")
    else:
        hint = KEY_HINT if status == 401 else None
    if model is not None and (told.get("code") == "model_not_found" or (status == 404 and "model" in message)):
        return ModelNotFoundError(model, message=message, hint="`llmasos list`, on the server, shows what is there")
    kind = BY_EXIT_CODE.get(code) if type(code := told.get("exit_code")) is int else None
    if told.get("code") == "rate_limit_exceeded":
        kind = BusyError
    return (kind or BY_STATUS.get(status, LlmasosError))(message, hint=hint)
