"""An engine over a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model, ModelOptions, load_model


@pytest.fixture
def engine(tiny_model: Path) -> Iterator[Engine]:
    """A context of 256 tokens that reads prompts 32 tokens at a time."""
    model = load_model([tiny_model], ModelOptions())
    with Engine(model, Context(model, ContextOptions(256, threads=1, batch_size=32))) as engine:
        yield engine
    model.close()


@pytest.fixture
def model(engine: Engine) -> Model:
    return engine.model
