"""Debiased answers from Python: the same options everywhere, the prefixes where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmasos import LLM
from llmasos.chat.conversation import Chat
from llmasos.engine.debias import sequence_count
from llmasos.engine.options import BeamOptions, SamplingOptions
from llmasos.errors import UsageError

FIXED: dict[str, Any] = {"temperature": 0, "max_tokens": 8, "ignore_eos": True}
DRAWN: dict[str, Any] = {"temperature": 2, "top_k": 0, "seed": 1, "max_tokens": 30, "ignore_eos": True}
SELF: dict[str, Any] = {"debias": "self", "debias_attributes": ["age", "insults"]}


@pytest.fixture
def model(tiny_model: Path) -> Iterator[LLM]:
    with LLM.from_pretrained(str(tiny_model), threads=1) as model:
        yield model


def test_an_answer_is_debiased_as_strongly_as_is_asked_for(model: LLM):
    plain = model.generate("the cat", **DRAWN)
    assert model.generate("the cat", **DRAWN, **SELF, debias_strength=0) == plain
    assert model.generate("the cat", **DRAWN, **SELF, debias_strength=5000) != plain
    assert model.chat("a dog on a hat", **DRAWN, **SELF, debias_strength=0) == model.chat("a dog on a hat", **DRAWN)
    assert model.chat("a dog on a hat", **DRAWN, **SELF, debias_strength=5000) != model.chat("a dog on a hat", **DRAWN)


def test_several_answers_are_debiased_at_a_time(model: LLM):
    prompts = ["the cat", "the hat", "a mat"]
    alone = [model.generate(prompt, **FIXED, **SELF) for prompt in prompts]
    assert model.generate(prompts, **FIXED, **SELF) == alone


def test_texts_are_scored_as_debiased_answers_are(model: LLM):
    def likelihood(**how: Any) -> float:
        return float(sum(score.log_probability for score in model.score("the cat sat", **how)))

    assert likelihood(**SELF, debias_strength=0) == pytest.approx(likelihood(), abs=1e-2)
    assert abs(likelihood(**SELF, debias_strength=5000) - likelihood()) > 0.1
    with pytest.raises(TypeError, match="debias_strenght"):
        model.score("the cat sat", debias_strenght=1)
    found = model.complete("the cat", **FIXED, **SELF, logprobs=0)
    again = model.score(model.tokenize("the cat") + list(found.tokens), **SELF)
    for own, scored in zip(found.token_scores, again[-len(found.tokens) :], strict=True):
        assert own.log_probability == pytest.approx(scored.log_probability, abs=1e-2)


def test_what_cannot_be_debiased_is_refused(model: LLM):
    with pytest.raises(UsageError, match="beam"):
        model.generate("the cat", num_beams=2, **SELF)
    with pytest.raises(UsageError, match="debias"):
        model.generate("the cat", debias="others")


def test_a_prefix_goes_before_the_last_question(model: LLM):
    chat = Chat(model._loaded.model, str(model._loaded.template))
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Me."},
        {"role": "user", "content": " And who else? "},
    ]
    prompt = chat.prompt(messages)
    question = model.detokenize(prompt.tokens[prompt.question_at :])
    assert question.startswith("And who else?")
    later = prompt.behind([1, 2, 3])
    assert later.question_at == (prompt.question_at or 0) + 3 and later.tokens[3:] == prompt.tokens
    assert chat.prompt([{"role": "user", "content": ""}]).question_at is None


def test_so_many_sequences_are_needed():
    assert sequence_count(SamplingOptions()) == 1
    assert sequence_count(SamplingOptions(), BeamOptions(num_beams=4)) == 4
    assert sequence_count(SamplingOptions(debias="self", debias_attributes=("age", "race"))) == 3
