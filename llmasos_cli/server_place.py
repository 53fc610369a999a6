"""Which server a command turns to: the one that was named, or the one that `llmasos serve` would be here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmasos.client.options import ClientOptions, configured_key
from llmasos.errors import UsageError
from llmasos.server.options import PORT, ServeOptions, address_of
from llmasos.settings import configured, is_offline, layered

if TYPE_CHECKING:
    from llmasos.client.connection import Connection

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # at which no one can be asked


def named_server(flag: str | None) -> str | None:
    """The server of the flag, the environment or config.toml; None if the work is to be done here."""
    return layered(ClientOptions, *configured(ClientOptions), {"server": flag}).server or None


def connect(server: str | None, *, offline: bool = False) -> Connection:
    """A connection to that server, or to the one of this machine; nothing is asked of it yet."""
    from llmasos.client.address import parse_address
    from llmasos.client.connection import Connection

    address = parse_address(server or _own_address(), PORT)
    if not address.is_own and (offline or is_offline()):
        raise UsageError(f"the network is not to be used, and {address.text} is another machine", hint="leave out one")
    return Connection(address, configured_key())


def _own_address() -> str:
    """Where `llmasos serve` listens with the settings that there are."""
    options = layered(ServeOptions, *configured(ServeOptions))
    return address_of(replace(options, host=EVERYWHERE.get(options.host, options.host)))
