"""`llmasos eval` in a process of its own: data, what is kept, and what can't be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doubles.tiny import TinyModel


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("The cat sat on the mat, and looked at that for a while; then it slept. " * 12)
    return path


def test_a_result_is_told_kept_and_found_again(llmasos, tiny_model: Path, text: Path, home: Path):
    result = llmasos("eval", "perplexity", tiny_model, "-f", text, "--context", "64", "--json")
    told = json.loads(result.stdout)
    assert {"perplexity", "stderr", "bits_per_byte", "tokens", "interval", "chunks", "settings"} <= set(told)
    assert told["settings"]["context"] == 64
    [kept] = (home / "history").glob("*.json")
    assert f"kept as {kept.stem}\n" in result.stderr
    shown = json.loads(llmasos("eval", "show", "last", "--json").stdout)
    assert {**shown["result"], "settings": shown["settings"]} == told
    listed = llmasos("eval", "list").stdout
    assert kept.stem in listed and f"perplexity {told['perplexity']:.4f}" in listed


def test_without_json_it_is_for_people(llmasos, tiny_model: Path, text: Path):
    result = llmasos("eval", "perplexity", tiny_model, "-f", text, "--context", "64", "--mode", "rolling")
    assert result.exit_code == 0
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == [
        "perplexity", "95 % interval", "bits per byte", "tokens",
    ]  # fmt: skip


def test_a_comparison_is_told_drawn_and_judged(llmasos, tiny_model: Path, make_tiny, text: Path, tmp_path: Path):
    other = make_tiny(TinyModel(noise=0.05))
    call = ["eval", "compare", tiny_model, other, "-f", text, "--context", "64"]
    good = llmasos(*call, "--plot", tmp_path / "charts.svg", "--fail-if", "kld>5", "--json")
    assert good.exit_code == 0, good.stderr
    [found] = json.loads(good.stdout)["comparisons"]
    assert found["agreement"]["kld"] > 0
    assert (tmp_path / "charts.svg").read_text().startswith("<svg")
    bad = llmasos(*call, "--fail-if", "top1<99%", "--plot", tmp_path / "charts.html")
    assert bad.exit_code == 6
    assert bad.stderr.splitlines()[-2].startswith("error: other.gguf: top1<99% (top1 is 0.")
    assert "MEAN KLD" in bad.stdout and (tmp_path / "charts.html").read_text().startswith("<!doctype html>")


def test_nothing_measured_is_told(llmasos):
    result = llmasos("eval", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing was measured yet: llmasos eval perplexity MODEL\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"short", "the text has"), (b"\xff\xfe\x00", "is not UTF-8 text")],
)
def test_a_text_that_can_not_be_used_is_bad_input(llmasos, tiny_model: Path, tmp_path: Path, content: bytes, said: str):
    file = tmp_path / "odd.txt"
    file.write_bytes(content)
    result = llmasos("eval", "perplexity", tiny_model, "-f", file, "--context", "64")
    assert result.exit_code == 5
    assert said in result.stderr.splitlines()[-2 if b"short" in content or not content else -1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["perplexity", "nothing-of-that-name", "--offline"], 3, "nothing-of-that-name"),
        (["perplexity", "./missing.gguf"], 3, "there is no file"),
        (["compare", "MODEL"], 2, "there is nothing to compare"),
        (["compare", "MODEL", "MODEL", "--fail-if", "ppl>2%"], 2, "of what are these per cent?"),
        (["compare", "MODEL", "MODEL", "--fail-if", "nonsense"], 2, "--fail-if can't be `nonsense`"),
        (["compare", "MODEL", "MODEL", "--plot", "chart.png"], 2, "--plot can't write chart.png"),
        (["perplexity", "MODEL", "--mode", "other"], 2, "there is no mode `other`"),
        (["perplexity", "MODEL", "--stride", "3"], 2, "--stride goes with --mode rolling"),
        (["show", "0000"], 5, "there is no result `0000`"),
    ],
)
def test_a_wrong_call_says_what_and_what_to_do(llmasos, tiny_model: Path, arguments: list[str], code: int, said: str):
    result = llmasos("eval", *[str(tiny_model) if each == "MODEL" else each for each in arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    first, second = result.stderr.splitlines()[-2:]
    assert first.startswith("error: ") and said in first and second.startswith("hint: ")
