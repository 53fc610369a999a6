"""Fixtures: a home with two tiny models, and servers over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmasos.pull import pull

from .serving import Served, served
from .tiny import TinyModel


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, make_tiny) -> Path:
    """It holds `tiny` and `org/other:small`."""
    home = tmp_path_factory.mktemp("served") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMASOS_HOME", str(home))
        pull(str(tiny_model), name="tiny")
        pull(str(make_tiny(TinyModel(seed=5))), name="org/other:small")
    return home


@pytest.fixture
def served_home(home: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))
    monkeypatch.setenv("LLMASOS_THREADS", "1")
    return shared_home


@pytest.fixture
def server(served_home: Path) -> Iterator[Served]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def shared_server(shared_home: Path) -> Iterator[Served]:
    """For tests that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMASOS_HOME", str(shared_home))
        patch.setenv("LLMASOS_THREADS", "1")
        with served("--max-body", "1M") as server:
            yield server
