"""Self-debiasing: against whole distributions computed the slow way, alone and among many."""

from __future__ import annotations

import numpy as np
import pytest

from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.debias import ATTRIBUTES, BEFORE_QUESTION, BEFORE_TEXT, prefixed
from llmasos.engine.debias_answering import damped
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions, ScoreOptions
from llmasos.engine.sequence import Answer, Sequence
from llmasos.errors import BadInputError, PromptTooLongError, UsageError

NAMES = ("gender", "insults", "sings out of tune")
GREEDY = SamplingOptions(temperature=0, debias="self", debias_attributes=NAMES, debias_strength=3000.0)
LIMITS = AnswerOptions(max_tokens=10, ignore_eos=True)


def start(model: Model, *, parallel: int = 8, cells: int = 4096, pooled: bool = True, batch_size: int = 512) -> Engine:
    options = ContextOptions(
        512, threads=1, batch_size=batch_size, kv_type="f32", flash_attention=False, parallel=parallel, cells=cells,
        pooled=pooled,
    )  # fmt: skip
    return Engine(model, Context(model, options))


def tokens_of(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=True, parse_special=False)


def distributions(model: Model, tokens: list[int]) -> np.ndarray:
    """What follows each token, as log-probabilities in float64 (tokens, vocabulary)."""
    context = Context(model, ContextOptions(512, threads=1, kv_type="f32", flash_attention=False))
    [last] = context.decode([Reading(0, tokens, 0, len(tokens))])
    first = last + 1 - len(tokens)
    rows = np.array([logits_at(context, first + place, model.vocabulary_size) for place in range(len(tokens))])
    context.close()
    wide = rows.astype(np.float64)
    return wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)


def debiased(model: Model, tokens: list[int], sampling: SamplingOptions) -> np.ndarray:
    """The damped log-probabilities of what follows each token."""
    plain = distributions(model, tokens)
    biased = np.full_like(plain, -np.inf)
    for name in sampling.debias_attributes:
        text = BEFORE_TEXT.format(does=ATTRIBUTES.get(name, name))
        before = model.tokenize(text, add_special=False, parse_special=False)
        biased = np.maximum(biased, distributions(model, [*before, *tokens])[len(before) :])
    excess = np.maximum(np.exp(biased) - np.exp(plain), 0)
    kept = np.exp(plain) * np.maximum(np.exp(-sampling.debias_strength * excess), 0.01)
    return np.log(kept / kept.sum(axis=1, keepdims=True))


def wait(sequence: Sequence) -> Answer:
    list(sequence)
    assert sequence.answer is not None
    return sequence.answer


def require_right(model: Model, prompt: list[int], answer: Answer, sampling: SamplingOptions = GREEDY) -> None:
    """Each token was the likeliest, or so near that the last digits decide: these move with who is beside."""
    rows = debiased(model, [*prompt, *answer.tokens], sampling)[len(prompt) - 1 : -1]
    chosen = rows[np.arange(len(rows)), list(answer.tokens)]
    assert len(rows) and (chosen >= rows.max(axis=1) - 0.02).all()


def test_damping_is_what_the_paper_says():
    chance = np.random.default_rng(1)
    plain, biased = np.log(chance.dirichlet(np.ones(50), 2)), np.log(chance.dirichlet(np.ones(50), 2))
    found = damped(plain.astype(np.float32), biased.astype(np.float32), 50.0)
    kept = np.exp(-50 * np.maximum(np.exp(biased) - np.exp(plain), 0)).clip(min=0.01)
    np.testing.assert_allclose(np.exp(found), np.exp(plain) * kept, rtol=1e-4)
    np.testing.assert_allclose(damped(plain.astype(np.float32), biased.astype(np.float32), 0.0), plain, rtol=1e-5)


def test_an_answer_is_that_of_the_damped_distributions(model: Model):
    prompt = tokens_of(model, "the cat sat on the mat and")
    with start(model) as engine:
        found = wait(engine.submit(prompt, GREEDY, LIMITS, scores=ScoreOptions(top=3)))
        plain = wait(engine.submit(prompt, SamplingOptions(temperature=0), LIMITS))
    require_right(model, prompt, found)
    assert found.tokens != plain.tokens
    assert (found.prompt_tokens, found.finish_reason) == (len(prompt), "length")
    rows = debiased(model, [*prompt, *found.tokens], GREEDY)
    for place, score in enumerate(found.token_scores):
        row = rows[len(prompt) - 1 + place]
        assert score.log_probability == pytest.approx(row[score.token], abs=1e-4)
        assert [value for _, value in score.top] == pytest.approx(np.sort(row)[::-1][:3].tolist(), abs=1e-4)


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("batch_size", [16, 512])
@pytest.mark.parametrize("first", [0, 7])
def test_a_prompt_is_scored_by_the_damped_distributions(model: Model, pooled: bool, batch_size: int, first: int):
    prompt = tokens_of(model, "the cat sat on the mat and the hat, and looked at that for a while; then it slept. ")
    with start(model, pooled=pooled, batch_size=batch_size) as engine:
        nothing, scores = AnswerOptions(max_tokens=0), ScoreOptions(prompt_from=first)
        found = wait(engine.submit(prompt, GREEDY, nothing, scores=scores)).prompt_scores
    rows = debiased(model, prompt, GREEDY)
    assert [each.token for each in found] == prompt[max(1, first) :]
    expected = [rows[place - 1, prompt[place]] for place in range(max(1, first), len(prompt))]
    assert [each.log_probability for each in found] == pytest.approx(expected, abs=1e-4)


def test_without_strength_nothing_changes(model: Model):
    prompt = tokens_of(model, "the cat sat")
    weak = SamplingOptions(temperature=0, debias="self", debias_strength=0.0)
    with start(model) as engine:
        plain = wait(engine.submit(prompt, SamplingOptions(temperature=0), LIMITS))
        assert wait(engine.submit(prompt, weak, LIMITS)).tokens == plain.tokens


@pytest.mark.parametrize(("parallel", "cells"), [(4, 512), (8, 600), (8, 900), (16, 4096)])
def test_many_at_a_time_are_answered_as_alone(model: Model, parallel: int, cells: int):
    """However little room there is for all of them: who makes room goes on later."""
    prompts = [tokens_of(model, f"the cat number {number} sat on") for number in range(6)]
    with start(model, parallel=parallel, cells=cells) as engine:
        plain = [engine.submit(prompt, SamplingOptions(temperature=0), LIMITS) for prompt in prompts]
        going = [engine.submit(prompt, GREEDY, LIMITS) for prompt in prompts]
        answers = [wait(each) for each in going]
        for each in plain:
            wait(each)
        assert not engine._worker.scheduler.running and not engine._worker.answering
        assert engine._worker.scheduler.cells.active == 0
    for prompt, answer in zip(prompts, answers, strict=True):
        assert len(answer.tokens) == 10
        require_right(model, prompt, answer)


def test_stop_strings_and_grammars_hold(model: Model):
    prompt = tokens_of(model, "the cat sat on")
    shape = 'root ::= "yes" | "no"'
    with start(model) as engine:
        text = wait(engine.submit(prompt, GREEDY, LIMITS)).text
        stopped = wait(engine.submit(prompt, GREEDY, AnswerOptions(max_tokens=10, ignore_eos=True, stop=(text[3:5],))))
        shaped = SamplingOptions(temperature=0.8, seed=1, debias="self", debias_attributes=NAMES, grammar=shape)
        assert wait(engine.submit(prompt, shaped, LIMITS)).text in ("yes", "no")
    assert stopped.text == text[: text.index(text[3:5])] and stopped.finish_reason == "stop"


def test_a_cancelled_answer_leaves_nothing_behind(model: Model):
    prompt = tokens_of(model, "the cat sat on")
    with start(model) as engine:
        sequence = engine.submit(prompt, GREEDY, AnswerOptions(ignore_eos=True))
        pieces = iter(sequence)
        next(pieces)
        engine.cancel(sequence)
        list(pieces)
        assert sequence.answer is not None and sequence.answer.finish_reason == "cancelled"
        assert engine._worker.scheduler.cells.active == 0 and not engine._worker.answering
        again = wait(engine.submit(prompt, GREEDY, LIMITS))
    require_right(model, prompt, again)
    assert len(again.tokens) == 10


def test_an_answer_ends_where_its_copies_fill_the_context(model: Model):
    prompt = tokens_of(model, "the cat sat on")
    with start(model, parallel=4, cells=512) as engine:
        answer = wait(engine.submit(prompt, GREEDY, AnswerOptions(ignore_eos=True)))
    copies = prefixed(prompt, GREEDY, None, False, lambda text: tokens_of(model, text))
    read = len(prompt) + sum(map(len, copies)) + 4 * (len(answer.tokens) - 1)
    assert answer.finish_reason == "context"
    assert 512 - 4 < read <= 512


def test_prefixes_stand_before_a_text_or_a_question():
    sampling = SamplingOptions(debias="self", debias_attributes=("gender", "eats with his hands"))
    found = prefixed([1, 10, 11, 12], sampling, None, True, lambda text: [len(text)])
    expected = [len(BEFORE_TEXT.format(does=does)) for does in (ATTRIBUTES["gender"], "eats with his hands")]
    assert found == [[1, length, 10, 11, 12] for length in expected]
    expected = [len(BEFORE_QUESTION.format(does=does)) for does in (ATTRIBUTES["gender"], "eats with his hands")]
    assert prefixed([1, 10, 11, 12], sampling, 3, True, lambda text: [len(text)]) == [
        [1, 10, 11, length, 12] for length in expected
    ]


def test_what_cannot_be_is_refused(model: Model):
    prompt = tokens_of(model, "the cat sat on")

    def submit(sampling: SamplingOptions = GREEDY, **others: object) -> None:
        limits = others.pop("limits", LIMITS)
        engine.submit(prompt, sampling, limits, **others)  # type: ignore[arg-type]

    with start(model, parallel=4) as engine:
        with pytest.raises(UsageError, match="beam"):
            submit(beams=BeamOptions(num_beams=2))
        with pytest.raises(UsageError, match="shift"):
            submit(limits=AnswerOptions(on_overflow="shift"))
        with pytest.raises(UsageError, match="4 attributes need 5 sequences at a time, and 4 go on"):
            submit(SamplingOptions(debias="self", debias_attributes=("age", "race", "class", "gender")))
        with pytest.raises(UsageError, match="1 to 16 attributes"):
            submit(SamplingOptions(debias="self", debias_attributes=()))
        with pytest.raises(PromptTooLongError):
            engine.submit(prompt * 36, GREEDY, LIMITS)
    with start(model, parallel=4, cells=512) as engine, pytest.raises(BadInputError, match="copies"):
        engine.submit(prompt * 20, GREEDY, LIMITS)
