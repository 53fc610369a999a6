"""Perplexity is llama-perplexity's to its last printed digit, and every other way to cut a text gives another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from doubles.perplexities import PAIR, TINY, TINY_BYTES, TINY_CONTEXT
from doubles.tiny import TinyModel
from llmasos.engine.options import LoadOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.evaluation import perplexity
from llmasos.evaluation.compare import Comparison, compare
from llmasos.evaluation.perplexity import Perplexity, Settings, measure
from llmasos.evaluation.scorer import Wanted, Window, open_scorer
from llmasos.evaluation.texts import OWN_TEXT, Text, make_text
from llmasos.locate import Located

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/perplexity.json").read_text())
SETTINGS = Settings(context=TINY_CONTEXT)


@pytest.fixture(scope="module")
def text() -> Text:
    return make_text("own", OWN_TEXT.read_bytes()[:TINY_BYTES].decode())


@pytest.fixture(scope="module")
def located(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Located]:
    from doubles.tiny import write_tiny

    folder = tmp_path_factory.mktemp("perplexity")
    made = {name: write_tiny(folder / f"{name}.gguf", model) for name, model in TINY.items()}
    return lambda name: Located((made[name],), None)


def measured(located: Located, text: Text, settings: Settings = SETTINGS) -> Perplexity:
    return measure(located, text, settings, LoadOptions())


def told(found: Perplexity) -> dict[str, str]:
    return {"perplexity": f"{found.perplexity:.4f}", "stderr": f"{found.stderr:.5f}"}


@pytest.mark.parametrize("name", TINY)
def test_it_is_what_llama_perplexity_prints(located: Callable[[str], Located], text: Text, name: str):
    found = measured(located(name), text)
    assert told(found) == GOLDEN["tiny"][name]
    assert found.tokens == len(found.chunks) * (TINY_CONTEXT // 2 - 1)


@pytest.mark.parametrize("name", TINY)
def test_without_flash_attention_it_is_so_however_many_chunks_that_reads_together(
    located: Callable[[str], Located], text: Text, name: str
):
    found = measure(located(name), text, SETTINGS, LoadOptions(flash_attention=False))
    assert told(found) == GOLDEN["tiny together"][name]


def inserted(windows: list[Window], beginning: int) -> list[Window]:
    return [replace(each, tokens=[beginning, *each.tokens[:-1]]) for each in windows]


WRONG: dict[str, Callable[[list[Window], int, list[int]], list[Window]]] = {
    "no beginning": lambda windows, beginning, tokens: [
        replace(each, tokens=[tokens[place * TINY_CONTEXT], *each.tokens[1:]]) for place, each in enumerate(windows)
    ],
    "a beginning before it": lambda windows, beginning, tokens: inserted(windows, beginning),
    "the first token of the half too": lambda windows, beginning, tokens: [
        replace(each, first=each.first - 1) for each in windows
    ],
    "all tokens": lambda windows, beginning, tokens: [replace(each, first=1) for each in windows],
    "the tail too": lambda windows, beginning, tokens: [
        *windows, Window(tokens[len(windows) * TINY_CONTEXT :], 1, alone=True)
    ],
    "half as long": lambda windows, beginning, tokens: [
        Window([beginning, *tokens[start + 1 : start + 32]], 17, alone=True) for start in range(0, len(tokens) - 31, 32)
    ],
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_way_to_cut_the_text_gives_another_figure(
    located: Callable[[str], Located], text: Text, wrong: str, monkeypatch: pytest.MonkeyPatch
):
    right = perplexity.chunks
    monkeypatch.setattr(
        perplexity,
        "chunks",
        lambda tokens, context, vocabulary: WRONG[wrong](
            right(tokens, context, vocabulary), vocabulary.beginning, tokens
        ),
    )
    assert told(measured(located("with a beginning"), text)) != GOLDEN["tiny"]["with a beginning"]


def test_what_was_read_before_moves_no_digit(located: Callable[[str], Located], text: Text):
    with open_scorer(located("plain"), LoadOptions(), TINY_CONTEXT, logit_rows=32) as scorer:
        windows = perplexity.windows_of(scorer.model, text, SETTINGS)
        forth = list(scorer.score(windows))
        back = list(scorer.score(windows[::-1]))[::-1]
    for one, other in zip(forth, back, strict=True):
        np.testing.assert_array_equal(one.log_probabilities, other.log_probabilities)


def test_bits_per_byte_are_of_the_scored_bytes(located: Callable[[str], Located], text: Text):
    found = measured(located("plain"), text)
    assert found.bits_per_byte == pytest.approx(np.log2(found.perplexity) * found.tokens / found.bytes)
    assert found.interval[0] < found.perplexity < found.interval[1]


@pytest.mark.parametrize("stride", [None, 64, 16])
def test_rolling_scores_every_token_once(located: Callable[[str], Located], text: Text, stride: int | None):
    found = measured(located("plain"), text, Settings("rolling", TINY_CONTEXT, stride))
    assert found.bytes == text.byte_count


def test_all_that_is_wanted_of_a_row_comes_from_it(located: Callable[[str], Located], text: Text):
    with open_scorer(located("plain"), LoadOptions(flash_attention=False, kv_type="f32"), 100, parallel=3) as scorer:
        tokens = scorer.model.tokenize(text.content, add_special=True, parse_special=False)
        windows = [Window(tokens[start : start + 90], first) for start, first in ((0, 1), (5, 40), (5, 60), (200, 89))]
        size = scorer.model.vocabulary_size
        found = list(scorer.score(windows, Wanted(top=size, entropy=True, rank=True)))
        plain = list(scorer.score(windows))
    for window, scores, alone in zip(windows, found, plain, strict=True):
        assert scores.tokens.tolist() == window.scored
        np.testing.assert_allclose(scores.log_probabilities, alone.log_probabilities, atol=1e-4)
        assert scores.top_tokens is not None and scores.top_log_probabilities is not None
        assert scores.entropies is not None and scores.ranks is not None
        probabilities = np.exp(scores.top_log_probabilities)
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
        np.testing.assert_allclose(-(probabilities * scores.top_log_probabilities).sum(1), scores.entropies, atol=1e-3)
        for place, token in enumerate(window.scored):
            assert scores.top_tokens[place].tolist().index(token) + 1 == scores.ranks[place]


def test_a_text_that_is_too_short_says_what_would_do(located: Callable[[str], Located]):
    with pytest.raises(BadInputError, match="has 9 tokens and 2 chunks of 64") as caught:
        measured(located("plain"), make_text("short", "the cat so"))
    assert caught.value.hint == "give a longer text, or --context 4 or less"


def test_an_empty_text_is_refused():
    with pytest.raises(BadInputError, match="empty is empty"):
        make_text("empty", " \n")


@pytest.mark.parametrize(
    "arguments", [("nonsense", 64), ("chunks", 3), ("chunks", 64, 8), ("rolling", 64, 0), ("rolling", 64, 65)]
)
def test_settings_that_cannot_be_are_refused(arguments: tuple[str, int, int]):
    with pytest.raises(UsageError):
        Settings(*arguments)


@pytest.fixture(scope="module")
def comparison(located: Callable[[str], Located], text: Text) -> Comparison:
    base, other = (located(name) for name in PAIR)
    return compare(base, other, text, SETTINGS, LoadOptions())


# llama-perplexity keeps the reference's log-probabilities in 16 bits, which costs it the last digits.
@pytest.mark.parametrize(
    ("words", "figure", "within"),
    [
        ("Mean PPL(Q)", lambda found: found.other.perplexity.perplexity, 1e-3),
        ("Mean PPL(base)", lambda found: found.reference.perplexity.perplexity, 2e-2),
        ("Mean ln(PPL(Q)/PPL(base))", lambda found: found.agreement.log_ratio, 2e-5),
        ("Mean KLD", lambda found: found.agreement.kld, 2e-5),
        ("Maximum KLD", lambda found: found.agreement.kld_max, 2e-4),
        ("99.9% KLD", lambda found: found.agreement.kld_percentiles[0.999], 2e-4),
        ("99.0% KLD", lambda found: found.agreement.kld_percentiles[0.99], 2e-4),
        ("95.0% KLD", lambda found: found.agreement.kld_percentiles[0.95], 1e-4),
        ("90.0% KLD", lambda found: found.agreement.kld_percentiles[0.9], 1e-4),
        ("Median KLD", lambda found: found.agreement.kld_percentiles[0.5], 5e-5),
        ("Mean Δp", lambda found: 100 * found.agreement.dp, 1e-3),
        ("RMS Δp", lambda found: 100 * found.agreement.dp_rms, 1e-3),
        ("Same top p", lambda found: 100 * found.agreement.top1, 0.11),
    ],
)
def test_a_comparison_is_what_llama_perplexity_tells(
    comparison: Comparison, words: str, figure: Callable[[Comparison], float], within: float
):
    assert figure(comparison) == pytest.approx(float(GOLDEN["tiny divergence"][words]), abs=within)


def test_a_model_is_no_way_from_itself(located: Callable[[str], Located], text: Text):
    found = compare(located("plain"), located("plain"), text, SETTINGS, LoadOptions())
    assert found.agreement is not None
    assert (found.agreement.kld_max, found.agreement.dp_rms, found.agreement.top1) == (0, 0, 1)
    assert found.agreement.log_ratio == found.agreement.log_ratio_error == 0


def test_models_of_other_vocabularies_have_bits_per_byte_in_common(
    located: Callable[[str], Located], make_tiny: Callable[[TinyModel], Path], text: Text
):
    other = Located((make_tiny(TinyModel(controls=("<|more|>",))),), None)
    found = compare(located("plain"), other, text, SETTINGS, LoadOptions())
    assert found.agreement is None
    assert set(found.figures) == {"bpb", "size", "speed"}
