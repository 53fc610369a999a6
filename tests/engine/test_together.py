"""Many sequences at once on a tiny model: each gets its own answer, however they come, end and crowd each other."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sequence import Answer
from llmasos.engine.sequence import Sequence as Submitted
from llmasos.errors import BadInputError, BusyError, LlmasosError

GREEDY = SamplingOptions(temperature=0)
TWENTY = AnswerOptions(max_tokens=20, ignore_eos=True)
WORDS = ("the cat", "a dog", "some birds sat", "one fish", "and the mat", "of hats and bats", "a", "many mice there")


def start(
    model: Model, *, parallel: int, cells: int = 0, kept: int = 0, pooled: bool = True, most_submitted: int = 1000
) -> Engine:
    """Plain attention in float32, so that a sequence's logits do not depend on who is read beside it."""
    options = ContextOptions(
        256,
        threads=1,
        batch_size=64,
        kv_type="f32",
        flash_attention=False,
        parallel=parallel,
        cells=cells,
        kept=kept,
        pooled=pooled,
        guesses=True,
    )
    return Engine(model, Context(model, options), most_submitted=most_submitted)


def submit(engine: Engine, text: str, limits: AnswerOptions = TWENTY, sampling: SamplingOptions = GREEDY) -> Submitted:
    tokens = engine.model.tokenize(text, add_special=True, parse_special=False)
    return engine.submit(tokens, sampling, limits)


def finish(sequence: Submitted) -> Answer:
    pieces = [chunk.text for chunk in sequence]
    assert sequence.answer is not None
    assert "".join(pieces) == sequence.answer.text
    return sequence.answer


def answers(engine: Engine, texts: Sequence[str], limits: AnswerOptions = TWENTY) -> list[tuple[int, ...]]:
    return [finish(each).tokens for each in [submit(engine, text, limits) for text in texts]]


@pytest.fixture
def alone(model: Model) -> list[tuple[int, ...]]:
    with start(model, parallel=1) as engine:
        return [answers(engine, [text])[0] for text in WORDS]


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("parallel", [2, 3, 8, 20])
def test_together_everybody_gets_the_answer_of_being_alone(
    model: Model, alone: list[tuple[int, ...]], parallel: int, *, pooled: bool
):
    with start(model, parallel=parallel, cells=512, pooled=pooled) as engine:
        assert answers(engine, WORDS) == alone
        assert answers(engine, WORDS[::-1]) == alone[::-1]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_passes_may_be_shorter_than_there_are_sequences(model: Model, alone: list[tuple[int, ...]], batch_size: int):
    options = ContextOptions(
        256, threads=1, batch_size=batch_size, kv_type="f32", flash_attention=False, parallel=8, cells=512, kept=8
    )
    with Engine(model, Context(model, options)) as engine:
        assert answers(engine, WORDS) == alone


def test_a_cache_too_small_for_all_loses_nothing(model: Model):
    long = AnswerOptions(max_tokens=150, ignore_eos=True)
    with start(model, parallel=1) as engine:
        expected = [answers(engine, [text], long)[0] for text in WORDS]
    with start(model, parallel=8, cells=256) as engine:  # all together would take a thousand and some
        assert answers(engine, WORDS, long) == expected


@pytest.mark.parametrize("pooled", [True, False])
def test_a_shared_beginning_is_read_once_by_those_who_come_together(model: Model, *, pooled: bool):
    beginning = "the cat sat on the mat and the hat and looked at that"
    with start(model, parallel=4, cells=512, pooled=pooled) as engine:
        given = [finish(each) for each in [submit(engine, f"{beginning} {end}") for end in "abcd"]]
    assert given[0].cached_tokens == 0
    assert all(answer.cached_tokens >= answer.prompt_tokens - 3 for answer in given[1:])


def test_with_cells_of_its_own_a_beginning_that_is_sooner_read_than_copied_is_read(model: Model):
    with start(model, parallel=2, pooled=False) as engine:
        short, longer = [finish(engine.submit([1, *end], GREEDY, TWENTY)) for end in ([5, 6, 7, 8], [9, 10])]
        again = finish(engine.submit([1, 5, 6, 7, 11], GREEDY, TWENTY))
    assert [each.cached_tokens for each in (short, longer, again)] == [0, 0, 4]


def test_those_that_go_on_together_are_read_in_one_piece(model: Model):
    """llama.cpp takes those of a pass together whose numbers follow each other: so they come in that order."""
    with start(model, parallel=3, pooled=False) as engine:
        filled: list[list[int]] = []
        fill = engine.context._batch.fill
        engine.context._batch.fill = lambda readings: (
            filled.append([each.sequence for each in readings]) or fill(readings)
        )
        answers(engine, [*WORDS, *WORDS[::-1]])
    assert all(numbers == sorted(numbers) for numbers in filled)
    assert max(map(len, filled)) == 3


@pytest.mark.parametrize("pooled", [True, False])
def test_a_shared_beginning_does_not_change_the_answers(model: Model, *, pooled: bool):
    texts = [f"the cat sat on the mat and the hat and looked at that {end}" for end in "abcd"]
    with start(model, parallel=1, kept=0) as engine:
        expected = [answers(engine, [text])[0] for text in texts]
    with start(model, parallel=4, cells=512, kept=4, pooled=pooled) as engine:
        assert answers(engine, texts) == expected
        assert answers(engine, texts) == expected  # now from what was kept


def test_several_conversations_are_gone_on_with_in_turn(model: Model):
    with start(model, parallel=1, cells=512, kept=2) as engine:
        prompts = [engine.model.tokenize(text, add_special=True, parse_special=False) for text in WORDS[:3]]
        for _ in range(3):
            given = [finish(engine.submit(prompt, GREEDY, TWENTY)) for prompt in prompts]
            read_before = [answer.cached_tokens for answer in given]
            lengths = [len(prompt) for prompt in prompts]
            prompts = [[*prompt, *answer.tokens, 65] for prompt, answer in zip(prompts, given, strict=True)]
    assert read_before == [length - 2 for length in lengths]  # the last token of an answer is never read


def test_a_cancelled_sequence_ends_at_once_and_the_others_go_on(model: Model, alone: list[tuple[int, ...]]):
    endless = AnswerOptions(ignore_eos=True, on_overflow="shift")
    with start(model, parallel=4, cells=512) as engine:
        cancelled = submit(engine, WORDS[0], endless)
        next(iter(cancelled))
        others = [submit(engine, text) for text in WORDS[1:]]
        engine.cancel(cancelled)
        assert [finish(each).tokens for each in others] == alone[1:]
        list(cancelled)
        assert cancelled.answer is not None
        assert cancelled.answer.finish_reason == "cancelled"


def test_a_sequence_that_fails_takes_nobody_with_it(model: Model, alone: list[tuple[int, ...]]):
    with start(model, parallel=4, cells=512) as engine:
        first = submit(engine, WORDS[0])
        wrong = submit(engine, WORDS[1], sampling=SamplingOptions(grammar="root ::= <nothing>"))
        assert finish(first).tokens == alone[0]
        with pytest.raises(BadInputError, match="grammar"):
            list(wrong)


def test_each_has_samplers_of_its_own(model: Model):
    with start(model, parallel=4, cells=512) as engine:
        hot = [SamplingOptions(temperature=3, seed=seed) for seed in (1, 2, 1, 2)]
        one, two, three, four = [finish(each).tokens for each in [submit(engine, "the", TWENTY, how) for how in hot]]
    assert (one, two) == (three, four)
    assert one != two


def test_a_grammar_of_one_leaves_the_others_free(model: Model, alone: list[tuple[int, ...]]):
    with start(model, parallel=4, cells=512) as engine:
        free = submit(engine, WORDS[0])
        bound = submit(engine, WORDS[1], AnswerOptions(), SamplingOptions(seed=1, grammar='root ::= "yes" | "no"'))
        assert finish(free).tokens == alone[0]
        assert finish(bound).text in ("yes", "no")


def test_an_answer_ends_when_its_time_is_up(model: Model):
    with start(model, parallel=2) as engine:
        given = finish(submit(engine, "the", AnswerOptions(max_seconds=0.2, ignore_eos=True, on_overflow="shift")))
        assert given.finish_reason == "time"
        assert given.tokens
        assert finish(submit(engine, "the", AnswerOptions(max_seconds=0))).finish_reason == "time"


def test_more_than_may_wait_are_refused(model: Model):
    endless = AnswerOptions(ignore_eos=True, on_overflow="shift")
    with start(model, parallel=1, most_submitted=2) as engine:
        first, _ = submit(engine, "the", endless), submit(engine, "cat", endless)
        with pytest.raises(BusyError, match="2 prompts wait already"):
            submit(engine, "sat", endless)
        engine.cancel(first)
        list(first)
        submit(engine, "sat", endless)


def test_answers_that_shift_leave_shared_beginnings_alone(model: Model):
    beginning, shifting = (
        "the cat sat on the mat and " * 5,
        AnswerOptions(max_tokens=300, ignore_eos=True, on_overflow="shift"),
    )
    with start(model, parallel=4, cells=600) as engine:
        long = [submit(engine, f"{beginning}{end}", shifting) for end in "ab"]
        short = [submit(engine, f"{beginning}{end}") for end in "cd"]
        expected = [finish(each).tokens for each in short]
        assert all(len(finish(each).tokens) == 300 and finish is not None for each in long)
        assert [finish(submit(engine, f"{beginning}{end}")).tokens for end in "cd"] == expected


@pytest.mark.parametrize("seed", range(3))
def test_whoever_comes_and_goes_nothing_is_left_in_the_cache(model: Model, seed: int):
    chance = random.Random(seed)
    with start(model, parallel=5, cells=300, kept=3) as engine:
        going = [
            submit(engine, chance.choice(WORDS) * chance.randint(1, 8), AnswerOptions(max_tokens=chance.randint(0, 60)))
            for _ in range(40)
        ]
        for each in chance.sample(going, 15):
            engine.cancel(each)
        ended = [finish(each) for each in going]
        cells = engine._worker.scheduler.cells
        assert cells.active == 0
        assert cells.make_room(cells.capacity)
    assert {answer.finish_reason for answer in ended} <= {"stop", "length", "cancelled", "context"}


def test_a_mistake_of_our_own_leaves_nobody_waiting(model: Model, monkeypatch: pytest.MonkeyPatch):
    with start(model, parallel=4) as engine:
        monkeypatch.setattr(engine._worker.scheduler, "next_parts", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(submit(engine, "the cat"))
        with pytest.raises(LlmasosError, match="closed"):
            submit(engine, "the cat")
