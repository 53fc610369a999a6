"""What can be set of a server: where it listens, whom it lets in, how much it takes on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmasos.engine.options import INT32
from llmasos.errors import UsageError
from llmasos.settings import option
from llmasos.units import parse_bytes

PORT = 11435  # beside Ollama's 11434, so that both can run
FOR_EVER = -1.0
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """None means: chosen for this machine, or not at all."""

    host: str = option("127.0.0.1", "The address to listen at. Any but this machine's own needs --api-key.")
    port: int = option(PORT, "The port to listen at; 0 for any that is free.", minimum=0, maximum=65535)
    socket: str | None = option(None, "Listen at this Unix socket instead.")
    tls_certificate: str | None = option(None, "A file with the certificate, to be spoken to by https.")
    tls_key: str | None = option(None, "The file with the certificate's key.")
    api_key: tuple[str, ...] = option((), "Who shows this key is let in. Again for more keys.")
    api_key_file: str | None = option(None, "A file with such keys, one a line.")
    insecure: bool = option(False, "Listen at other addresses than this machine's own without a key.")
    allow_host: tuple[str, ...] = option(
        (), "Answer to this name too; others are refused, since a web page could stand behind them. Again for more."
    )
    allow_origin: tuple[str, ...] = option(
        (), "Let web pages from this origin ask, such as https://chat.example; * for all. Again for more."
    )
    keep_alive: str = option("5m", "How long a model stays in memory unused, such as 30s, 1h, 0, or -1 for ever.")
    parallel: int = option(8, "Requests that one model works on at a time.", minimum=1, maximum=256)
    max_models: int | None = option(None, "Models in memory at a time, at most.", minimum=1, maximum=1000)
    max_queue: int = option(512, "Requests that may wait; more are told to come again.", minimum=0, maximum=100_000)
    max_requests_per_key: int | None = option(
        None, "Requests of one key, or address, that are answered at a time.", minimum=1, maximum=100_000
    )
    max_body: str = option("32M", "The largest request that is read.")
    max_load_seconds: float = option(
        600.0, "Loading a model may take so long, waiting for room in memory included.", minimum=0, maximum=INT32
    )
    max_request_seconds: float | None = option(
        None,
        "End an answer so many seconds after its model is there, its turn to come included.",
        minimum=0,
        maximum=INT32,
    )
    pull: bool = option(False, "Pull models that are asked for and not here.")


def seconds_of(text: str | float) -> float:
    """A duration as Ollama and Go write it (`5m`, `1h30m`), or a number of seconds; FOR_EVER if it is below 0.

    Raises UsageError for what is none.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise UsageError(f"{text!r} is no duration", hint="such as 5m, 30s, 0, or -1 for ever")
    try:
        seconds = float(text)
    except ValueError:
        seconds = _parsed(str(text))
    if not abs(seconds) < 1e12:
        raise UsageError(f"`{text}` is no duration", hint="such as 5m, 30s, 0, or -1 for ever")
    return FOR_EVER if seconds < 0 else seconds


def _parsed(text: str) -> float:
    unsigned = text.strip().lstrip("+-")
    parts = list(_DURATION.finditer(unsigned))
    if not parts or "".join(part[0] for part in parts) != unsigned:
        raise UsageError(f"`{text}` is no duration", hint="such as 5m, 30s, 0, or -1 for ever")
    seconds = sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)
    return -seconds if text.strip().startswith("-") else seconds


def address_of(options: ServeOptions, port: int | None = None) -> str:
    """Where it serves, as a client names it; `port` is the one that it got where any was asked for."""
    if options.socket:
        return f"unix:{options.socket}"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{'https' if options.tls_certificate else 'http'}://{host}:{port or options.port}"


def largest_body(options: ServeOptions) -> int:
    """In bytes."""
    return parse_bytes(options.max_body)
