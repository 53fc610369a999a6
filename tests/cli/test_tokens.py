"""`llmasos tokens`: how a text is split, from an argument, a file or a pipe."""

from __future__ import annotations

import json

import pytest


def test_a_text_is_shown_token_by_token(llmasos, tiny_model):
    result = llmasos("tokens", tiny_model, "the cat")
    assert result.exit_code == 0
    assert [line.split(maxsplit=1)[1] for line in result.stdout.splitlines()] == [
        "PIECE", '"th"', '"e"', '" "', '"c"', '"a"', '"t"',
    ]  # fmt: skip
    assert result.stderr == "6 tokens\n"


def test_json_has_ids_and_pieces(llmasos, tiny_model):
    told = json.loads(llmasos("tokens", tiny_model, "the ö", "--json").stdout)
    assert told["count"] == len(told["tokens"]) == len(told["pieces"]) == 5
    assert told["pieces"][:3] == ["th", "e", " "]


@pytest.mark.parametrize("way", ["argument", "file", "pipe"])
def test_they_are_counted_wherever_the_text_comes_from(llmasos, tiny_model, tmp_path, way):
    (tmp_path / "text.txt").write_text("the cat")
    arguments = {"argument": ["the cat"], "file": ["-f", tmp_path / "text.txt"], "pipe": []}[way]
    result = llmasos("tokens", tiny_model, *arguments, "--count", stdin="the cat" if way == "pipe" else "")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "6\n", "")


def test_special_tokens_are_text_unless_they_are_asked_for(llmasos, tiny_model):
    plain, special = (
        json.loads(llmasos("tokens", tiny_model, "<|end|>", "--json", *flags).stdout) for flags in ([], ["--special"])
    )
    assert plain["count"] == 7
    assert special["pieces"] == ["<|end|>"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "exit_code", "told"),
    [
        ([], "", 2, "there is no prompt"),
        (["-f", "nothing.txt"], "", 5, "can't read nothing.txt"),
        ([], b"\xff", 5, "standard input is not UTF-8 text"),
    ],
    ids=str,
)
def test_what_is_no_text_is_refused(llmasos, tiny_model, arguments, stdin, exit_code, told):
    result = llmasos("tokens", tiny_model, *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in result.stderr


def test_an_unknown_model_is_told(llmasos):
    assert llmasos("tokens", "nothing-like-it", "x", "--offline").exit_code == 3
