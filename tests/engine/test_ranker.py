"""Ranking by tiny rerankers: together as alone, the best first, and clear words for what can't be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.rerankers import write_bert_reranker, write_qwen3_reranker
from llmasos.conversion.convert import convert
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.pooled import PooledOptions
from llmasos.engine.ranker import Ranker
from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError, UsageError

QUERY = "the cat sat"
DOCUMENTS = ["a dog", "some birds sat on a mat", "one", "the cat"]
PLAIN = PooledOptions(128, 1, flash_attention=False, kv_type="f32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranking")


@pytest.fixture(scope="module")
def bert(folder: Path) -> Iterator[Model]:
    yield from opened(write_bert_reranker(folder))


@pytest.fixture(scope="module")
def qwen3(folder: Path) -> Iterator[Model]:
    yield from opened(write_qwen3_reranker(folder))


def opened(path: Path) -> Iterator[Model]:
    model = load_model([path], ModelOptions())
    yield model
    model.close()


@pytest.fixture
def ranker(bert: Model) -> Iterator[Ranker]:
    with Ranker(bert, PLAIN) as ranker:
        yield ranker


def test_the_best_comes_first_with_its_place(ranker: Ranker):
    ranked = ranker.rank(QUERY, DOCUMENTS)
    scores = [each.score for each in ranked]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == len(DOCUMENTS)
    assert sorted(each.index for each in ranked) == [0, 1, 2, 3]
    assert all(each.text == DOCUMENTS[each.index] for each in ranked)


def test_the_best_few_are_the_first_of_all(ranker: Ranker):
    assert ranker.rank(QUERY, DOCUMENTS, top=2) == ranker.rank(QUERY, DOCUMENTS)[:2]
    assert ranker.rank(QUERY, DOCUMENTS, top=9) == ranker.rank(QUERY, DOCUMENTS)


def test_equals_stay_in_their_order(bert: Model):
    with Ranker(bert, replace(PLAIN, one_by_one=True)) as ranker:
        assert [each.index for each in ranker.rank(QUERY, ["a dog"] * 5)] == [0, 1, 2, 3, 4]


MANY = [f"{text} {number}" for number in range(40) for text in DOCUMENTS]


def alone(ranker: Ranker) -> list[float]:
    return [ranker.scores(QUERY, [document])[0] for document in MANY]


def test_many_together_are_as_each_alone(ranker: Ranker):
    assert ranker.scores(QUERY, MANY) == pytest.approx(alone(ranker), abs=5e-4)  # llama.cpp's GELU is a coarse table


def test_one_by_one_they_are_the_same_to_the_last_digit(bert: Model):
    with Ranker(bert, replace(PLAIN, one_by_one=True)) as ranker:
        assert ranker.scores(QUERY, MANY) == alone(ranker)


def test_a_score_depends_on_which_is_the_query(ranker: Ranker):
    [one], [other] = ranker.scores("a dog", ["the cat"]), ranker.scores("the cat", ["a dog"])
    assert one != pytest.approx(other, abs=1e-3)


def test_a_model_that_says_yes_or_no_gives_how_likely_yes_is(qwen3: Model):
    with Ranker(qwen3, PLAIN) as ranker:
        scores = ranker.scores(QUERY, DOCUMENTS)
        assert all(0 < score < 1 for score in scores) and len(set(scores)) == len(DOCUMENTS)
        assert ranker.scores(QUERY, MANY) == pytest.approx(alone(ranker), abs=1e-5)


def test_what_reads_forward_may_read_a_long_text_in_pieces(qwen3: Model):
    options = replace(PLAIN, longest=2048)
    long = "one dog ran " * 300
    with Ranker(qwen3, options) as whole, Ranker(qwen3, replace(options, in_pieces=True)) as pieces:
        documents = [long, "a dog", long + "home"]
        assert pieces.scores(QUERY, documents) == pytest.approx(whole.scores(QUERY, documents), abs=1e-4)


# What is refused.


def test_no_documents_have_no_ranks(ranker: Ranker):
    assert ranker.rank(QUERY, []) == []


def test_a_document_that_is_too_long_is_named_with_both_counts(ranker: Ranker):
    with pytest.raises(
        PromptTooLongError, match=r"document 1 \(`cat cat cat .*…`\) with the query is 207 tokens"
    ) as told:
        ranker.rank(QUERY, ["a dog", "cat " * 200])
    assert (told.value.prompt_tokens, told.value.context_length) == (207, 128)
    assert told.value.hint == "give it in parts"
    assert len(ranker.rank(QUERY, ["cat " * 121])) == 1


def test_a_context_that_was_made_shorter_can_be_raised(bert: Model):
    with Ranker(bert, replace(PLAIN, longest=32)) as ranker, pytest.raises(PromptTooLongError) as told:
        ranker.rank(QUERY, ["cat " * 30])
    assert told.value.hint == "raise --context-length, or give it in parts"


@pytest.mark.parametrize("empty", ["", " \n"])
def test_what_is_empty_is_refused(ranker: Ranker, empty: str):
    with pytest.raises(BadInputError, match="the query is empty"):
        ranker.rank(empty, DOCUMENTS)
    with pytest.raises(BadInputError, match="document 2 is empty"):
        ranker.rank(QUERY, ["a dog", "one", empty])


def test_calls_that_can_not_be_meant_are_refused(ranker: Ranker):
    with pytest.raises(UsageError, match="one text"):
        ranker.rank(QUERY, "a dog")
    with pytest.raises(UsageError, match="top is at least 1"):
        ranker.rank(QUERY, DOCUMENTS, top=0)


def test_a_closed_one_says_so(bert: Model):
    ranker = Ranker(bert, PLAIN)
    ranker.close()
    with pytest.raises(LlmasosError, match="closed"):
        ranker.rank(QUERY, DOCUMENTS)


def test_a_classifier_of_several_classes_is_no_reranker(folder: Path):
    [path] = convert(write_checkpoint(folder / "classes", "bert-classifier"), folder / "classes.gguf", "F32")
    for model in opened(path):
        with pytest.raises(BadInputError, match="sorts texts into 3 classes"):
            Ranker(model, PLAIN)
