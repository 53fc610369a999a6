"""Reproducible mode on a real model: eight at once get the very numbers of eight alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmasos import LLM, TokenScore

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a",
    "def fibonacci(n):",
    "Water boils at",
    "List of colours: red,",
    "The sea is " + "wide and deep and " * 40,
    "a",
    "The sea is " + "wide and deep and " * 20,
]


@pytest.fixture
def model(home: Path):
    with LLM.from_pretrained("smollm2", deterministic=True, context_length=512) as model:
        yield model


def test_together_as_alone(model: LLM):
    alone = [model.generate(prompt, max_new_tokens=24) for prompt in PROMPTS]
    assert model.generate(PROMPTS, max_new_tokens=24) == alone
    drawn = [model.generate(prompt, max_new_tokens=24, seed=7) for prompt in PROMPTS]
    assert model.generate(PROMPTS, max_new_tokens=24, seed=7) == drawn
    assert (
        model.generate(PROMPTS[0], max_new_tokens=8, num_beams=3)
        == model.generate([PROMPTS[0], *PROMPTS], max_new_tokens=8, num_beams=3)[0]
    )


def test_scores_are_equal_to_the_last_digit(model: LLM):
    alone: list[list[TokenScore]] = [model.score(prompt, top=5) for prompt in PROMPTS]
    assert model.score(PROMPTS, top=5) == alone
