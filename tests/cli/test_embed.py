"""`llmasos embed`: texts to lines of numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from llmasos.conversion.convert import convert


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding")
    return convert(write_checkpoint(folder / "bert", "bert"), folder / "bert.gguf", "F32")[0]


def test_a_text_is_a_line_of_numbers(llmasos, bert):
    result = llmasos("embed", bert, "the cat sat")
    assert result.exit_code == 0, result.stderr
    [line] = result.stdout.splitlines()
    assert math.hypot(*json.loads(line)) == pytest.approx(1)
    raw = json.loads(llmasos("embed", bert, "the cat sat", "--raw").stdout)
    assert math.hypot(*raw) != pytest.approx(1)


def test_every_line_may_be_a_text(llmasos, bert):
    result = llmasos("embed", bert, "--lines", "--json", stdin="the cat\n\na dog\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["the cat", "a dog"]
    assert all(row["tokens"] > 2 and len(row["embedding"]) == len(rows[0]["embedding"]) for row in rows)
    alone = json.loads(llmasos("embed", bert, "a dog").stdout)
    assert rows[1]["embedding"] == pytest.approx(alone, abs=1e-3)


def test_a_model_that_writes_is_refused_and_the_reverse(llmasos, bert, tiny_model):
    embedding = llmasos("embed", tiny_model, "the cat")
    assert (embedding.exit_code, embedding.stdout) == (5, "")
    assert "writes text; it was not made to turn text into numbers" in embedding.stderr
    writing = llmasos("run", bert, "the cat")
    assert (writing.exit_code, writing.stdout) == (5, "")
    assert "is an embedding model: it turns text into numbers; it was not made to write" in writing.stderr


def test_a_text_that_is_too_long_is_refused_with_both_counts(llmasos, bert):
    result = llmasos("embed", bert, "cat " * 5000)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "tokens" in result.stderr


def test_a_model_that_has_come_in_says_what_to_type_next(llmasos, tmp_path):
    result = llmasos("convert", write_checkpoint(tmp_path / "bert", "bert"), "--as", "mine")
    assert 'mine is ready: llmasos embed mine "Hello"\n' in result.stderr
    assert llmasos("embed", "mine", "Hello").exit_code == 0
