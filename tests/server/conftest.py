"""A home with two tiny models, and servers over it."""

from __future__ import annotations

from doubles.served_home import served_home, server, shared_home, shared_server

__all__ = ["served_home", "server", "shared_home", "shared_server"]
