"""Whom the server lets in: by name, by origin, by key. Pure decisions over what a request says of itself."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmasos.client.address import OWN_NAMES, is_loopback
from llmasos.client.options import keys_in
from llmasos.errors import UsageError
from llmasos.server.options import ServeOptions

ANY = "*"
# Which tell nothing of this server: for whoever watches over it, or looks for what can be asked.
OPEN_PATHS = frozenset(("/", "/health", "/v1/health", "/openapi.json", "/docs"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a request is answered that is not let in."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Access:
    """`digests` are of the keys; none lets everybody in. `hosts` and `origins` are let in beside this machine's own."""

    digests: tuple[bytes, ...] = ()
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def refuse(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request is not let in, or None. Header names are in small letters."""
        if not self.knows_host(headers.get("host", "")):
            return Refusal(403, "this server does not answer to that host name; --allow-host lets it")
        origin = headers.get("origin")
        if origin is not None and not self.knows_origin(origin):
            return Refusal(403, "pages from that origin may not ask this server; --allow-origin lets them")
        if method == "OPTIONS" or path in OPEN_PATHS or not self.digests:
            return None
        key = key_of(headers)
        if key is None:
            return Refusal(401, "an API key is needed: Authorization: Bearer KEY")
        return None if self.knows_key(key) else Refusal(401, "the API key is not one of this server's")

    def knows_key(self, key: str) -> bool:
        """Compares with every key, in a time that says nothing of them."""
        given = _digest(key)
        found = [hmac.compare_digest(given, digest) for digest in self.digests]
        return any(found)

    def knows_host(self, header: str) -> bool:
        """True for this machine's names, addresses by number, and the names allowed. No page could be bound to these.

        That is how DNS rebinding works: a page's own name, made to lead to this machine, lets its scripts ask here.
        """
        host = _host_name(header)
        if not host or host in OWN_NAMES or host.endswith(".localhost") or ANY in self.hosts or host in self.hosts:
            return True
        own = socket.gethostname().lower()
        if host in (own, f"{own}.local"):
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def knows_origin(self, origin: str) -> bool:
        """True for pages of this machine, such as a developer's, and those allowed."""
        if ANY in self.origins or origin.lower() in self.origins:
            return True
        try:
            host = urlsplit(origin).hostname or ""
        except ValueError:
            return False
        return is_loopback(host)


def access_of(options: ServeOptions) -> Access:
    """Raises UsageError for an address that all could reach without a key, BadInputError for a file without keys."""
    keys = [*options.api_key, *keys_in(options.api_key_file)]
    if any(not key or not key.isascii() or key != key.strip() for key in keys):
        raise UsageError("an API key is of ASCII letters, without blanks around it")
    is_reachable = options.socket is None and not _is_own(options.host)
    if is_reachable and not keys and not options.insecure:
        raise UsageError(
            f"at {options.host} everybody who reaches this machine could use the server",
            hint="give a key with --api-key or --api-key-file, or say --insecure",
        )
    return Access(
        tuple(map(_digest, keys)),
        frozenset(name.lower() for name in options.allow_host),
        frozenset(origin.lower().rstrip("/") for origin in options.allow_origin),
    )


def key_of(headers: Mapping[str, str]) -> str | None:
    """The key that a request shows: `Authorization: Bearer`, or `X-Api-Key`."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key") or None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_own(host: str) -> bool:
    """True if only this machine reaches that address. Names below localhost lead wherever they are resolved to."""
    return is_loopback(host) and not host.lower().endswith(".localhost")
