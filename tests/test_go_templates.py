"""Templates in Go's language: what Go makes of them is what their translation makes."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import PROJECT
from llmasos.chat.template import ChatTemplate
from llmasos.errors import BadInputError
from llmasos.go_templates.jinja import jinja_of

CASES: list[dict[str, Any]] = json.loads((PROJECT / "tests/goldens/go_templates.json").read_text(encoding="utf-8"))
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("case", CASES, ids=[str(number) for number in range(len(CASES))])
def test_the_text_is_gos(case: dict[str, Any]):
    assert ChatTemplate(jinja_of(case["template"])).render(case["messages"], tools=case["tools"]) == case["text"]


@pytest.mark.parametrize(
    "template, named",
    [
        ("{{ if .System }}", "an {{ end }} is missing"),
        ("{{ end }}", "{{ end }} ends nothing"),
        ("{{ .Nobody }}", ".Nobody is not known here"),
        ("{{ $x }}", "$x is not declared"),
        ("{{ . }}", "all of the data is asked for at once"),
        ("{{ shell .Prompt }}", "shell is not known here"),
        ('{{ printf "%08x" .Prompt }}', "printf is not known here"),
        ('{{ template "other" }}', "template is not known here"),
        ('{{ "\\q" }}', '"\\q" is not known here'),
        ("{{ (.Prompt }}", "a parenthesis is not closed"),
        ("{{ .Prompt .System }}", "a value is given arguments"),
        ("{{ .Prompt ; }}", "is not understood"),
        ("{{ }}", "is empty"),
        ("{{ if }}x{{ end }}", "is empty"),
        ("{{ if not }}x{{ end }}", "not is not known here"),
    ],
)
def test_what_is_not_understood_is_said_when_a_prompt_is_made(template: str, named: str):
    compiled = ChatTemplate(jinja_of(template))
    with pytest.raises(BadInputError, match="it is written in Go, and in it") as raised:
        compiled.render(HELLO)
    assert named in str(raised.value)


@pytest.mark.parametrize(
    "piece", ["{{ if .Prompt }}", "{{ not (", "{{ (", "{{ range .Messages }}", "{{", '{{ "', "{{- ", "}}"]
)
def test_hostile_templates_end_soon(piece: str):
    begun = time.monotonic()
    template = jinja_of(piece * 20_000)
    with contextlib.suppress(BadInputError):
        ChatTemplate(template).render(HELLO)
    assert time.monotonic() - begun < 5


PIECES = st.sampled_from(
    [
        "{{ ",
        " }}",
        "{{- ",
        " -}}",
        ".Prompt",
        "$x",
        " := ",
        "if ",
        "range ",
        "end",
        "else ",
        "(",
        ")",
        '"',
        "`",
        "|",
        "\n",
        "é",
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_no_text_does_harm(text: str):
    with contextlib.suppress(BadInputError):
        ChatTemplate(jinja_of(text)).render(HELLO)
