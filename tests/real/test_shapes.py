"""Shapes on a real model, with its 49,000 tokens: what an answer says fits, whatever shape was asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from doubles.schemas import is_valid, schemas
from llmasos import LLM
from llmasos.errors import BadInputError

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

PROMPTS = ["Describe a person as JSON: ", "{", "The capital of France is"]
LONGEST = 120  # tokens
PATTERNS = [
    r"[12]\d{3}-[01]\d-[0-3]\d",
    r"(yes|no|maybe)",
    r"[A-Z][a-z]+( [A-Z][a-z]+){1,3}",
    r"(\d{1,3}\.){3}\d{1,3}",
    r"[^\n]{1,40}[.!?]",
    r"(é|ü|ñ|漢|🙂){2,6}",
    r"\s{0,30}x",
]


@pytest.fixture
def model(home: Path):
    with LLM.from_pretrained("smollm2", parallel=len(PROMPTS), context_length=1024) as model:
        yield model


def test_a_finished_document_is_one_of_its_schema(model: LLM):
    ends: Counter[str] = Counter()

    @settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None
    )
    @given(schemas, st.integers(0, 2**31), st.sampled_from([0.7, 1.5]))
    def answer(schema: Any, seed: int, temperature: float) -> None:
        wanted = {"schema": schema, "seed": seed, "temperature": temperature, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        try:
            answers = [model.complete(prompt, max_tokens=LONGEST, **wanted) for prompt in PROMPTS]
        except BadInputError:
            ends["refused"] += 1
            return
        for answer in answers:
            ends[answer.finish_reason] += 1
            assert answer.finish_reason in ("stop", "length")
            assert answer.finish_reason == "length" or is_valid(json.loads(answer.text), schema), answer.text

    answer()
    assert ends["stop"] > 40, ends


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_finished_answer_matches_its_expression(model: LLM, pattern: str):
    answers = [
        model.complete(prompt, regex=pattern, max_tokens=LONGEST, seed=seed) for seed, prompt in enumerate(PROMPTS)
    ]
    finished = [answer.text for answer in answers if answer.finish_reason == "stop"]
    assert finished
    assert [text for text in finished if not re.fullmatch(pattern, text)] == []
