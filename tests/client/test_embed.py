"""`llmasos embed --server` gives the vectors that the same model gives here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from doubles.serving import Served, served
from llmasos.conversion.convert import convert
from llmasos.pull import pull

pytestmark = pytest.mark.timeout(180)
HERE = ("--server", "")


def test_vectors_are_those_of_here(home: Path, turn_to, llmasos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMASOS_THREADS", "1")
    bert = convert(write_checkpoint(tmp_path / "bert", "bert"), tmp_path / "bert.gguf", "F32")[0]
    pull(str(bert), name="vectors")
    text = "the cat sat\na dog\n" + "one two\n" * 200  # more than go in a request
    with served() as server:
        turn_to(server)
        there, here = (
            llmasos("embed", model, "--lines", "--json", *where, stdin=text)
            for model, where in (("vectors", ()), (bert, HERE))
        )
        assert there.exit_code == 0, there.stderr
        rows, expected = (list(map(json.loads, done.stdout.splitlines())) for done in (there, here))
        assert len(rows) == 202
        for row, other in zip(rows, expected, strict=True):
            assert (row["text"], row["tokens"]) == (other["text"], other["tokens"])
            assert row["embedding"] == pytest.approx(other["embedding"], abs=1e-4)
        raw, raw_here = (
            json.loads(llmasos("embed", model, "the cat", "--raw", *where).stdout)
            for model, where in (("vectors", ()), (bert, HERE))
        )
        assert raw == pytest.approx(raw_here, abs=1e-4)
        done = llmasos("run", "vectors", "x")
        assert (done.exit_code, "it was not made to write" in done.stderr) == (5, True)
        assert llmasos("embed", "vectors", "one " * 2000).exit_code == 5


def test_a_model_that_writes_makes_no_vectors(at_shared: Served, llmasos):
    done = llmasos("embed", "tiny", "x")
    assert (done.exit_code, "not made to turn text into numbers" in done.stderr) == (5, True)
