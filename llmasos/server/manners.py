"""How a client is spoken to: OpenAI's interface and Ollama's differ in how they stream, and in how they tell errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from starlette.responses import JSONResponse

from llmasos.errors import BusyError, LlmasosError, ModelNotFoundError
from llmasos.openai.failures import failure
from llmasos.openai.infill import INFILL

SOON = {"Retry-After": "1"}  # seconds
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
BUSY = "server busy, please try again.  maximum pending requests exceeded"  # Ollama's words, which clients look for


class Manner(ABC):
    """`streams` is whether a response is streamed of which the body does not say it."""

    streams: bool
    media_type: str
    ending: bytes

    @abstractmethod
    def line(self, piece: bytes) -> bytes:
        """A piece of a stream, of its JSON."""

    @abstractmethod
    def refusal(self, status: int, message: str) -> Any:
        """The body that says what is wrong with a request."""

    @abstractmethod
    def failure(self, error: LlmasosError) -> tuple[int, Any]:
        """The status and the body for what a model, or its loading, has failed of."""

    def told(self, status: int, message: str) -> JSONResponse:
        headers = SOON if status in (429, 503) else None
        return JSONResponse(self.refusal(status, message), status, headers=headers)

    def failed(self, error: LlmasosError) -> JSONResponse:
        status, body = self.failure(error)
        return JSONResponse(body, status, headers=SOON if status in (429, 503) else None)


class _OpenAi(Manner):
    """Server-sent events."""

    streams, media_type, ending = False, "text/event-stream", b"data: [DONE]\n\n"

    def line(self, piece: bytes) -> bytes:
        return b"data: " + piece + b"\n\n"

    def refusal(self, status: int, message: str) -> Any:
        return {"error": {"message": message, "type": KINDS.get(status, "server_error"), "param": None, "code": None}}

    def failure(self, error: LlmasosError) -> tuple[int, Any]:
        return failure(error)


class _LlamaServer(_OpenAi):
    """Nothing ends a stream but its last event, which says `stop`; errors have their status as code."""

    ending = b""

    def refusal(self, status: int, message: str) -> Any:
        return _with_code(super().refusal(status, message), status)

    def failure(self, error: LlmasosError) -> tuple[int, Any]:
        status, body = failure(error)
        return status, _with_code(body, status)


class _Ollama(Manner):
    """A JSON object a line."""

    streams, media_type, ending = True, "application/x-ndjson", b""

    def line(self, piece: bytes) -> bytes:
        return piece + b"\n"

    def refusal(self, status: int, message: str) -> Any:
        return {"error": BUSY if status == 503 else message}

    def failure(self, error: LlmasosError) -> tuple[int, Any]:
        status, body = failure(error)
        if isinstance(error, ModelNotFoundError):
            return 404, {"error": f"model '{error.reference}' not found"}
        return 503 if isinstance(error, BusyError) else status, {"error": body["error"]["message"]}


OPENAI, LLAMA_SERVER, OLLAMA = _OpenAi(), _LlamaServer(), _Ollama()


def manner_at(path: str) -> Manner:
    if path == INFILL:
        return LLAMA_SERVER
    return OLLAMA if path.startswith("/api/") else OPENAI


def _with_code(body: dict[str, Any], status: int) -> dict[str, Any]:
    return {"error": {**body["error"], "code": status}}
