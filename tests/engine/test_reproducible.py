"""Reproducible mode: every number of an answer is that of the same request alone, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmasos.engine.context import Context, ContextOptions, reproducible
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer

PLAIN = ContextOptions(256, threads=1, batch_size=64)


@dataclass(frozen=True)
class Request:
    tokens: list[int]
    sampling: SamplingOptions
    limits: AnswerOptions
    beams: BeamOptions | None = None


BEGINNINGS = st.sampled_from([[], [5] * 40, [*range(10, 90)]])
REQUESTS = st.builds(
    lambda beginning, end, seed, count, beams, overflow: Request(
        [*beginning, *end],
        SamplingOptions(seed=seed, temperature=0 if seed is None else 1.0),
        AnswerOptions(max_tokens=count, ignore_eos=True, on_overflow=overflow),
        BeamOptions(num_beams=beams) if beams > 1 else None,
    ),
    BEGINNINGS,
    st.lists(st.integers(5, 90), min_size=1, max_size=100),
    st.none() | st.integers(0, 9),
    st.integers(0, 90),
    st.sampled_from([1, 1, 1, 3]),
    st.sampled_from(["error", "shift"]),
)


def numbers(answer: Answer) -> Answer:
    """What of an answer depends on no clock."""
    bare = replace(answer, prompt_seconds=0, completion_seconds=0, seed=0)
    return replace(bare, others=tuple(map(numbers, answer.others)))


def answers(
    engine: Engine, requests: list[Request], *, leaves: set[int] = frozenset(), is_scored: bool = True
) -> list[Answer]:
    going = []
    for request in requests:
        scores = ScoreOptions(prompt_from=0, top=3) if is_scored and not request.beams else None
        going.append(engine.submit(request.tokens, request.sampling, request.limits, request.beams, scores=scores))
    for number in leaves:
        engine.cancel(going[number])
    for each in going:
        list(each)
    return [numbers(each.answer) for each in going if each.answer is not None]


@given(data=st.data(), requests=st.lists(REQUESTS, min_size=2, max_size=8), parallel=st.integers(3, 6))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_everybody_gets_the_very_numbers_of_being_alone(
    model: Model, data: st.DataObject, requests: list[Request], parallel: int
):
    leaves = data.draw(st.sets(st.integers(0, len(requests) - 1), max_size=2))
    with Engine(model, Context(model, reproducible(replace(PLAIN, parallel=parallel)))) as engine:
        together = answers(engine, requests, leaves=leaves)
        again = answers(engine, requests)
    with Engine(model, Context(model, reproducible(replace(PLAIN, parallel=3)))) as engine:
        alone = [answers(engine, [request])[0] for request in requests]
    assert again == alone
    assert [one for number, one in enumerate(together) if number not in leaves] == [
        one for number, one in enumerate(alone) if number not in leaves
    ]


def test_nothing_is_remembered_from_one_request_to_the_next(model: Model):
    request = Request([*range(10, 90)], SamplingOptions(temperature=0), AnswerOptions(max_tokens=5, ignore_eos=True))
    with Engine(model, Context(model, reproducible(PLAIN))) as engine:
        first, second = [answers(engine, [request], is_scored=False) for _ in range(2)]
    assert first == second
    assert second[0].cached_tokens == 0


@pytest.mark.parametrize("parallel", [1, 4])
def test_cells_of_ones_own_hold_as_much_for_each(model: Model, parallel: int):
    """Without a pool, and together: as many tokens as the context has for every sequence at once."""
    options = replace(PLAIN, context_length=100, parallel=parallel, pooled=False)
    limits = AnswerOptions(ignore_eos=True)
    with Engine(model, Context(model, options)) as engine:
        given = answers(engine, [Request([5, 6, number], SamplingOptions(), limits) for number in range(8)])
    assert {(answer.finish_reason, len(answer.tokens)) for answer in given} == {("context", 98)}


def test_a_long_beginning_is_copied_where_there_is_no_pool(model: Model):
    beginning = [*range(10, 90)]
    options = replace(PLAIN, parallel=4, pooled=False, flash_attention=False, kv_type="f32")
    requests = [
        Request([*beginning, number], SamplingOptions(temperature=0), AnswerOptions(max_tokens=20, ignore_eos=True))
        for number in range(4)
    ]
    with Engine(model, Context(model, options)) as engine:
        given = answers(engine, requests, is_scored=False)
    with Engine(model, Context(model, reproducible(PLAIN))) as engine:
        expected = answers(engine, requests, is_scored=False)
    assert [answer.cached_tokens for answer in given] == [
        0,
        64,
        64,
        64,
    ]  # less than is worth waiting for is read by each
    assert [answer.tokens for answer in given] == [answer.tokens for answer in expected]
