"""Modelfiles: what they say, what is wrong with them, and that a written one is read as the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.errors import BadInputError
from llmasos.modelfile import ROLES, Recipe, modelfile_text, read_modelfile

WHOLE = '''# A comment
FROM smollm2
parameter temperature 0.3
PARAMETER num_ctx 4096
PARAMETER stop "<|user|>"
PARAMETER stop two words
PARAMETER use_mmap false

SYSTEM """You are Mario
from "Super Mario".
"""
TEMPLATE "{{ .System }} {{ .Prompt }}"
ADAPTER ./lora.gguf
LICENSE """
free
"""
LICENSE MIT
MESSAGE user Who are you?
MESSAGE assistant """It's-a me!
Mario."""
REQUIRES 0.14.0
'''


def test_a_modelfile_is_read_as_a_recipe():
    assert read_modelfile(WHOLE) == Recipe(
        "smollm2",
        {"temperature": 0.3, "num_ctx": 4096, "stop": ["<|user|>", "two words"], "use_mmap": False},
        template="{{ .System }} {{ .Prompt }}",
        system='You are Mario\nfrom "Super Mario".\n',
        adapter="./lora.gguf",
        licenses=("\nfree\n", "MIT"),
        messages=(("user", "Who are you?"), ("assistant", "It's-a me!\nMario.")),
        ignored=("REQUIRES",),
    )


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("from a", Recipe("a")),
        ("\ufeff  FROM   a b.gguf  \r\nSYSTEM hi\r\n", Recipe("a b.gguf", system="hi")),
        ('FROM a\nSYSTEM say "hi" to all', Recipe("a", system='say "hi" to all')),
        ('FROM a\nSYSTEM "hi', Recipe("a", system='"hi')),
        ('FROM a\nSYSTEM """"quoted""""', Recipe("a", system='"quoted"')),
        ("FROM a\nSYSTEM", Recipe("a", system="")),
        ("FROM a\nSYSTEM one\nSYSTEM two", Recipe("a", system="two")),
        ("FROM a\nPARAMETER seed inf", Recipe("a", {"seed": "inf"})),
    ],
    ids=range(8),
)
def test_the_forms_that_values_have(text: str, recipe: Recipe):
    assert read_modelfile(text) == recipe


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "names no model to begin with", "`FROM smollm2`"),
        ("SYSTEM hi", "names no model to begin with", "FROM"),
        ("FROM", "line 1 of the Modelfile: FROM has no value", ""),
        ("FROM a\n\nFRON b", "line 3 of the Modelfile: there is no command `FRON`", "did you mean FROM?"),
        ("FROM a\nxyzzy 1", "line 2 of the Modelfile: there is no command `XYZZY`", "commands are FROM, PARAMETER"),
        ("FROM a\nFROM b", "line 2 of the Modelfile: there is a FROM already in line 1", ""),
        ("FROM a\nPARAMETER", "line 2 of the Modelfile: something is missing at its end", ""),
        ("FROM a\nPARAMETER seed", "line 2 of the Modelfile: PARAMETER has no value", ""),
        ("FROM a\nMESSAGE robot hi", "line 2 of the Modelfile: there is no role `robot`", "system, user, assistant"),
        ('FROM a\nSYSTEM """hi\n', "line 2 of the Modelfile: the text after", "close it"),
        ('FROM a\nSYSTEM """hi""" you', "line 2 of the Modelfile: `you` stands behind", ""),
    ],
    ids=range(11),
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str, hint: str):
    with pytest.raises(BadInputError) as refusal:
        read_modelfile(text)
    assert message in refusal.value.message
    assert hint in (refusal.value.hint or "")


texts = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: '"""' not in text)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True).filter(lambda name: name != "stop")
values: st.SearchStrategy[Any] = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
recipes = st.builds(
    Recipe,
    st.from_regex(r"[a-z][a-z0-9./:-]*", fullmatch=True),
    st.builds(
        lambda given, stops: {**given, **({"stop": stops} if stops else {})},
        st.dictionaries(names, values),
        st.lists(texts.filter(bool)),
    ),
    template=st.none() | texts,
    system=st.none() | texts,
    adapter=st.none() | texts.filter(bool),
    licenses=st.lists(texts.filter(bool)).map(tuple),
    messages=st.lists(st.tuples(st.sampled_from(ROLES), texts)).map(tuple),
)


@given(recipes)
def test_a_written_recipe_is_read_as_the_same(recipe: Recipe):
    assert read_modelfile(modelfile_text(recipe)) == recipe


@given(st.text())
def test_no_text_makes_it_fail_otherwise(text: str):
    try:
        read_modelfile(text)
    except BadInputError as error:
        assert error.message
