"""OpenAI's interface to a tiny model, answered by an engine over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.sequence import Answer
from llmasos.openai.asked import Stamp
from llmasos.openai.bodies import Defaults
from llmasos.openai.interface import TextInterface

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Iterator[Model]:
    model = load_model([tiny_model], ModelOptions())
    yield model
    model.close()


@pytest.fixture
def interface(model: Model) -> TextInterface:
    return TextInterface(model, model.template, "tiny", Defaults())


@pytest.fixture(scope="session")
def engine(model: Model) -> Iterator[Engine]:
    with Engine(model, Context(model, ContextOptions(1024, threads=1, parallel=4, cells=2048))) as engine:
        yield engine


@pytest.fixture
def ask(interface: TextInterface, engine: Engine, model: Model) -> Ask:
    """`ask("/v1/completions", {"prompt": "a"})` is the whole response."""

    def answered(path: str, body: dict[str, Any]) -> dict[str, Any]:
        asked = interface.ask(path, body)
        sequences = [
            engine.submit(prompt, sampling, asked.limits, asked.beams, scores=asked.scores, shown=asked.shown)
            for prompt, sampling in asked.sequences()
        ]
        return asked.response([finished(each) for each in sequences], Stamp("7", 1_700_000_000, "tiny"), model.piece)

    return answered


def finished(sequence: Any) -> Answer:
    list(sequence)
    assert sequence.answer is not None
    return sequence.answer  # type: ignore[no-any-return]
