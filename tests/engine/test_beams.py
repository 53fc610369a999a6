"""Beam search: its decisions over made-up models, and its beams beside other sequences in the engine."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.engine.beams import BeamSearch, Finished
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions
from llmasos.engine.sequence import Answer
from llmasos.errors import UsageError

END, LETTERS = 0, (0, 1, 2)


def odds(tokens: tuple[int, ...], seed: int) -> list[tuple[int, float]]:
    """A made-up model: the log-probability of each letter after these."""
    weights = [1 + hash((seed, letter, *tokens)) % 97 for letter in LETTERS]
    return [(letter, math.log(weight / sum(weights))) for letter, weight in zip(LETTERS, weights, strict=True)]


def search(seed: int, longest: int, **options: object) -> BeamSearch:
    found = BeamSearch(BeamOptions(**options), longest=longest, ends=lambda tokens: tokens[-1] == END)  # type: ignore[arg-type]
    while not found.is_done:
        found.advance([odds(beam.tokens, seed) for beam in found.beams])
    return found


def every_answer(seed: int, longest: int, penalty: float) -> list[Finished]:
    """All that the made-up model could say, the best first."""
    answers = []
    for length in range(1, longest + 1):
        for tokens in itertools.product(LETTERS, repeat=length):
            is_ended = tokens[-1] == END
            if END in tokens[:-1] or not (is_ended or length == longest):
                continue
            total = sum(dict(odds(tokens[:place], seed))[token] for place, token in enumerate(tokens))
            answers.append(Finished(tokens, total / length**penalty, is_ended))
    return sorted(answers, key=lambda each: -each.score)


@given(seed=st.integers(0, 10_000), longest=st.integers(1, 4), penalty=st.sampled_from([0.0, 0.5, 1.0]))
def test_with_enough_beams_the_best_of_all_answers_are_found(seed: int, longest: int, penalty: float):
    options = {"num_beams": 64, "length_penalty": penalty, "early_stopping": "never"}
    found = search(seed, longest, **options).best()[:3]
    expected = every_answer(seed, longest, penalty)[:3]
    assert [each.score for each in found] == pytest.approx([each.score for each in expected])


@given(seed=st.integers(0, 10_000), longest=st.integers(1, 12))
def test_one_beam_takes_the_likeliest_token_each_time(seed: int, longest: int):
    tokens: tuple[int, ...] = ()
    while len(tokens) < longest and (not tokens or tokens[-1] != END):
        tokens += (max(odds(tokens, seed), key=lambda each: each[1])[0],)
    assert search(seed, longest, num_beams=1).best()[0].tokens == tokens


@given(seed=st.integers(0, 10_000), beams=st.integers(1, 6), stop=st.sampled_from(["true", "false", "never"]))
def test_what_is_found_is_sound(seed: int, beams: int, stop: object):
    found = search(seed, 8, num_beams=beams, early_stopping=stop).best()
    assert 1 <= len(found) <= beams
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    assert len({each.tokens for each in found}) == len(found)
    for each in found:
        assert END not in each.tokens[:-1]
        assert each.is_ended == (each.tokens[-1] == END)
        assert each.is_ended or len(each.tokens) == 8


def test_early_stopping_ends_with_as_many_as_there_are_beams():
    def steps(stop: object) -> int:
        found, count = (
            BeamSearch(BeamOptions(num_beams=2, early_stopping=stop), longest=50, ends=lambda t: t[-1] == 0),
            0,
        )  # type: ignore[arg-type]
        while not found.is_done:
            found.advance([[(1, math.log(0.8)), (0, math.log(0.19)), (2, math.log(0.01))] for _ in found.beams])
            count += 1
        return count

    assert steps("true") < steps("never") == 50


# In the engine.

GREEDY = SamplingOptions(temperature=0)


def start(model: Model, *, parallel: int, cells: int = 600) -> Engine:
    options = ContextOptions(
        256, threads=1, batch_size=64, kv_type="f32", flash_attention=False, parallel=parallel, cells=cells
    )
    return Engine(model, Context(model, options))


def submit(engine: Engine, text: str, beams: BeamOptions | None, sampling: SamplingOptions = GREEDY, **limits: object):
    tokens = engine.model.tokenize(text, add_special=True, parse_special=False)
    options = AnswerOptions(**({"max_tokens": 12} | limits))  # type: ignore[arg-type]
    return engine.submit(tokens, sampling, options, beams)


def finish(sequence) -> Answer:
    assert list(sequence) == [] or sequence.beams is None
    assert sequence.answer is not None
    return sequence.answer


def test_one_beam_is_the_greedy_answer(model: Model):
    with start(model, parallel=1) as engine:
        greedy = finish(submit(engine, "the cat", None, ignore_eos=True))
        beam = finish(submit(engine, "the cat", BeamOptions(), ignore_eos=True))
    assert (beam.tokens, beam.text, beam.finish_reason) == (greedy.tokens, greedy.text, "length")


def test_more_beams_find_likelier_answers_and_the_best_come_first(model: Model):
    scores = []
    with start(model, parallel=8) as engine:
        for beams in (1, 4, 8):
            options = BeamOptions(num_beams=beams)
            answer = finish(submit(engine, "the cat", options, ignore_eos=True))
            assert len(answer.others) == beams - 1
            scores.append([answer.score, *(other.score for other in answer.others)])
    assert all(found == sorted(found, reverse=True) for found in scores)
    assert scores[0][0] <= scores[1][0] <= scores[2][0]


def test_a_search_beside_others_finds_what_it_finds_alone(model: Model):
    five = BeamOptions(num_beams=5)
    with start(model, parallel=5) as engine:
        alone = finish(submit(engine, "the cat", five))
        greedy = finish(submit(engine, "a dog", None, ignore_eos=True))
    with start(model, parallel=12, cells=900) as engine:
        crowd = [submit(engine, text, None, ignore_eos=True, max_tokens=40) for text in ("a dog", "one fish", "birds")]
        searches = [submit(engine, "the cat", five) for _ in range(3)]
        assert [finish(each).tokens for each in searches] == [alone.tokens] * 3
        assert finish(crowd[0]).tokens[:12] == greedy.tokens


def test_a_search_that_is_crowded_out_goes_on_where_it_was(model: Model):
    four = BeamOptions(num_beams=4)
    with start(model, parallel=4) as engine:
        alone = finish(submit(engine, "the cat sat on the mat", four, max_tokens=40, ignore_eos=True))
    with start(model, parallel=8, cells=280) as engine:
        crowd = [submit(engine, text, None, ignore_eos=True, max_tokens=120) for text in ("a dog", "one fish")]
        found = finish(submit(engine, "the cat sat on the mat", four, max_tokens=40, ignore_eos=True))
        assert all(len(finish(each).tokens) == 120 for each in crowd)
    assert found.tokens == alone.tokens


def test_beams_keep_to_a_grammar(model: Model):
    sampling = SamplingOptions(grammar='root ::= ("yes" | "no" | "maybe") " " [a-c] [a-c]? "."')
    with start(model, parallel=6) as engine:
        answer = finish(submit(engine, "the", BeamOptions(num_beams=6), sampling, max_tokens=15))
    ended = [each.text for each in (answer, *answer.others) if each.finish_reason == "stop"]
    assert ended
    assert all(text.split()[0] in ("yes", "no", "maybe") and text.endswith(".") for text in ended)


def test_a_beam_ends_at_a_stop_string(model: Model):
    with start(model, parallel=4) as engine:
        whole = finish(submit(engine, "the cat", BeamOptions(num_beams=4), ignore_eos=True))
        stop = whole.text[4:6]
        cut = finish(submit(engine, "the cat", BeamOptions(num_beams=4), ignore_eos=True, stop=(stop,)))
    assert stop not in cut.text
    assert cut.stop in (stop, None)


def test_a_search_can_be_cancelled_and_leaves_nothing(model: Model):
    with start(model, parallel=4) as engine:
        sequence = submit(engine, "the cat", BeamOptions(num_beams=4), max_tokens=200, ignore_eos=True)
        engine.cancel(sequence)
        assert finish(sequence).finish_reason == "cancelled"
        finish(submit(engine, "a dog", None))
        assert engine._worker.scheduler.cells.active == 0
        assert not engine._worker.answering


def test_no_tokens_asked_for_give_an_empty_answer(model: Model):
    with start(model, parallel=4) as engine:
        answer = finish(submit(engine, "the cat", BeamOptions(num_beams=4), max_tokens=0))
    assert (answer.text, answer.finish_reason) == ("", "length")


def test_more_beams_than_go_on_at_a_time_are_refused(model: Model):
    with start(model, parallel=4) as engine, pytest.raises(UsageError, match="5 beams are more than the 4"):
        submit(engine, "the cat", BeamOptions(num_beams=5))
