"""`LLM.complete`: an answer with all that is known of it, its tokens' log-probabilities among that."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmasos import LLM, Answer
from llmasos.errors import UsageError

FOX = "the quick brown fox"
EIGHT = {"max_new_tokens": 8, "ignore_eos": True}


@pytest.fixture
def model(tiny_model: Path) -> Iterator[LLM]:
    with LLM.from_pretrained(str(tiny_model), threads=1, flash_attention=False, kv_type="f32") as model:
        yield model


def test_it_is_what_generate_gives_and_all_that_is_known_of_it(model: LLM):
    answer = model.complete(FOX, **EIGHT)
    assert isinstance(answer, Answer)
    assert answer.text == model.generate(FOX, **EIGHT)
    assert (len(answer.tokens), answer.finish_reason, answer.token_scores) == (8, "length", ())
    again = model.complete(FOX, **EIGHT)
    assert (answer.cached_tokens, again.cached_tokens) == (0, again.prompt_tokens - 1)


def test_log_probabilities_are_those_that_score_gives_to_the_same_text(model: LLM):
    answer = model.complete(FOX, logprobs=3, **EIGHT)
    scores = model.score([*model.tokenize(FOX, add_special=True), *answer.tokens], top=3)[-8:]
    assert [score.token for score in answer.token_scores] == list(answer.tokens)
    for own, scored in zip(answer.token_scores, scores, strict=True):
        assert own.log_probability == pytest.approx(scored.log_probability, abs=1e-3)
        assert own.top[0] == (own.token, pytest.approx(own.log_probability))  # greedy takes the likeliest
        assert sum(math.exp(value) for _, value in own.top) <= 1


def test_without_others_only_the_tokens_have_scores(model: LLM):
    answers = model.complete([FOX, "a cat"], logprobs=0, seed=3, **EIGHT)
    assert [len(answer.token_scores) for answer in answers] == [8, 8]
    assert all(score.top == () for answer in answers for score in answer.token_scores)


def test_several_answers_to_one_prompt_are_a_list(model: LLM):
    drawn = model.complete(FOX, num_return_sequences=3, seed=1, **EIGHT)
    assert [answer.text for answer in drawn] == model.generate(FOX, num_return_sequences=3, seed=1, **EIGHT)
    beams = model.complete(FOX, num_beams=3, num_return_sequences=2, **EIGHT)
    assert len(beams) == 2
    assert beams[0].score >= beams[1].score


def test_answers_are_awaited(model: LLM):
    one, two = asyncio.run(model.acomplete([FOX, "a cat"], logprobs=1, **EIGHT))
    assert one.tokens == model.complete(FOX, **EIGHT).tokens
    assert len(two.token_scores) == 8


@pytest.mark.parametrize(
    ("wanted", "told"),
    [({"logprobs": -1}, "not -1"), ({"logprobs": 10**9}, "not 1000000000"), ({"logprobs": 1, "num_beams": 2}, "beams")],
)
def test_scores_that_can_not_be_are_refused(model: LLM, wanted: dict, told: str):
    with pytest.raises(UsageError, match=told):
        model.complete(FOX, **wanted)
