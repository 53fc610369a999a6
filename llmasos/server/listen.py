"""Listening: the door to uvicorn, which speaks HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from llmasos.errors import LlmasosError
from llmasos.server.access import access_of
from llmasos.server.app import build_app
from llmasos.server.models import Models
from llmasos.server.options import ServeOptions, address_of

SECONDS_TO_FINISH = 30  # for the answers under way, once the server is told to end
WAITING_CONNECTIONS = 2048


def serve(options: ServeOptions, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C, and finishes the answers under way. `ready` is told the address.

    Raises UsageError and BadInputError for options that can't be, LlmasosError for an address that can't be had.
    """
    app = build_app(options, access_of(options), Models(options))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:
        raise LlmasosError(
            f"the certificate can't be used: {error}", hint="see --tls-certificate, --tls-key"
        ) from error
    with _listening(options) as listening, _signals_spent():
        ready(address_of(options, None if options.socket else listening.getsockname()[1]))
        uvicorn.Server(config).run(sockets=[listening])
    if options.socket:
        Path(options.socket).unlink(missing_ok=True)


@contextlib.contextmanager
def _signals_spent() -> Iterator[None]:
    """Uvicorn raises the signal that ended it once more: it is ignored, as all that it asks for is done by then."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listening(options: ServeOptions) -> socket.socket:
    try:
        if options.socket:
            return _at_path(Path(options.socket))
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listening = socket.create_server((options.host, options.port), family=family, backlog=WAITING_CONNECTIONS)
    except (OSError, OverflowError) as error:
        place = options.socket or f"{options.host}:{options.port}"
        errno = getattr(error, "errno", None)
        reason = os.strerror(errno) if errno and errno > 0 else error
        raise LlmasosError(
            f"can't listen at {place}: {reason}", hint="another --port, or stop what is there"
        ) from error
    return listening


def _at_path(path: Path) -> socket.socket:
    """A Unix socket for its owner alone. One that a killed server left behind is replaced."""
    listening = socket.socket(socket.AF_UNIX)
    if path.is_socket() and not _is_answered(path):
        path.unlink()
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(WAITING_CONNECTIONS)
    return listening


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0
