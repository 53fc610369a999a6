"""`llmasos rerank`: lines in the order in which they answer a query."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.rerankers import write_bert_reranker
from llmasos.conversion.convert import convert

LINES = ["a dog ran", "the cat sat on a mat", "one"]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert_reranker(tmp_path_factory.mktemp("ranking"))


def rows(result) -> list[tuple[float, str]]:
    assert (result.exit_code, result.stderr) == (0, "")
    return [(float(score), line) for score, _, line in (row.partition("\t") for row in result.stdout.split("\n")[:-1])]


def test_lines_come_with_their_scores_the_best_first(llmasos, reranker):
    ranked = rows(llmasos("rerank", reranker, "the cat", stdin="\n\n".join(LINES)))
    assert sorted(line for _, line in ranked) == sorted(LINES)
    assert ranked == sorted(ranked, reverse=True)


def test_documents_come_from_files_and_then_the_pipe_is_left_alone(llmasos, reranker, tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text(f"{LINES[0]}\r\n{LINES[1]}")
    second.write_text(f"\n{LINES[2]}\n")
    ranked = rows(llmasos("rerank", reranker, "the cat", "-f", first, "-f", second, stdin="not asked"))
    assert ranked == rows(llmasos("rerank", reranker, "the cat", stdin="\n".join(LINES)))
    assert rows(llmasos("rerank", reranker, "the cat", "-f", first, "-f", second, "-n", "1")) == ranked[:1]


def test_json_has_the_place_the_score_and_the_text(llmasos, reranker):
    result = llmasos("rerank", reranker, "the cat", "--json", "--top", "2", stdin="\n".join(LINES))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(each) for each in found] == [["index", "score", "text"]] * 2
    assert all(each["text"] == LINES[each["index"]] for each in found)
    assert found[0]["score"] > found[1]["score"]


def test_a_line_ends_where_files_say_so(llmasos, reranker):
    line = "one\u2028dog\ttwo"
    assert [text for _, text in rows(llmasos("rerank", reranker, "the cat", stdin=f"{line}\n"))] == [line]


def test_no_lines_are_no_error(llmasos, reranker):
    assert rows(llmasos("rerank", reranker, "the cat", stdin="")) == []


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        (["the cat", "-f", "nowhere.txt"], "", 5, "can't read nowhere.txt"),
        (["the cat", "-n", "0"], "one", 2, "--top"),
        ([" "], "one", 5, "the query is empty"),
        (["the cat", "--lora", "x"], "one", 2, "adapters (LoRA) are applied to models that write text"),
        (["the cat"], "a dog\n" + "cat " * 300, 5, "document 1 (`cat cat"),
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(llmasos, reranker, arguments, stdin, code, told):
    result = llmasos("rerank", reranker, *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr


def test_each_kind_of_model_says_what_it_was_made_for(llmasos, reranker, tiny_model, tmp_path):
    [embedding] = convert(write_checkpoint(tmp_path / "bert", "bert"), tmp_path / "bert.gguf", "F32")
    calls = {
        ("rerank", tiny_model, "the cat"): "writes text; it was not made to rank documents",
        ("rerank", embedding, "the cat"): "is an embedding model: it turns text into numbers; it was not made to rank",
        ("embed", reranker, "the cat"): "is a reranker: it says how well documents answer a query; it was not made to",
        ("run", reranker, "the cat"): 'hint: llmasos rerank reranker.gguf "QUERY" -f FILE',
    }
    for call, told in calls.items():
        result = llmasos(*call, stdin="one")
        assert (result.exit_code, result.stdout) == (5, ""), call
        assert told in result.stderr


def test_a_reranker_that_has_come_in_says_what_to_type_next(llmasos, tmp_path):
    result = llmasos("convert", write_checkpoint(tmp_path / "reranker", "bert-reranker"), "--as", "mine")
    assert 'mine is ready: llmasos rerank mine "QUERY" -f FILE\n' in result.stderr
    assert json.loads(llmasos("show", "mine", "--json").stdout)["purpose"] == "ranking"
    assert len(rows(llmasos("rerank", "mine", "the cat", stdin="one\ntwo"))) == 2


def test_a_classifier_of_several_classes_is_converted_and_told_to_be_no_reranker(llmasos, tmp_path):
    made = llmasos("convert", write_checkpoint(tmp_path / "classes", "bert-classifier"), "--as", "classes")
    assert (made.exit_code, "it sorts texts into 3 classes" in made.stderr) == (0, True)
    result = llmasos("rerank", "classes", "the cat", stdin="one")
    assert (result.exit_code, "sorts texts into 3 classes" in result.stderr) == (5, True)
