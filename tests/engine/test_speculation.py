"""Speculation: what is guessed, when that pays, and that an answer is the same with and without."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.engine import speculation
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer
from llmasos.engine.speculation import MOST_GUESSED, Acceptance, Guesser, Lookup, PassTimes, worthwhile


def test_what_stood_behind_the_same_tokens_is_guessed():
    lookup = Lookup([1, 2, 3, 4, 5, 9, 1, 2, 3])
    assert lookup.guess(2) == [4, 5]
    assert lookup.guess(9) == [4, 5, 9, 1, 2, 3, 4, 5, 9]  # and from there on again


def test_the_latest_of_several_places_counts():
    assert Lookup([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3]).guess(1) == [5]


@pytest.mark.parametrize("tokens", [[], [1], [1, 2, 3], [1, 2, 9, 1, 2], [1, 2, 3, 4, 5]])
def test_nothing_is_guessed_where_nothing_is_alike(tokens: list[int]):
    assert Lookup(tokens).guess(5) == []


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 20))
def test_a_guess_goes_on_from_an_earlier_place_with_the_same_end(tokens: list[int], count: int):
    guess = Lookup(tokens).guess(count)
    assert len(guess) in (0, count)
    places = [place for place in range(3, len(tokens)) if tokens[place - 3 : place] == tokens[-3:]]
    assert bool(guess) == bool(places and count)
    if guess:
        period = tokens[places[-1] :]
        assert guess == (period * count)[:count]


def test_only_what_comes_true_is_believed():
    acceptance = Acceptance()
    assert acceptance.rate == 0
    for _ in range(20):
        acceptance.note(is_hit=True)
    assert acceptance.rate > 0.9
    for _ in range(20):
        acceptance.note(is_hit=False)
    assert acceptance.rate < 0.5


def test_the_price_of_a_token_is_read_off_passes_of_several_lengths():
    times = PassTimes()
    times.note(1, 0.006)
    assert times.price(1) is None
    for count in (1, 3, 1, 5, 1):
        times.note(count, 0.004 + 0.002 * count)
    assert times.price(1) == pytest.approx(1 / 3)
    assert times.price(8) == pytest.approx(0.8)


def test_a_price_that_nothing_confirms_is_forgotten():
    times = PassTimes()
    for count in (1, 2, *[1] * 200):
        times.note(count, 0.01 * count)
    assert times.price(1) is not None
    for _ in range(200):
        times.note(1, 0.01)
    assert times.price(1) is None


def test_long_passes_say_nothing_of_short_ones():
    times = PassTimes()
    for count in (1, 500, 1, 400):
        times.note(count, 0.01 * count)
    assert times.price(1) is None


@pytest.mark.parametrize(
    ("rate", "price", "count"),
    [(0.0, None, 0), (0.7, None, 0), (0.9, None, 2), (0.5, 0.6, 0), (0.9, 0.5, 5), (0.9, 0.0, MOST_GUESSED),
     (1.0, 0.9, MOST_GUESSED), (0.99, 0.01, MOST_GUESSED), (0.95, 0.95, 0)],
)  # fmt: skip
def test_as_much_is_guessed_as_pays(rate: float, price: float | None, count: int):
    assert worthwhile(rate, price) == count


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_the_last_guess_is_worth_its_price_and_one_more_would_not_be(rate: float, price: float):
    count = worthwhile(rate, price)
    assert count == 0 or rate**count >= price
    assert count == MOST_GUESSED or rate ** (count + 1) <= speculation.MARGIN * price * 1.001


def test_a_guesser_learns_from_guesses_that_it_does_not_make():
    guesser = Guesser([1, 2, 3, 4, 5, 6, 7, 8, 9] * 2)
    assert guesser.guess(0.2, 5) == []
    for token in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        guesser.take(token)
    assert guesser.guess(0.2, 3) == [1, 2, 3]
    assert guesser.guess(0.2, -1) == []


# In the engine.

REPEATED = [*range(10, 40)] * 3
OPTIONS = ContextOptions(256, threads=1, kv_type="f32", flash_attention=False, parallel=3, cells=600)


def answers(model: Model, sampling: SamplingOptions, limits: AnswerOptions, *, guesses: bool) -> list[Answer]:
    with Engine(model, Context(model, replace(OPTIONS, guesses=guesses))) as engine:
        scores = ScoreOptions()
        going = [
            engine.submit(prompt, sampling, limits, scores=scores) for prompt in (REPEATED, REPEATED[:50], [5, 6, 7])
        ]
        for each in going:
            list(each)
        return [each.answer for each in going if each.answer is not None]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses at every place where a token stands that stood before, right or wrong."""
    monkeypatch.setattr(speculation, "ALIKE", 1)
    monkeypatch.setattr(speculation, "worthwhile", lambda rate, price: 6)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    "sampling",
    [
        SamplingOptions(temperature=0),
        SamplingOptions(seed=3, temperature=0.3),
        SamplingOptions(temperature=0, repeat_penalty=1.3),
        SamplingOptions(seed=2, mirostat=2),
        SamplingOptions(temperature=0, grammar="root ::= [a-c ]{60,80}"),
    ],
    ids=["greedy", "drawn", "penalties", "mirostat", "grammar"],
)
@pytest.mark.parametrize(
    "limits",
    [
        AnswerOptions(max_tokens=60, ignore_eos=True),
        AnswerOptions(max_tokens=300, ignore_eos=True, on_overflow="shift"),
    ],
    ids=["short", "shifting"],
)
def test_answers_are_the_same_with_guesses(model: Model, sampling: SamplingOptions, limits: AnswerOptions):
    plain, guessed = (answers(model, sampling, limits, guesses=guesses) for guesses in (False, True))
    assert sum(answer.guessed_tokens for answer in plain) == 0
    assert sum(answer.guessed_tokens for answer in guessed) > 0
    for one, other in zip(plain, guessed, strict=True):
        assert (one.text, one.tokens, one.finish_reason) == (other.text, other.tokens, other.finish_reason)
        scores = [[score.log_probability for score in answer.token_scores] for answer in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.usefixtures("always")
def test_a_stop_text_in_the_middle_of_guesses_ends_the_answer_there(model: Model):
    limits = AnswerOptions(max_tokens=100, ignore_eos=True)
    [whole, *_] = answers(model, SamplingOptions(temperature=0), limits, guesses=False)
    stopping = AnswerOptions(max_tokens=100, ignore_eos=True, stop=(whole.text[20:24],))
    plain, guessed = (
        answers(model, SamplingOptions(temperature=0), stopping, guesses=each)[0] for each in (False, True)
    )
    assert plain.finish_reason == "stop"
    assert (plain.text, plain.tokens) == (guessed.text, guessed.tokens)


@pytest.mark.usefixtures("always")
def test_guesses_that_come_true_spare_passes(model: Model):
    limits = AnswerOptions(max_tokens=150, ignore_eos=True)
    given = answers(model, SamplingOptions(temperature=0), limits, guesses=True)
    assert sum(answer.spared_passes for answer in given) > 0
