"""Scores of prompts and answers: those of the logits at every position, however the prompt is cut and who is beside."""

from __future__ import annotations

import numpy as np
import pytest

from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer

TEXT = "the cat sat on the mat and the hat, and looked at that for a while; then it slept. " * 2
NOTHING = AnswerOptions(max_tokens=0)


def start(model: Model, *, batch_size: int = 512, parallel: int = 4) -> Engine:
    options = ContextOptions(
        256, threads=1, batch_size=batch_size, kv_type="f32", flash_attention=False, parallel=parallel, cells=1024
    )
    return Engine(model, Context(model, options))


def expected_scores(model: Model, tokens: list[int]) -> np.ndarray:
    """The log-probabilities (positions, vocabulary) of what follows each token."""
    context = Context(model, ContextOptions(256, threads=1, kv_type="f32", flash_attention=False))
    [last] = context.decode([Reading(0, tokens, 0, len(tokens))])
    size = model.vocabulary_size
    rows = np.array([logits_at(context, last + 1 - len(tokens) + place, size) for place in range(len(tokens))])
    context.close()
    rows = rows.astype(np.float64)
    return (
        rows - np.log(np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True)) - rows.max(-1, keepdims=True)
    )


def score(engine: Engine, tokens: list[int], options: ScoreOptions, limits: AnswerOptions = NOTHING) -> Answer:
    sequence = engine.submit(tokens, SamplingOptions(temperature=0), limits, scores=options)
    list(sequence)
    assert sequence.answer is not None
    return sequence.answer


@pytest.mark.parametrize("batch_size", [32, 100, 512])
def test_a_prompts_scores_are_those_of_its_logits(model: Model, batch_size: int):
    tokens = model.tokenize(TEXT, add_special=True, parse_special=False)
    expected = expected_scores(model, tokens)
    with start(model, batch_size=batch_size) as engine:
        found = score(engine, tokens, ScoreOptions(prompt_from=0)).prompt_scores
    assert [each.token for each in found] == tokens[1:]
    wanted = [expected[place, token] for place, token in enumerate(tokens[1:])]
    np.testing.assert_allclose([each.log_probability for each in found], wanted, atol=2e-5)


@pytest.mark.parametrize("first", [1, 2, 60, 130, 150, 1000])
def test_scores_begin_where_they_are_wanted(model: Model, first: int):
    tokens = model.tokenize(TEXT, add_special=True, parse_special=False)
    with start(model) as engine:
        everything = score(engine, tokens, ScoreOptions(prompt_from=0)).prompt_scores
        part = score(engine, tokens, ScoreOptions(prompt_from=first))
    assert part.cached_tokens == min(first, len(tokens)) - 1
    assert [each.token for each in part.prompt_scores] == tokens[first:]
    own = [each.log_probability for each in part.prompt_scores]
    np.testing.assert_allclose(own, [each.log_probability for each in everything[first - 1 :]], atol=2e-5)
    assert len(own) == max(0, len(tokens) - first)


def test_the_likeliest_tokens_come_with_theirs(model: Model):
    tokens = model.tokenize("the cat sat", add_special=True, parse_special=False)
    expected = expected_scores(model, tokens)
    with start(model) as engine:
        found = score(engine, tokens, ScoreOptions(prompt_from=0, top=3)).prompt_scores
    for place, each in enumerate(found):
        assert [token for token, _ in each.top] == np.argsort(-expected[place], kind="stable")[:3].tolist()
        np.testing.assert_allclose([value for _, value in each.top], -np.sort(-expected[place])[:3], atol=2e-5)
        assert each.log_probability == pytest.approx(expected[place, tokens[place + 1]], abs=2e-5)


def test_an_answers_tokens_are_scored_as_a_prompts_are(model: Model):
    prompt = model.tokenize("the cat", add_special=True, parse_special=False)
    limits = AnswerOptions(max_tokens=12, ignore_eos=True)
    with start(model) as engine:
        answer = score(engine, prompt, ScoreOptions(top=2), limits)
        again = score(engine, [*prompt, *answer.tokens], ScoreOptions(prompt_from=len(prompt)))
    assert answer.prompt_scores == ()
    assert [each.token for each in answer.token_scores] == [*answer.tokens]
    assert all(each.top[0] == (each.token, each.log_probability) for each in answer.token_scores)  # it is greedy
    own, other = ([each.log_probability for each in found] for found in (answer.token_scores, again.prompt_scores))
    np.testing.assert_allclose(own, other, atol=2e-5)


def test_many_are_scored_beside_each_other_and_beside_answers(model: Model):
    texts = [TEXT[: 40 + 10 * number] for number in range(8)]
    prompts = [model.tokenize(text, add_special=True, parse_special=False) for text in texts]
    greedy, options = SamplingOptions(temperature=0), ScoreOptions(prompt_from=0)
    with start(model, parallel=1) as engine:
        alone = [score(engine, prompt, options).prompt_scores for prompt in prompts]
    with start(model, parallel=6, batch_size=64) as engine:
        growing = engine.submit(prompts[0], greedy, AnswerOptions(max_tokens=60, ignore_eos=True))
        going = [engine.submit(prompt, greedy, NOTHING, scores=options) for prompt in prompts]
        for sequence, expected in zip(going, alone, strict=True):
            list(sequence)
            assert sequence.answer is not None
            found = sequence.answer.prompt_scores
            assert [each.token for each in found] == [each.token for each in expected]
            values = ([each.log_probability for each in scores] for scores in (found, expected))
            np.testing.assert_allclose(*values, atol=2e-5)
        list(growing)


def test_one_token_has_no_score(model: Model):
    with start(model) as engine:
        assert score(engine, [65], ScoreOptions(prompt_from=0)).prompt_scores == ()
