"""Perplexity of real models: what llama-perplexity prints, on the same text."""

from __future__ import annotations

import json

import pytest

from conftest import PROJECT
from doubles.perplexities import processor
from llmasos.engine.options import LoadOptions
from llmasos.evaluation.perplexity import Settings, measure
from llmasos.evaluation.texts import own_text
from llmasos.locate import locate

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

GOLDEN = json.loads((PROJECT / "tests/goldens/perplexity.json").read_text())


@pytest.mark.parametrize("name", GOLDEN["real"])
def test_it_is_what_llama_perplexity_prints(name: str):
    found = measure(locate(name), own_text(), Settings(), LoadOptions())
    golden = GOLDEN["real"][name]
    if GOLDEN["processor"] == processor():
        assert {"perplexity": f"{found.perplexity:.4f}", "stderr": f"{found.stderr:.5f}"} == golden
    assert found.perplexity == pytest.approx(float(golden["perplexity"]), rel=5e-3)
