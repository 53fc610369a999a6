"""A server with real models, for programs of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.serving import served
from llmasos.convert import convert_to_store
from llmasos.pull import pull


@pytest.fixture
def address(home: Path, tmp_path: Path) -> Iterator[str]:
    """Of a server with `smollm2`, and `vectors`, which makes vectors."""
    pull("smollm2")
    convert_to_store(str(write_checkpoint(tmp_path / "bert", "bert")), "F32", name="vectors")
    with served() as server:
        yield f"http://127.0.0.1:{server.port}"
