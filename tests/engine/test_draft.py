"""A draft model: what it guesses is what it would say, and the answer is the large model's own, whatever it guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.tiny import TinyModel
from llmasos.engine import speculation
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.draft import Drafter, require_same_vocabulary
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sequence import Answer
from llmasos.errors import BadInputError, LlmasosError

OPTIONS = ContextOptions(256, threads=1, batch_size=32, kv_type="f32", flash_attention=False, parallel=3, cells=600)
PROMPTS = ([5, 6, 7], [*range(10, 60)], [9] * 20)
GREEDY, FORTY = SamplingOptions(temperature=0), AnswerOptions(max_tokens=40, ignore_eos=True)


@pytest.fixture
def drafter(tiny_model: Path) -> Iterator[Drafter]:
    model = load_model([tiny_model], ModelOptions())
    drafter = Drafter(model, Context(model, replace(OPTIONS, kept=3)))
    yield drafter
    drafter.close()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lookup, and as many drafts as there is room for."""
    monkeypatch.setattr(speculation.Lookup, "guess", lambda self, count: [])
    monkeypatch.setattr(speculation, "worthwhile", lambda *_, **__: 5)


def answers(model: Model, drafter: Drafter | None, sampling: SamplingOptions = GREEDY) -> list[Answer]:
    context = Context(model, replace(OPTIONS, guesses=drafter is not None))
    with Engine(model, context, drafter=drafter) as engine:
        going = [engine.submit(prompt, sampling, FORTY) for prompt in PROMPTS]
        for each in going:
            list(each)
        return [each.answer for each in going if each.answer is not None]


def test_guesses_are_what_the_model_says_itself(model: Model, drafter: Drafter):
    said = [list(answer.tokens) for answer in answers(model, None)]
    assert drafter.guess([(prompt, 6) for prompt in PROMPTS]) == [tokens[:6] for tokens in said]
    grown = [([*prompt, *tokens[:4]], 5) for prompt, tokens in zip(PROMPTS, said, strict=True)]
    assert drafter.guess(grown) == [tokens[4:9] for tokens in said]
    other = [([*prompt, *tokens[:4], 77], 1) for prompt, tokens in zip(PROMPTS, said, strict=True)]
    assert [len(guess) for guess in drafter.guess(other)] == [1, 1, 1]  # the large model said something else
    assert drafter.seconds_per_token is not None


def test_what_is_too_long_is_not_guessed(drafter: Drafter):
    assert drafter.guess([([5] * 254, 5), ([5] * 10, 2)])[0] == []


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    "sampling", [GREEDY, SamplingOptions(seed=4), SamplingOptions(temperature=0, repeat_penalty=1.4)]
)
def test_answers_are_the_same_with_a_draft_model(model: Model, drafter: Drafter, sampling: SamplingOptions):
    plain, drafted = answers(model, None, sampling), answers(model, drafter, sampling)
    assert [answer.tokens for answer in plain] == [answer.tokens for answer in drafted]
    assert all(answer.guessed_tokens > 0 for answer in drafted)


@pytest.mark.usefixtures("always")
def test_a_draft_model_that_says_the_same_spares_most_passes(model: Model, drafter: Drafter):
    for answer in answers(model, drafter):
        assert answer.spared_passes == answer.guessed_tokens >= 30


@pytest.mark.usefixtures("always")
def test_a_draft_model_that_says_something_else_does_no_harm(model: Model, make_tiny: Callable[[TinyModel], Path]):
    other = load_model([make_tiny(TinyModel(seed=9))], ModelOptions())
    require_same_vocabulary(model, other)
    drafted = answers(model, Drafter(other, Context(other, OPTIONS)))
    assert [answer.tokens for answer in drafted] == [answer.tokens for answer in answers(model, None)]
    assert sum(answer.spared_passes for answer in drafted) < sum(answer.guessed_tokens for answer in drafted) / 2


@pytest.mark.usefixtures("always")
def test_a_draft_model_that_fails_is_given_up(model: Model, drafter: Drafter, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise LlmasosError("no memory for it")

    monkeypatch.setattr(drafter, "guess", fail)
    assert [answer.tokens for answer in answers(model, drafter)] == [answer.tokens for answer in answers(model, None)]


def test_another_vocabulary_is_refused(model: Model, drafter: Drafter, monkeypatch: pytest.MonkeyPatch):
    require_same_vocabulary(model, drafter.model)
    monkeypatch.setattr(drafter.model, "piece", lambda token, special: b"?")
    with pytest.raises(BadInputError, match="another vocabulary"):
        require_same_vocabulary(model, drafter.model)
