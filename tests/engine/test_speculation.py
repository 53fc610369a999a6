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
from llmasos.engine.speculation import COUNTS, Acceptance, Guesser, Lookup, PassTimes, guess_alike, worthwhile


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
    assert not guess or guess in [(tokens[place:] * count)[:count] for place in places]


def test_a_place_that_comes_true_is_kept_to():
    lines = [1, 7, 8, 9, 2, 7, 8, 9, 3, 7, 8, 9, 4, 7, 8, 9]
    lookup = Lookup([*lines, 50, 51, *lines[:9]])
    assert lookup.guess(5) == [7, 8, 9, 4, 7]


def test_only_what_comes_true_is_believed():
    acceptance = Acceptance()
    assert acceptance.rate == 0
    for _ in range(20):
        acceptance.note(is_hit=True)
    assert acceptance.rate > 0.9
    for _ in range(20):
        acceptance.note(is_hit=False)
    assert acceptance.rate < 0.5


def times_of(**passes: float) -> PassTimes:
    """By names such as `of_8`."""
    times = PassTimes()
    for name, seconds in passes.items():
        times.note(int(name.removeprefix("of_")), seconds)
    return times


def test_what_passes_take_is_known_by_their_length():
    times = times_of(of_1=0.006, of_8=0.026, of_100=1.0)
    assert [times.seconds(count) for count in (1, 8, 4, 100)] == [0.006, 0.026, None, None]
    times.note(1, 0.016)
    assert times.seconds(1) == pytest.approx(0.009)


def test_what_nothing_confirms_is_forgotten():
    times = times_of(of_8=0.026)
    for _ in range(speculation.REMEMBERED):
        times.note(1, 0.01)
    assert (times.seconds(1), times.seconds(8)) == (pytest.approx(0.01), None)


@pytest.mark.parametrize(
    ("rate", "passes", "count"),
    [
        (0.9, {}, 0),
        (0.0, {"of_1": 1}, 0),
        (0.4, {"of_1": 1}, 0),
        (0.7, {"of_1": 1}, 1),  # not tried yet
        (1.0, {"of_1": 1}, 15),
        (1.0, {"of_1": 1, "of_16": 16, "of_8": 4}, 7),
        (0.95, {"of_1": 1, "of_2": 2, "of_4": 4, "of_8": 8, "of_16": 16}, 0),  # bound by arithmetic
        (0.3, {"of_1": 1, "of_2": 1, "of_4": 1, "of_8": 1, "of_16": 1}, 15),  # bound by memory
    ],
)
def test_as_much_is_guessed_as_pays(rate: float, passes: dict[str, float], count: int):
    assert worthwhile([rate], times_of(**passes), 1) == count


def test_drafts_have_to_pay_for_being_made():
    times = times_of(of_1=1, of_2=1.2, of_4=1.5, of_8=2, of_16=4)
    assert worthwhile([0.8], times, 1, seconds_each=0.1) == 3
    assert worthwhile([0.8], times, 1, seconds_each=0.7) == 0


@given(st.floats(0, 1), st.lists(st.floats(0.5, 20), min_size=5, max_size=5), st.integers(1, 8))
def test_never_slower_by_what_is_known(rate: float, taken: list[float], running: int):
    times = PassTimes()
    for count, seconds in zip((0, *COUNTS), taken, strict=True):
        times.note(running + count, seconds)
    count = worthwhile([rate], times, running)
    come_true = sum(rate**place for place in range(1, count + 1))
    assert count == 0 or (running + come_true) / times.seconds(running + count) > running / times.seconds(running)


def test_guesses_for_all_are_equally_many():
    repeating, new = Guesser([1, 2, 3, 4, 5] * 2), Guesser([])
    for token in (1, 2, 3, 4, 5) * 4:
        repeating.take(token)
    assert guess_alike([repeating] * 3, times_of(of_3=1), 9) == [[1, 2, 3, 4, 5, 1, 2]] * 3
    assert guess_alike([repeating, repeating, new], times_of(of_3=1), 3) == [[1, 2, 3], [1, 2, 3], [0, 0, 0]]
    assert guess_alike([repeating, new, new, new, new, new], times_of(of_6=1), 9) == []
    assert guess_alike([repeating], times_of(of_1=1), 0) == []


def test_a_guesser_learns_from_guesses_that_it_does_not_make():
    guesser, times = Guesser([1, 2, 3, 4, 5, 6, 7, 8, 9] * 2), times_of(of_1=1)
    assert guesser.guess(times, 1, 5) == []
    for token in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        guesser.take(token)
    assert guesser.guess(times, 1, 3) == [1, 2, 3]
    assert guesser.guess(times, 1, -1) == []


def test_drafts_that_do_not_come_true_are_made_now_and_then():
    guesser, times = Guesser([]), times_of(of_1=1)
    assert guesser.draft_count(times, 1, 99, seconds_each=0.0) == 3
    for _ in range(40):
        guesser.note_drafts(0, 3)
    counts = [guesser.draft_count(times, 1, 99, seconds_each=0.0) for _ in range(200)]
    assert set(counts) == {0, 1}
    assert sum(counts) == 200 // (speculation.RETRIED_AFTER + 1)


# In the engine.

REPEATED = [*range(10, 40)] * 3
OPTIONS = ContextOptions(256, threads=1, kv_type="f32", flash_attention=False, parallel=3, cells=600)


def answers(
    model: Model, sampling: SamplingOptions, limits: AnswerOptions, *, guesses: bool, pooled: bool = True
) -> list[Answer]:
    with Engine(model, Context(model, replace(OPTIONS, guesses=guesses, pooled=pooled))) as engine:
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
    monkeypatch.setattr(speculation, "worthwhile", lambda *_, **__: 6)


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
@pytest.mark.parametrize("pooled", [True, False])
def test_answers_are_the_same_with_guesses(
    model: Model, sampling: SamplingOptions, limits: AnswerOptions, *, pooled: bool
):
    plain, guessed = (answers(model, sampling, limits, guesses=guesses, pooled=pooled) for guesses in (False, True))
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
