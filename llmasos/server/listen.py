"""Listening: the door to uvicorn, which speaks HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from llmasos.errors import LlmasosError
from llmasos.server.access import access_of
from llmasos.server.app import build_app
from llmasos.server.certificate import require_certificate
from llmasos.server.models import Models
from llmasos.server.options import ServeOptions, address_of
from llmasos.server.protocol import Protocol

SECONDS_TO_FINISH = 30  # for the answers under way, once the server is told to end
SECONDS_KEPT_ALIVE = 75  # longer than a proxy keeps a connection: whoever closes it first can't lose a request
WAITING_CONNECTIONS = 2048
MOST_FILES = 65_536


def serve(options: ServeOptions, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C, and finishes the answers under way, unless a second one comes.

    `ready` is told the address. Raises UsageError and BadInputError for options that can't be, LlmasosError for an
    address that can't be had.
    """
    app = build_app(options, access_of(options), Models(options))
    require_certificate(options.tls_certificate, options.tls_key)
    _allow_many_files()
    logging.getLogger("uvicorn.error").addFilter(_is_fault)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
        timeout_keep_alive=SECONDS_KEPT_ALIVE,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    with _listening(options) as listening:
        ready(address_of(options, None if options.socket else listening.getsockname()[1]))
        _Server(config).run(sockets=[listening])
    if options.socket:
        Path(options.socket).unlink(missing_ok=True)


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal lets answers finish, a second one does not."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether it is of our own making: not a client's that speaks no HTTP, nor the end of what the server did."""
    return record.exc_info is not None and not isinstance(record.exc_info[1], asyncio.CancelledError)


def _allow_many_files() -> None:
    """As many connections as the system lets this user have; usually only 1,024 are until a program asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, MOST_FILES) if most > 0 else MOST_FILES, most))


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
