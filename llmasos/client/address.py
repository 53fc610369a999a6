"""Where a server is: what a person types, as an address to connect to. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmasos.errors import UsageError

UNIX = "unix:"
OWN_NAMES = ("localhost", "ip6-localhost")
EXAMPLES = "such as http://127.0.0.1:11435, or unix:/run/user/1000/llmasos.sock"


@dataclass(frozen=True, slots=True)
class Address:
    """`text` is for people; requests go to paths below `base`, through the Unix socket at `socket` if there is one."""

    text: str
    base: str
    socket: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether the server is on this machine, so that no proxy leads there."""
        return self.socket is not None or is_loopback(urlsplit(self.base).hostname or "")


def parse_address(text: str, default_port: int) -> Address:
    """Raises UsageError for what is no address. Without a scheme it is http; /v1 at the end may be there or not."""
    text = text.strip()
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path:
            raise UsageError("there is no path behind unix:", hint=EXAMPLES)
        return Address(text, "http://localhost", path)
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"`{text}` is no address of a server: {error}", hint=EXAMPLES) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise UsageError(f"`{text}` is no address of a server", hint=EXAMPLES)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None and "://" not in text:
        port = default_port
    path = parts.path.rstrip("/").removesuffix("/v1")
    base = f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"
    return Address(base, base)


def is_loopback(host: str) -> bool:
    """True if only this machine has that name or number."""
    if host.lower() in OWN_NAMES or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
