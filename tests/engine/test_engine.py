"""The engine on a tiny model: answers, their ends, cancellation, and what the cache keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from doubles.tiny import TinyModel
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import ModelOptions, load_model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.sequence import Answer
from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError

GREEDY = SamplingOptions(temperature=0)


def tokens_of(engine: Engine, text: str) -> list[int]:
    return engine.model.tokenize(text, add_special=True, parse_special=False)


def answer(engine: Engine, text: str, sampling: SamplingOptions = GREEDY, **limits) -> Answer:
    options = AnswerOptions(**({"max_tokens": 20, "ignore_eos": True} | limits))
    sequence = engine.submit(tokens_of(engine, text), sampling, options)
    pieces = [chunk.text for chunk in sequence]
    assert sequence.answer is not None
    assert "".join(pieces) == sequence.answer.text
    return sequence.answer


def test_an_answer_ends_at_the_longest_length(engine: Engine):
    given = answer(engine, "the cat", max_tokens=7)
    assert (len(given.tokens), given.finish_reason) == (7, "length")


def test_the_same_prompt_gets_the_same_greedy_answer(engine: Engine):
    assert answer(engine, "the cat").tokens == answer(engine, "the cat").tokens


def test_the_same_seed_gets_the_same_answer_and_another_seed_another(engine: Engine):
    seven, again, eight = (answer(engine, "the cat", SamplingOptions(temperature=2, seed=seed)) for seed in (7, 7, 8))
    assert seven.tokens == again.tokens
    assert seven.tokens != eight.tokens
    assert (seven.seed, eight.seed) == (7, 8)


def test_no_tokens_asked_for_gives_an_empty_answer(engine: Engine):
    given = answer(engine, "the cat", max_tokens=0)
    assert (given.text, given.finish_reason) == ("", "length")


def test_the_models_own_end_token_ends_an_answer(engine: Engine):
    end = engine.model.tokenize("<|end|>", add_special=False, parse_special=True)
    given = answer(engine, "the cat", SamplingOptions(temperature=0, logit_bias=(f"{end[0]}=1000",)), ignore_eos=False)
    assert (given.tokens, given.finish_reason) == ((), "stop")


def test_control_tokens_are_seen_only_where_they_are_to_be(make_tiny: Callable[[TinyModel], Path]):
    model = load_model([make_tiny(TinyModel(controls=("[CALL]",)))], ModelOptions())
    [mark] = model.tokenize("[CALL]", add_special=False, parse_special=True)
    sampling = SamplingOptions(temperature=0, grammar='root ::= "[CALL]a"', logit_bias=(f"{mark}=1000",))
    with Engine(model, Context(model, ContextOptions(64, threads=1))) as engine:
        found = []
        for shown in (frozenset({mark}), frozenset()):
            sequence = engine.submit([65], sampling, AnswerOptions(), shown=shown)
            text = "".join(chunk.text for chunk in sequence)
            assert sequence.answer is not None
            found.append((text, sequence.answer.tokens))
    assert found == [("[CALL]a", (mark, 97)), ("[CALL]a", tuple(b"[CALL]a"))]  # the text keeps to the grammar
    assert model.detokenize([mark], shown={mark}) == "[CALL]"
    assert model.detokenize([mark]) == ""
    model.close()


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it(engine: Engine):
    whole = answer(engine, "the cat", SamplingOptions(temperature=0, logit_bias=("65=90", "66=91")), max_tokens=10)
    cut = answer(
        engine, "the cat", SamplingOptions(temperature=0, logit_bias=("65=90", "66=91")), stop=(whole.text[3:5],)
    )
    assert cut.finish_reason == "stop"
    assert cut.stop == whole.text[3:5]
    assert cut.text == whole.text[: whole.text.index(cut.stop)]


def test_a_bias_forbids_a_token(engine: Engine):
    first = answer(engine, "the cat", max_tokens=1).tokens[0]
    other = answer(
        engine, "the cat", SamplingOptions(temperature=0, logit_bias=(f"{first}=-inf",)), max_tokens=1
    ).tokens[0]
    assert other != first


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingOptions(seed=1, mirostat=1),
        SamplingOptions(seed=1, mirostat=2),
        SamplingOptions(seed=1, typical_p=0.5, top_n_sigma=1.0),
        SamplingOptions(seed=1, xtc_probability=1.0, xtc_threshold=0.01),
        SamplingOptions(seed=1, dry_multiplier=0.8, dry_penalty_last_n=64),
        SamplingOptions(seed=1, repeat_penalty=1.3, presence_penalty=1.0, frequency_penalty=1.0, repeat_last_n=-1),
        SamplingOptions(seed=1, top_k=0, top_p=1.0, min_p=0.0),
    ],
    ids=["mirostat", "mirostat 2", "typical", "xtc", "dry", "penalties", "no cuts"],
)
def test_every_sampler_gives_an_answer(engine: Engine, sampling: SamplingOptions):
    assert len(answer(engine, "the cat sat on", sampling).tokens) == 20


def test_penalties_look_at_the_prompt_too(engine: Engine):
    plain = answer(engine, "the cat", max_tokens=1).tokens[0]
    prompt = [*tokens_of(engine, "the cat"), plain, *tokens_of(engine, "the cat")]
    sampling = SamplingOptions(temperature=0, presence_penalty=100, repeat_last_n=-1)
    sequence = engine.submit(prompt, sampling, AnswerOptions(max_tokens=1, ignore_eos=True))
    list(sequence)
    assert sequence.answer is not None
    assert sequence.answer.tokens[0] not in prompt


def test_a_grammar_is_kept_to(engine: Engine):
    given = answer(
        engine,
        "the",
        SamplingOptions(seed=3, temperature=5, top_k=0, grammar='root ::= "yes" | "no"'),
        ignore_eos=False,
    )
    assert given.text in ("yes", "no")
    assert given.finish_reason == "stop"


def test_a_grammar_that_does_not_parse_is_bad_input(engine: Engine):
    with pytest.raises(BadInputError, match="grammar"):
        answer(engine, "the", SamplingOptions(grammar="root ::= ("))


def test_after_a_failure_the_engine_goes_on(engine: Engine):
    with pytest.raises(BadInputError, match="invalid token '<nothing>'"):
        answer(engine, "the", SamplingOptions(grammar="root ::= <nothing>"))
    assert len(answer(engine, "the cat").tokens) == 20


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(engine: Engine):
    with pytest.raises(PromptTooLongError) as refused:
        engine.submit([65] * 256, GREEDY, AnswerOptions())
    assert (refused.value.prompt_tokens, refused.value.context_length) == (256, 256)


@pytest.mark.parametrize("tokens", [[], [-1], [10**6]], ids=["empty", "negative", "too large"])
def test_tokens_that_are_none_are_refused(engine: Engine, tokens: list[int]):
    with pytest.raises(BadInputError):
        engine.submit(tokens, GREEDY, AnswerOptions())


def test_an_answer_that_fills_the_context_ends_there(engine: Engine):
    given = answer(engine, "x" * 250, max_tokens=None)
    assert given.finish_reason == "context"
    assert given.prompt_tokens + len(given.tokens) == 256 + 1  # the last token needs no place in the cache


def test_shifting_lets_an_answer_outgrow_the_context(engine: Engine):
    given = answer(engine, "the cat", max_tokens=400, on_overflow="shift")
    assert len(given.tokens) == 400
    assert given.shifted_tokens > 0


def test_a_common_beginning_is_read_once(engine: Engine):
    first = answer(engine, "the cat sat on the mat", max_tokens=1)
    second = answer(engine, "the cat sat on the hat", max_tokens=1)
    assert first.cached_tokens == 0
    assert second.cached_tokens > 10


def test_a_reused_beginning_does_not_change_the_answer(engine: Engine):
    fresh = answer(engine, "the cat sat on the hat").tokens
    answer(engine, "the cat sat on the mat and purred")
    assert answer(engine, "the cat sat on the hat").tokens == fresh


def test_a_cancelled_answer_keeps_what_it_has(engine: Engine):
    sequence = engine.submit(tokens_of(engine, "the cat"), GREEDY, AnswerOptions(ignore_eos=True, on_overflow="shift"))
    pieces = []
    for chunk in sequence:
        pieces.append(chunk.text)
        if len(pieces) == 5:
            engine.cancel(sequence)
    assert sequence.answer is not None
    assert sequence.answer.finish_reason == "cancelled"
    assert sequence.answer.text.startswith("".join(pieces[:5]))


def test_a_waiting_prompt_can_be_cancelled(engine: Engine):
    running = engine.submit(
        tokens_of(engine, "the cat"), GREEDY, AnswerOptions(max_tokens=2000, ignore_eos=True, on_overflow="shift")
    )
    waiting = engine.submit(tokens_of(engine, "a dog"), GREEDY, AnswerOptions(max_tokens=2000, ignore_eos=True))
    engine.cancel(waiting)
    engine.cancel(running)
    assert [chunk.text for chunk in waiting] == []
    assert waiting.answer is not None
    assert waiting.answer.finish_reason == "cancelled"
    list(running)


def test_prompts_of_several_threads_are_answered_each_its_own(engine: Engine):
    prompts = ["the cat", "a dog", "some birds", "one fish"]
    alone = {prompt: answer(engine, prompt).tokens for prompt in prompts}
    together: dict[str, tuple[int, ...]] = {}
    threads = [
        threading.Thread(target=lambda prompt=prompt: together.update({prompt: answer(engine, prompt).tokens}))
        for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_closing_cancels_what_runs_and_what_waits(tiny_model: Path):
    model = load_model([tiny_model], ModelOptions())
    engine = Engine(model, Context(model, ContextOptions(256, threads=1)))
    endless = AnswerOptions(ignore_eos=True, on_overflow="shift")
    running, waiting = engine.submit([65], GREEDY, endless), engine.submit([66], GREEDY, endless)
    next(iter(running))
    engine.close()
    for sequence in (running, waiting):
        list(sequence)
        assert sequence.answer is not None
        assert sequence.answer.finish_reason == "cancelled"
    with pytest.raises(LlmasosError, match="closed"):
        engine.submit([65], GREEDY, endless)
    model.close()


def test_a_closed_model_refuses_instead_of_crashing(tiny_model: Path):
    model = load_model([tiny_model], ModelOptions())
    model.close()
    with pytest.raises(LlmasosError, match="closed"):
        model.tokenize("x", add_special=False, parse_special=False)


def test_an_abort_in_the_middle_of_a_prompt_leaves_a_sound_cache(engine: Engine):
    sequence = engine.submit([65] * 200, GREEDY, AnswerOptions(max_tokens=1))
    engine.cancel(sequence)
    list(sequence)
    assert answer(engine, "the cat").tokens == answer(engine, "the cat").tokens


def test_after_a_shift_only_what_was_never_shifted_is_reused(engine: Engine):
    first = answer(engine, "the cat", max_tokens=400, on_overflow="shift")
    written = engine.model.detokenize(first.tokens[:50])
    again = answer(engine, "the cat" + written, max_tokens=1)
    assert again.cached_tokens <= len(tokens_of(engine, "the cat"))


@pytest.mark.parametrize("length", [30, 31, 32, 100])
def test_a_short_context_is_as_long_as_asked_and_holds_what_fits(tiny_model: Path, length: int):
    model = load_model([tiny_model], ModelOptions())
    with Engine(model, Context(model, ContextOptions(length, threads=1))) as engine:
        with pytest.raises(PromptTooLongError):
            engine.submit([65] * length, GREEDY, AnswerOptions())
        sequence = engine.submit([65] * (length - 1), GREEDY, AnswerOptions(ignore_eos=True))
        list(sequence)
    model.close()
    assert sequence.answer is not None
    assert (len(sequence.answer.tokens), sequence.answer.finish_reason) == (2, "context")
