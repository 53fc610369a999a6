"""`llmasos batch`: lines that are debiased by what they say, or by what holds for all."""

from __future__ import annotations

import json

DRAWN = ("--raw", "--temperature", "2", "--seed", "1", "--max-tokens", "20", "--ignore-eos", "--threads", "1")


def test_a_line_may_be_debiased_and_so_may_all(llmasos, tiny_model, tmp_path):
    """There are as many sequences at a time as that needs, however few lines there are."""
    wanted = {"debias": "self", "debias_strength": 5000, "debias_attributes": ["age", "insults", "rhymes"]}

    def answers(line, *flags):
        (tmp_path / "in.jsonl").write_text(json.dumps({"custom_id": "a", "prompt": "a hat", **line}) + "\n")
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        files = ("-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
        result = llmasos("batch", tiny_model, *files, *DRAWN, *flags)
        assert result.exit_code == 0, result.stderr
        return json.loads((tmp_path / "out.jsonl").read_text())["response"]["body"]["choices"][0]["text"]

    assert answers({**wanted, "debias_strength": 0}) == answers({})
    debiased = answers(wanted)
    assert debiased != answers({})
    names = [word for name in wanted["debias_attributes"] for word in ("--debias-attributes", name)]
    assert answers({}, "--debias", "self", "--debias-strength", "5000", *names) == debiased
