"""A tiny model, and an engine over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model, ModelOptions, load_model


@pytest.fixture
def model(tiny_model: Path) -> Iterator[Model]:
    model = load_model([tiny_model], ModelOptions())
    yield model
    model.close()


@pytest.fixture
def engine(model: Model) -> Iterator[Engine]:
    """A context of 256 tokens that reads prompts 32 tokens at a time."""
    with Engine(model, Context(model, ContextOptions(256, threads=1, batch_size=32))) as engine:
        yield engine
