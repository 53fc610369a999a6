"""Servers with tiny models, and a command line that turns to them and has no model of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.served_home import served_home, server, shared_home, shared_server
from doubles.serving import Served

__all__ = ["served_home", "server", "shared_home", "shared_server"]


@pytest.fixture
def turn_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`turn_to(server)`: so does the command line from now on, with an empty home of its own."""

    def turn(server: Served) -> Served:
        monkeypatch.setenv("LLMASOS_HOME", str(tmp_path / "empty"))
        monkeypatch.setenv("LLMASOS_SERVER", f"http://127.0.0.1:{server.port}")
        return server

    return turn


@pytest.fixture
def at(server: Served, turn_to) -> Served:
    return turn_to(server)


@pytest.fixture
def at_shared(shared_server: Served, turn_to) -> Served:
    """For tests that leave the server as it was."""
    return turn_to(shared_server)
