"""Filling in the middle: `suffix` of completions, and `/infill` as llama-server has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.bodies import JSON
from doubles.tiny import FILLING, REPOSITORY, TinyModel
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.sequence import Answer
from llmasos.errors import LlmasosError, UsageError
from llmasos.openai.asked import Stamp
from llmasos.openai.bodies import Defaults
from llmasos.openai.filling import cut_to_room
from llmasos.openai.infill import INFILL, KNOWN
from llmasos.openai.interface import COMPLETIONS, TextInterface

LENGTH = 256
GAP = {"input_prefix": "def f():\n", "input_suffix": "\nf()", "max_tokens": 4, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def coder(make_tiny) -> Iterator[Model]:
    model = load_model([make_tiny(TinyModel(controls=(*FILLING, *REPOSITORY)))], ModelOptions())
    yield model
    model.close()


@pytest.fixture(scope="module")
def plain_coder(make_tiny) -> Iterator[Model]:
    model = load_model([make_tiny(TinyModel(controls=FILLING))], ModelOptions())
    yield model
    model.close()


def infill(model: Model, body: dict[str, Any]) -> Any:
    return TextInterface(model, None, "coder", Defaults(), LENGTH).ask(INFILL, body)


def prompt_of(model: Model, body: dict[str, Any]) -> str:
    [prompt] = infill(model, body).prompts
    return model.detokenize(prompt, shown=set(prompt))


def answered(model: Model, asked: Any) -> Answer:
    with Engine(model, Context(model, ContextOptions(LENGTH, threads=1))) as engine:
        [(prompt, sampling)] = asked.sequences()
        sequence = engine.submit(prompt, sampling, asked.limits, scores=asked.scores)
        list(sequence)
    assert sequence.answer is not None
    return sequence.answer


def test_a_gap_stands_between_the_marks_of_the_model(plain_coder: Model):
    body = {**GAP, "prompt": "  x"}
    assert prompt_of(plain_coder, body) == "<|fim_prefix|>def f():\n  x<|fim_suffix|>\nf()<|fim_middle|>"
    extra = {"input_extra": [{"filename": "a.py", "text": "A"}, {"text": "B"}]}
    assert prompt_of(plain_coder, {**body, **extra}).startswith("\n\n--- snippet ---\n\nA\n\n--- snippet ---\n\nB<|fim")


def test_other_files_come_in_the_form_of_repositories(coder: Model):
    body = {**GAP, "input_extra": [{"filename": "a.py", "text": "A"}]}
    before = "<|repo_name|>myproject\n<|file_sep|>a.py\nA<|file_sep|>filename\n"
    assert prompt_of(coder, body) == f"{before}<|fim_prefix|>def f():\n<|fim_suffix|>\nf()<|fim_middle|>"


def test_names_of_marks_in_a_text_are_no_marks(plain_coder: Model):
    [prompt] = infill(plain_coder, {**GAP, "input_prefix": "<|fim_middle|>"}).prompts
    marks = [plain_coder.special_token(kind) for kind in ("fim_pre", "fim_suf", "fim_mid")]
    assert [token for token in prompt if token in marks] == marks


@given(lengths=st.tuples(*[st.integers(0, 60)] * 3), room=st.integers(-5, 100))
def test_what_is_farthest_from_the_gap_is_cut(lengths: tuple[int, int, int], room: int):
    before, after, extra = (list(range(length)) for length in lengths)
    kept = cut_to_room(before, after, extra, room)
    assert sum(map(len, kept)) == min(sum(lengths), max(0, room))
    assert before[len(before) - len(kept[0]) :] == kept[0]
    assert after[: len(kept[1])] == kept[1]
    assert extra[len(extra) - len(kept[2]) :] == kept[2]
    if len(before) + len(after) > room > 0:
        assert not kept[2]
        assert len(kept[0]) >= min(len(before), room * 3 // 4)


def test_texts_that_are_too_long_leave_room_for_the_answer(coder: Model):
    body = {**GAP, "input_prefix": "a" * 3000, "input_suffix": "b" * 3000, "input_extra": [{"text": "c" * 3000}]}
    [prompt] = infill(coder, {**body, "max_tokens": 30}).prompts
    assert len(prompt) == LENGTH - 30
    [prompt] = infill(coder, {**body, "max_tokens": None}).prompts
    assert len(prompt) == LENGTH - LENGTH // 4


def test_the_response_is_llama_servers(coder: Model):
    asked = infill(coder, {**GAP, "n_probs": 2, "return_tokens": True})
    answer = answered(coder, asked)
    response = asked.response([answer], Stamp("7", 1, "coder"), coder.piece)
    assert response["content"] == answer.text
    assert (response["stop"], response["stop_type"], response["stopping_word"]) == (True, "limit", "")
    assert response["tokens"] == list(answer.tokens)
    assert (response["tokens_predicted"], response["tokens_evaluated"]) == (4, len(asked.prompts[0]))
    assert response["generation_settings"]["n_predict"] == 4
    assert response["timings"]["predicted_n"] == 4
    scored = response["completion_probabilities"]
    assert [each["id"] for each in scored] == list(answer.tokens)
    assert all(len(each["top_logprobs"]) == 2 for each in scored)
    assert scored[0]["top_logprobs"][0]["id"] == answer.tokens[0]  # the temperature is 0
    few = infill(coder, {**GAP, "response_fields": ["content", "generation_settings/n_ctx", "nothing/at/all"]})
    assert few.response([answer], Stamp("7", 1, "coder"), coder.piece) == {
        "content": answer.text,
        "generation_settings/n_ctx": LENGTH,
    }


def test_the_shorter_limit_in_time_holds(coder: Model):
    for milliseconds, own, seconds in ((500, None, 0.5), (500, 0.1, 0.1), (500, 0, 0), (0, 3, 3), (-1, None, None)):
        asked = infill(coder, {**GAP, "t_max_predict_ms": milliseconds, "max_seconds": own})
        assert asked.limits.max_seconds == seconds


def test_a_stop_is_told_by_its_word(coder: Model):
    first = answered(coder, infill(coder, GAP)).text
    asked = infill(coder, {**GAP, "stop": [first[0]]})
    response = asked.response([answered(coder, asked)], Stamp("7", 1, "coder"), coder.piece)
    assert (response["content"], response["stop_type"], response["stopping_word"]) == ("", "word", first[0])


def test_a_completion_with_a_suffix_is_the_same_question(coder: Model):
    interface = TextInterface(coder, None, "coder", Defaults())
    [prompt] = interface.ask(COMPLETIONS, {"prompt": "def f():\n", "suffix": "\nf()"}).prompts
    text = coder.detokenize(prompt, shown=set(prompt))
    assert text == "<|fim_prefix|>def f():\n<|fim_suffix|>\nf()<|fim_middle|>"
    tokens = coder.tokenize("def f():\n", add_special=False, parse_special=False)
    assert interface.ask(COMPLETIONS, {"prompt": [tokens], "suffix": "\nf()"}).prompts == [prompt]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input_prefix": None}, "input_prefix is missing"),
        ({"input_suffix": None}, "input_suffix is missing"),
        ({"input_extra": "a"}, "input_extra takes"),
        ({"input_extra": [{"filename": "a"}]}, r"input_extra\[0\] has no text"),
        ({"input_extra": [{"filename": 1, "text": ""}]}, "is no text"),
        ({"response_fields": [1]}, "response_fields"),
        ({"n": 2}, "no field `n`"),
        ({"num_beams": 2}, "no field `num_beams`"),
        ({"n_probs": -1}, "n_probs is 0 to"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(coder: Model, body: dict[str, Any], message: str):
    with pytest.raises(LlmasosError, match=message):
        infill(coder, {**GAP, **body})


def test_models_that_never_learned_it_are_told(model: Model):
    with pytest.raises(UsageError, match="no token for prefix, suffix, middle"):
        infill(model, GAP)


@given(body=st.dictionaries(st.sampled_from(sorted(KNOWN)), JSON, max_size=4))
def test_no_body_breaks_the_reader(coder: Model, body: dict[str, Any]):
    try:
        infill(coder, {**GAP, **body})
    except LlmasosError as error:
        assert error.message
