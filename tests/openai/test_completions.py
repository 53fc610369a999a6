"""`/v1/completions`: prompts of all kinds, echoes, scores, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.bodies import JSON
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions
from llmasos.errors import LlmasosError
from llmasos.openai.bodies import Defaults
from llmasos.openai.completions import KNOWN
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS, TextInterface

FIXED = {"temperature": 0, "max_tokens": 4, "ignore_eos": True}


def test_the_response_is_openais_to_the_field(ask):
    response = ask(COMPLETIONS, {"prompt": "the cat", **FIXED})
    [choice] = response["choices"]
    assert (response["id"], response["object"], response["model"]) == ("cmpl-7", "text_completion", "tiny")
    assert choice == {"text": choice["text"], "index": 0, "logprobs": None, "finish_reason": "length"}
    assert response["usage"]["total_tokens"] == response["usage"]["prompt_tokens"] + 4


def test_prompts_are_texts_or_tokens_one_or_many(ask, model: Model):
    tokens = model.tokenize("the cat", add_special=True, parse_special=False)
    texts = [
        [choice["text"] for choice in ask(COMPLETIONS, {"prompt": prompt, **FIXED})["choices"]]
        for prompt in ("the cat", ["the cat"], tokens, [tokens, "the cat"])
    ]
    assert texts == [texts[0], texts[0], texts[0], texts[0] * 2]


def test_an_echo_comes_with_the_scores_of_the_prompt(ask, model: Model):
    response = ask(COMPLETIONS, {"prompt": "the cat", "echo": True, "logprobs": 2, **FIXED})
    [choice] = response["choices"]
    scores = choice["logprobs"]
    assert choice["text"].startswith("the cat")
    prompt = model.tokenize("the cat", add_special=True, parse_special=False)
    assert len(scores["tokens"]) == len(prompt) + 4
    assert scores["token_logprobs"][0] is scores["top_logprobs"][0] is None
    assert all(value < 0 for value in scores["token_logprobs"][1:])
    assert all(len(top) == 2 for top in scores["top_logprobs"][1:])
    assert [choice["text"][at] for at in scores["text_offset"][: len(prompt)]] == [
        token[0] for token in scores["tokens"][: len(prompt)]
    ]


def test_a_text_can_be_scored_without_an_answer(ask):
    response = ask(COMPLETIONS, {"prompt": "the cat", "echo": True, "logprobs": 1, "max_tokens": 0})
    assert response["choices"][0]["text"] == "the cat"
    assert response["usage"]["completion_tokens"] == 0


def test_the_scores_go_to_the_model_s_end(ask, model: Model):
    end = model.special_token("eos")
    body = {"prompt": "the cat", "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    [ended] = ask(COMPLETIONS, {**body, "logit_bias": {str(end): 100}})["choices"]
    assert (ended["text"], ended["finish_reason"]) == ("the cat", "stop")
    [other] = ask(COMPLETIONS, {**body, "logit_bias": {str(end): False}})["choices"]
    # One token stands behind the prompt in either case: lm-evaluation-harness leaves it out.
    scores, others = ended["logprobs"]["token_logprobs"], other["logprobs"]["token_logprobs"]
    assert len(scores) == len(others)
    assert scores[1:-1] == pytest.approx(others[1:-1], abs=1e-3)
    assert ended["logprobs"]["text_offset"][-1] == len("the cat")


def test_parts_of_a_character_are_shown_as_bytes(ask):
    scores = ask(COMPLETIONS, {"prompt": "é!", "echo": True, "logprobs": 0, "max_tokens": 0})["choices"][0]["logprobs"]
    assert scores["tokens"] == ["bytes:\\xc3", "bytes:\\xa9", "!"]
    assert scores["text_offset"] == [0, 0, 1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "the prompt is a text"),
        ({"prompt": []}, "the prompt is a text"),
        ({"prompt": [1.5]}, "the prompt is a text"),
        ({"prompt": [10**9]}, "is no token"),
        ({"prompt": "a", "best_of": 2, "n": 3}, "best_of is at least n"),
        ({"prompt": "a", "best_of": 2, "stream": True}, "known at their end"),
        ({"prompt": "a", "best_of": 200}, "best_of is 1 to 128"),
        ({"prompt": "a", "suffix": "b"}, "can't fill in: it has no token for prefix, suffix, middle"),
        ({"prompt": "a", "suffix": "b", "echo": True}, "echoed in a whole response only"),
        ({"prompt": "a", "num_beams": 2, "n": 3}, "2 beams can't give 3"),
        ({"prompt": "a", "num_beams": 2, "top_p": 0.5}, "beams never draw"),
        ({"prompt": "a", "num_beams": 2, "frequency_penalty": 1}, "no effect on beams"),
        ({"prompt": "a", "num_beams": 2, "logprobs": 1}, "their tokens have none"),
        ({"prompt": "a", "num_beams": 2, "best_of": 3}, "their tokens have none"),
        ({"prompt": "a", "num_beams": 65}, "at most 64"),
        ({"prompt": "a", "stream": "yes"}, "stream takes true or false"),
        ({"prompt": "a", "stream_options": []}, "stream_options"),
        ({"prompt": "a", "messages": []}, "no field `messages`"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(interface: TextInterface, body: Any, message: str):
    with pytest.raises(LlmasosError, match=message):
        interface.ask(COMPLETIONS, body)


def test_other_paths_are_told_those_that_there_are(interface: TextInterface):
    with pytest.raises(LlmasosError, match="does not answer to") as raised:
        interface.ask(EMBEDDINGS, {"input": "a"})
    assert CHAT in str(raised.value.hint)


def test_the_best_of_several_are_told(ask):
    asked = {"prompt": "the cat", "seed": 7, "temperature": 1.0, "max_tokens": 6, "ignore_eos": True}
    every = ask(COMPLETIONS, {**asked, "n": 6, "logprobs": 0})["choices"]
    means = {choice["text"]: sum(scores := choice["logprobs"]["token_logprobs"]) / len(scores) for choice in every}
    best = ask(COMPLETIONS, {**asked, "best_of": 6, "n": 2})
    assert [choice["text"] for choice in best["choices"]] == sorted(means, key=lambda text: -means[text])[:2]
    assert [choice["index"] for choice in best["choices"]] == [0, 1]
    assert best["choices"][0]["logprobs"] is None
    assert best["usage"]["completion_tokens"] == 36  # those that are not told were written too
    [told] = ask(COMPLETIONS, {**asked, "best_of": 6, "logprobs": 1})["choices"]
    assert sum(told["logprobs"]["token_logprobs"]) / 6 == pytest.approx(max(means.values()), abs=1e-2)


def test_beams_are_followed_and_the_best_few_told(ask, engine: Engine, model: Model):
    asked = {"prompt": ["the cat", "a dog"], "num_beams": 4, "n": 3, "max_tokens": 5, "temperature": 0}
    response = ask(COMPLETIONS, {**asked, "length_penalty": 0.5, "early_stopping": True})
    expected = []
    for prompt in asked["prompt"]:
        tokens = model.tokenize(prompt, add_special=True, parse_special=False)
        beams = BeamOptions(num_beams=4, length_penalty=0.5, early_stopping="true")
        search = engine.submit(tokens, SamplingOptions(), AnswerOptions(max_tokens=5), beams)
        assert list(search) == []
        assert search.answer is not None
        expected += [answer.text for answer in (search.answer, *search.answer.others[:2])]
    assert [choice["text"] for choice in response["choices"]] == expected
    assert response["usage"]["completion_tokens"] <= 2 * 3 * 5
    assert ask(COMPLETIONS, {"prompt": "the cat", "num_beams": 1, "top_k": 1, "max_tokens": 5})["choices"][0]["text"]


@given(body=st.dictionaries(st.sampled_from(sorted(KNOWN)), JSON, max_size=4))
def test_no_body_breaks_the_reader(model: Model, body: dict[str, Any]):
    try:
        TextInterface(model, model.template, "tiny", Defaults()).ask(COMPLETIONS, {"prompt": "cat", **body})
    except LlmasosError as error:
        assert error.message
