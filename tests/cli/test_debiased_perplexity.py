"""`llmasos eval perplexity --debias self`: what lessening bias costs, by the same definition."""

from __future__ import annotations

import json

import pytest

from doubles.tiny import TinyModel


def test_perplexity_is_that_of_the_damped_distributions(llmasos, make_tiny, tmp_path):
    model, text = make_tiny(TinyModel(context_length=512)), tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and looked at the hat. " * 10, "utf-8")
    wanted = ("--debias", "self", "--debias-attributes", "age", "--debias-attributes", "insults")

    def measure(*flags):
        result = llmasos(
            "eval", "perplexity", model, "-f", text, "--context", "64", "--kv-type", "f32", "--json", *flags
        )
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    plain, weak = measure(), measure(*wanted, "--debias-strength", "0")
    strong = measure(*wanted, "--debias-strength", "5000")
    assert weak["perplexity"] == pytest.approx(plain["perplexity"], rel=1e-3)
    assert strong["tokens"] == plain["tokens"]
    assert abs(strong["perplexity"] / plain["perplexity"] - 1) > 0.01
    assert "debias" not in plain["settings"]
    assert strong["settings"]["debias"] == {"strength": 5000, "attributes": ["age", "insults"]}
