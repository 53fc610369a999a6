"""A prompt that the context can't hold: refused, cut from its beginning, or summarized, and said so each time.

Here a token is a character, or three for `é`, and the template adds a fixed number of them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.chat.overflow import FittedPrompt, Tools, fit_prompt
from llmasos.errors import PromptTooLongError

OVERHEAD = 4


def tokenize(text: str) -> list[int]:
    return list(text.encode("utf-16-le")[::2])


def detokenize(tokens: list[int]) -> str:
    return "".join(map(chr, tokens))


def build(text: str, overhead: int = OVERHEAD) -> list[int]:
    return [0] * overhead + tokenize(text)


def shorten(text: str, longest: int) -> str:
    return text[:: max(1, -(-len(text) // longest))][:longest]


def tools(build: Callable[[str], list[int]] = build, summarize: Callable[[str, int], str] = shorten) -> Tools:
    return Tools(build, tokenize, detokenize, summarize)


def words(fitted: FittedPrompt) -> str:
    return detokenize(fitted.tokens[OVERHEAD:])


@pytest.mark.parametrize("policy", ["error", "truncate", "shift", "summarize"])
def test_a_prompt_that_fits_is_left_alone(policy: str):
    assert fit_prompt("x" * 95, 100, policy, tools()) == FittedPrompt(build("x" * 95))


def test_a_prompt_must_leave_room_for_an_answer():
    with pytest.raises(PromptTooLongError, match="the prompt is 100 tokens long and the context holds 100") as error:
        fit_prompt("x" * 96, 100, "error", tools())
    assert (error.value.prompt_tokens, error.value.context_length, error.value.exit_code) == (100, 100, 5)


@pytest.mark.parametrize("policy", ["truncate", "shift"])
def test_cutting_keeps_the_end_and_a_quarter_for_the_answer(policy: str):
    fitted = fit_prompt("begin " * 40 + "the question", 100, policy, tools())
    assert words(fitted) == ("begin " * 40 + "the question")[-71:]
    assert fitted.note == "the first 181 of the prompt's 252 tokens were cut"


def test_a_cut_that_makes_more_tokens_than_it_left_is_made_again():
    splitting = tools(build=lambda text: build(text) + [0] * (len(text) // 2))
    fitted = fit_prompt("x" * 300, 100, "truncate", splitting)
    assert len(fitted.tokens) < 100
    assert fitted.note is not None


def test_a_template_that_repeats_the_text_can_be_cut_too():
    fitted = fit_prompt("x" * 90, 100, "truncate", tools(build=lambda text: build(text + text)))
    assert 70 < len(fitted.tokens) <= 75


@pytest.mark.parametrize("policy", ["truncate", "shift", "summarize"])
def test_a_system_prompt_that_fills_the_context_can_not_be_helped(policy: str):
    with pytest.raises(PromptTooLongError):
        fit_prompt("x" * 50, 100, policy, tools(build=lambda text: build(text, 80)))


def test_a_summary_takes_the_place_of_the_text():
    fitted = fit_prompt("abc" * 100, 100, "summarize", tools())
    assert len(fitted.tokens) <= 75
    assert fitted.note == f"the prompt's 300 tokens were summarized to {len(fitted.tokens)}"


def test_each_piece_to_be_summarized_fits_with_its_request():
    pieces: list[str] = []

    def summarize(text: str, longest: int) -> str:
        pieces.append(text)
        return shorten(text, longest)

    fit_prompt("abc" * 100, 100, "summarize", tools(summarize=summarize))
    assert "".join(pieces[:9]) == "abc" * 100
    assert max(map(len, pieces)) <= 35


def test_summaries_that_do_not_get_shorter_are_given_up_with_the_true_numbers():
    with pytest.raises(PromptTooLongError, match="the prompt is 304 tokens long and the context holds 100"):
        fit_prompt("abc" * 100, 100, "summarize", tools(summarize=lambda text, longest: text))


@settings(deadline=None)
@given(
    st.text(max_size=400), st.integers(1, 200), st.sampled_from(["truncate", "shift", "summarize"]), st.integers(0, 40)
)
def test_what_comes_out_always_fits(text: str, context_length: int, policy: str, overhead: int):
    try:
        fitted = fit_prompt(text, context_length, policy, tools(build=lambda part: build(part, overhead)))
    except PromptTooLongError as error:
        assert error.context_length == context_length <= error.prompt_tokens
        return
    assert len(fitted.tokens) < context_length
    assert (fitted.note is None) == (len(build(text, overhead)) < context_length)
