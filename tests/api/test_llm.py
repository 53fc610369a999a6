"""The Python API on a tiny model: prompts, chats, streams, scores, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import llmasos
from conftest import PROJECT
from doubles.tiny import TinyModel
from llmasos import LLM, LlmasosError
from llmasos.api.requests import Loading, Wanted, make_request
from llmasos.engine.options import DRAWING, AnswerOptions, BeamOptions, LoadOptions, SamplingOptions
from llmasos.engine.structure import SHAPES
from llmasos.errors import BadInputError, ModelNotFoundError, PromptTooLongError, UsageError
from llmasos.settings import FOREIGN_NAMES

FOX = "The quick brown fox"
TEN = {"max_new_tokens": 10, "ignore_eos": True}


@pytest.fixture
def model(tiny_model: Path) -> Iterator[LLM]:
    """Plain attention, so that an answer does not depend on who is worked on beside it."""
    with LLM.from_pretrained(str(tiny_model), threads=1, flash_attention=False, kv_type="f32") as model:
        yield model


# Prompts.


def test_a_prompt_is_gone_on_from_and_is_no_part_of_what_comes(model: LLM):
    text = model.generate(prompt=FOX, max_length=len(model.tokenize(FOX)) + 10, ignore_eos=True)
    assert isinstance(text, str)
    assert text == model.generate(FOX, **TEN) == model.generate(FOX, max_tokens=10, ignore_eos=True)
    assert text == model.generate(model.tokenize(FOX, add_special=True), **TEN)


def test_it_is_greedy_unless_something_is_to_be_drawn(model: LLM):
    greedy = model.generate(FOX, **TEN)
    assert model.generate(FOX, **TEN, do_sample=False, temperature=2.0) == greedy
    assert model.generate(FOX, **TEN, temperature=0) == greedy
    drawn = {model.generate(FOX, **TEN, temperature=3.0, seed=seed) for seed in range(4)}
    assert len(drawn) > 1
    assert len({model.generate(FOX, **TEN, do_sample=True) for _ in range(6)}) > 1


def test_a_list_of_prompts_gives_a_list_in_its_order(model: LLM):
    prompts = [f"{FOX} {number}" for number in range(20)]
    assert model.generate(prompts, **TEN) == [model.generate(prompt, **TEN) for prompt in prompts]
    assert model.generate([], **TEN) == []
    assert model.generate([[65, 66], [67]], **TEN) == [model.generate([65, 66], **TEN), model.generate([67], **TEN)]


def test_beams_give_the_best_first(model: LLM):
    best = model.generate(FOX, **TEN, num_beams=5)
    several = model.generate(FOX, **TEN, num_beams=5, num_return_sequences=3, early_stopping=True, length_penalty=0.5)
    assert isinstance(best, str)
    assert len(several) == 3
    assert model.generate([FOX, FOX], **TEN, num_beams=5) == [best, best]


def test_several_drawn_answers_have_seeds_that_follow(model: LLM):
    three = model.generate(FOX, **TEN, temperature=2.0, seed=7, num_return_sequences=3)
    assert three == [model.generate(FOX, **TEN, temperature=2.0, seed=seed) for seed in (7, 8, 9)]


def test_a_stop_string_may_be_one_or_several(model: LLM):
    text = model.generate(FOX, **TEN)
    assert model.generate(FOX, **TEN, stop=text[3:5]) == text[: text.index(text[3:5])]
    assert model.generate(FOX, **TEN, stop_strings=["never", text[3:5]]) == text[: text.index(text[3:5])]


def test_a_stream_gives_the_same_in_pieces(model: LLM):
    pieces = list(model.stream(FOX, **TEN))
    assert len(pieces) > 1
    assert "".join(pieces) == model.generate(FOX, **TEN)
    assert "".join(model.stream(FOX, **TEN, num_beams=3)) == model.generate(FOX, **TEN, num_beams=3)


def test_a_stream_that_is_left_ends_its_answer(model: LLM):
    stream = model.stream(FOX, max_new_tokens=10_000, ignore_eos=True, on_overflow="shift")
    next(stream)
    stream.close()
    assert model.generate(FOX, **TEN)
    assert model._engine._worker.scheduler.is_idle


def test_tokens_come_and_go(model: LLM):
    tokens = model.tokenize(FOX)
    assert model.detokenize(tokens) == FOX
    assert model.tokenize("<|end|>", parse_special=True) != model.tokenize("<|end|>")


# Chats.


def test_a_question_goes_through_the_template(model: LLM):
    prompt = model.tokenize("<|user|>Hello<|end|><|assistant|>", parse_special=True)
    expected = model.generate(prompt, max_new_tokens=10)
    assert model.chat("Hello", max_new_tokens=10, temperature=0) == expected
    assert model.chat([{"role": "user", "content": "Hello"}], max_new_tokens=10, do_sample=False) == expected
    assert "".join(model.stream_chat("Hello", max_new_tokens=10, temperature=0)) == expected


def test_a_system_prompt_and_a_conversation_go_before(model: LLM):
    text = "<|system|>Be brief.<|end|><|user|>Hello<|end|><|assistant|>Hi<|end|><|user|>Bye<|end|><|assistant|>"
    expected = model.generate(model.tokenize(text, parse_special=True), max_new_tokens=10)
    turns = [("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
    messages = [{"role": role, "content": content} for role, content in turns]
    assert model.chat(messages, system="Be brief.", max_new_tokens=10, temperature=0) == expected


def test_a_model_without_a_template_can_not_chat(make_tiny: Callable[[TinyModel], Path]):
    with (
        LLM.from_pretrained(str(make_tiny(TinyModel(template=None))), threads=1) as model,
        pytest.raises(BadInputError, match="has no chat template"),
    ):
        model.chat("Hello")


@pytest.mark.parametrize(
    "messages", [[], [{"role": "user"}], [{"role": "pirate", "content": "Hello"}], [{"content": "Hello"}]], ids=str
)
def test_messages_that_are_none_are_refused(model: LLM, messages: list):
    with pytest.raises(BadInputError, match="message"):
        model.chat(messages)


# Scores.


def values(scores: list[llmasos.TokenScore]) -> list[float]:
    return [score.log_probability for score in scores]


def test_scores_are_those_of_the_tokens_that_come(model: LLM):
    scores = model.score(FOX, top=3)
    assert [score.token for score in scores] == model.tokenize(FOX)[1:]
    assert all(score.log_probability < 0 and len(score.top) == 3 for score in scores)
    assert [values(each) for each in model.score([FOX, FOX])] == [pytest.approx(values(scores), abs=1e-3)] * 2
    likeliest = model.score(model.tokenize(FOX) + [scores[-1].top[0][0]])[-1].log_probability
    assert likeliest <= 0


# asyncio.


def test_many_are_awaited_at_a_time(model: LLM):
    prompts = [f"{FOX} {number}" for number in range(30)]

    async def ask() -> list:
        together = await asyncio.gather(*(model.agenerate(prompt, **TEN) for prompt in prompts))
        return [together, await model.agenerate(prompts, **TEN), await model.achat("Hello", max_new_tokens=5, seed=1)]

    together, listed, chatted = asyncio.run(ask())
    assert together == listed == model.generate(prompts, **TEN)
    assert chatted == model.chat("Hello", max_new_tokens=5, seed=1)


def test_a_stream_is_awaited_piece_by_piece(model: LLM):
    async def read() -> list[str]:
        return [piece async for piece in model.astream(FOX, **TEN)]

    async def read_chat() -> list[str]:
        return [piece async for piece in model.astream_chat("Hello", max_new_tokens=5, temperature=0)]

    assert asyncio.run(read()) == list(model.stream(FOX, **TEN))
    assert "".join(asyncio.run(read_chat())) == model.chat("Hello", max_new_tokens=5, temperature=0)


def test_a_call_that_is_cancelled_ends_its_answer(model: LLM):
    async def impatient() -> None:
        endless = model.agenerate(FOX, max_new_tokens=100_000, ignore_eos=True, on_overflow="shift")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endless, 0.2)

    asyncio.run(impatient())
    assert model.generate(FOX, **TEN)
    assert model._engine._worker.scheduler.is_idle


def test_scores_are_awaited(model: LLM):
    assert values(asyncio.run(model.ascore(FOX))) == pytest.approx(values(model.score(FOX)), abs=1e-3)


def test_any_thread_may_ask(model: LLM):
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = model.generate(f"{FOX} {number}", **TEN)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: model.generate(f"{FOX} {number}", **TEN) for number in range(12)}


def test_a_cache_in_parts_gives_the_same(model: LLM, tiny_model: Path):
    prompts = [f"{number} {FOX}" for number in range(12)]
    own = {"threads": 1, "flash_attention": False, "kv_type": "f32"}
    with LLM.from_pretrained(str(tiny_model), shared_cache=False, parallel=4, **own) as parted:
        assert parted.generate(prompts, **TEN) == model.generate(prompts, **TEN)
        assert parted._engine.context.capacity == 4 * parted.context_length


@pytest.mark.parametrize(
    ("context_length", "shared_cache", "is_pooled"),
    [(256, None, False), (1024, None, False), (1280, None, True), (256, True, True), (1280, False, False)],
)
def test_each_has_cells_of_its_own_where_that_takes_no_more(
    tiny_model: Path, context_length: int, shared_cache: bool | None, *, is_pooled: bool
):
    own = {"context_length": context_length, "shared_cache": shared_cache}
    with LLM.from_pretrained(str(tiny_model), parallel=4, **own) as model:
        assert model._engine.context.options.pooled == is_pooled
        assert model.context_length == context_length


# What is refused.


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"max_length": 3}, "the prompt has .* tokens and max_length is 3"),
        ({"max_length": 30, "max_new_tokens": 3}, "both say how long"),
        ({"num_beams": 3, "temperature": 0.5}, "beams never draw a token"),
        ({"num_beams": 3, "do_sample": True}, "beams never draw a token"),
        ({"num_beams": 3, "repetition_penalty": 1.2}, "repeat_penalty has no effect on beams"),
        ({"num_beams": 2, "num_return_sequences": 3}, "2 beams can't give 3 sequences"),
        ({"num_beams": 9}, "9 beams are more than the 8 that go on at a time"),
        ({"num_return_sequences": 2}, "2 greedy answers would all be the same"),
        ({"num_return_sequences": 0}, "num_return_sequences is at least 1"),
        ({"temperature": float("nan")}, "temperature is not a number"),
        ({"temperature": "hot"}, "temperature can't be 'hot'"),
        ({"top_k": 1.5}, "top_k can't be 1.5"),
        ({"max_new_tokens": -5}, "at least 0"),
        ({"early_stopping": "soon"}, "one of true, false, never"),
    ],
    ids=str,
)
def test_options_that_can_not_be_are_refused(model: LLM, wanted: dict, told: str):
    with pytest.raises(UsageError, match=told):
        model.generate(FOX, **wanted)


def test_an_option_that_there_is_not_is_a_type_error_with_one_like_it(model: LLM):
    with pytest.raises(TypeError, match="no option 'temprature'; did you mean 'temperature'"):
        model.generate(FOX, temprature=1)
    with pytest.raises(TypeError, match="no option 'n_gpu'"):
        LLM.from_pretrained("tiny", n_gpu=1)


@pytest.mark.parametrize("prompt", ["", [65, 10**6], [65, -1], [65, 0.5]], ids=str)
def test_prompts_that_are_none_are_refused(model: LLM, prompt: object):
    with pytest.raises((BadInputError, TypeError)):
        model.generate(prompt, **TEN)


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(model: LLM):
    with pytest.raises(PromptTooLongError) as refused:
        model.generate([65] * 300)
    assert (refused.value.prompt_tokens, refused.value.context_length) == (300, model.context_length)


def test_one_bad_prompt_of_a_list_is_told_and_the_model_goes_on(model: LLM):
    with pytest.raises(PromptTooLongError):
        model.generate([FOX, [65] * 300, FOX], max_new_tokens=100)
    assert model.generate(FOX, **TEN)
    assert model._engine._worker.scheduler.is_idle


def test_a_model_that_there_is_not_is_named():
    with pytest.raises(ModelNotFoundError):
        LLM.from_pretrained("nothing-like-it", offline=True)


def test_a_closed_model_says_so(tiny_model: Path):
    model = LLM.from_pretrained(str(tiny_model), threads=1)
    model.close()
    model.close()
    for ask in (lambda: model.generate(FOX), lambda: model.generate([65]), lambda: model.tokenize(FOX)):
        with pytest.raises(LlmasosError, match="closed"):
            ask()


def test_closing_ends_what_goes_on(tiny_model: Path):
    model = LLM.from_pretrained(str(tiny_model), threads=1)
    stream = model.stream(FOX, max_new_tokens=100_000, ignore_eos=True, on_overflow="shift")
    next(stream)
    model.close()
    list(stream)


# The papers.


def test_every_option_is_in_the_types():
    own = {each.name for kind in (SamplingOptions, AnswerOptions, BeamOptions) for each in fields(kind)}
    beside = {"do_sample", "max_length", "num_return_sequences", *SHAPES}
    named = set(Wanted.__annotations__)
    assert own <= named
    assert all(name in beside or FOREIGN_NAMES.get(name) in own for name in named - own)
    assert set(Loading.__annotations__) == {each.name for each in fields(LoadOptions)}
    assert {each.name for each in fields(SamplingOptions)} >= DRAWING


def test_a_models_own_parameters_count_but_not_for_greed():
    own = {"temperature": 0.3, "top_k": 7}
    assert make_request({}, own, draws=True).sampling.temperature == 0.3
    assert make_request({"top_k": 3}, own, draws=False).sampling == SamplingOptions(temperature=0.3, top_k=3)
    assert make_request({}, own, draws=False).sampling.temperature == 0


def test_public_methods_have_docstrings():
    methods = [member for name, member in inspect.getmembers(LLM) if not name.startswith("_") and callable(member)]
    assert all(inspect.getdoc(method) for method in methods)
    assert all(hasattr(llmasos, name) for name in llmasos.__all__)


def test_importing_the_package_loads_nothing():
    program = "import sys, llmasos; print(*(name for name in sys.modules if name.startswith(('llmasos', 'numpy'))))"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["llmasos"]


def test_a_model_that_nobody_closes_ends_with_the_program(tiny_model: Path):
    program = (
        "from llmasos import LLM\n"
        f"model = LLM.from_pretrained({str(tiny_model)!r}, threads=1)\n"
        "stream = model.stream('the', max_new_tokens=10**6, ignore_eos=True, on_overflow='shift')\n"
        "next(stream)\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_stream_keeps_the_model_that_it_comes_from(tiny_model: Path):
    stream = LLM.from_pretrained(str(tiny_model), threads=1).stream(FOX, **TEN)
    gc.collect()
    assert len(list(stream)) > 1


def test_a_model_that_nobody_has_any_more_is_freed(tiny_model: Path):
    model = LLM.from_pretrained(str(tiny_model), threads=1)
    model.generate(FOX, **TEN)
    background, gone = model._engine._background, weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    background.end()  # returns
