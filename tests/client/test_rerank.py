"""`llmasos rerank --server` and `llmasos tokens --server` print what they print here."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.rerankers import write_bert_reranker
from doubles.serving import Served, served
from llmasos.pull import pull

pytestmark = pytest.mark.timeout(180)
HERE = ("--server", "")


def test_documents_are_ranked_as_here(home: Path, turn_to, llmasos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMASOS_THREADS", "1")
    ranker = write_bert_reranker(tmp_path)
    pull(str(ranker), name="ranker")
    lines = "a dog ran\nthe cat sat on a mat\none\n"
    with served() as server:
        turn_to(server)
        for options in ((), ("-n", "2")):
            there = llmasos("rerank", "ranker", "the cat", *options, stdin=lines)
            here = llmasos("rerank", ranker, "the cat", *options, *HERE, stdin=lines)
            assert (there.exit_code, there.stdout, there.stderr) == (0, here.stdout, "")
        assert llmasos("embed", "ranker", "x").exit_code == 5


@pytest.mark.parametrize("options", [(), ("--json",), ("--count",), ("--special",)], ids=" ".join)
def test_texts_are_split_as_here(at_shared: Served, llmasos, tiny_model: Path, options):
    there = llmasos("tokens", "tiny", "the cat é<|end|>", *options)
    here = llmasos("tokens", tiny_model, "the cat é<|end|>", *options, *HERE)
    assert (there.exit_code, there.stdout, there.stderr) == (0, here.stdout, here.stderr)


def test_a_model_that_writes_ranks_nothing(at_shared: Served, llmasos):
    done = llmasos("rerank", "tiny", "x", stdin="a\n")
    assert (done.exit_code, "not made to rank documents" in done.stderr) == (5, True)
