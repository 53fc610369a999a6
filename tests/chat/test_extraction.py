"""What is taken of an answer: its code, or its JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.chat.extraction import extract
from llmasos.errors import BadInputError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES) | st.lists(VALUES)
WORDS = st.text(st.characters(categories=["L", "Zs", "Po"], exclude_characters='"'))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```\na\n```", "a"),
        ("Here it is:\n\n```python\nprint(1)\n\nprint(2)\n```\nDone.", "print(1)\n\nprint(2)"),
        ("```sh\nfirst\n```\n```sh\nsecond\n```", "first"),
        ("~~~\n```\ninner\n```\n~~~", "```\ninner\n```"),
        ("````md\n```\ninner\n```\n````", "```\ninner\n```"),
        ("1. So:\n   ```\n   a\n     b\n   ```", "a\n  b"),
        ("```\n```", ""),
        ("```\r\na\r\n```\r\n", "a\r"),
        ("```c++ title=x\nint a;\n```   ", "int a;"),
    ],
    ids=repr,
)
def test_code_is_the_inside_of_the_first_fenced_block(answer, code):
    assert extract(answer, "code") == code


@pytest.mark.parametrize("answer", ["", "no code", "`inline`", "```inline```", "```python\ncut off here", "``\na\n``"])
def test_an_answer_without_a_whole_block_has_no_code(answer):
    with pytest.raises(BadInputError, match="there is no code in a fenced block in the answer"):
        extract(answer, "code")


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('Here: {"a": [1, 2]} and more {"b": 2}', '{"a": [1, 2]}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("```json\n42\n```", "42"),
        (' "a text" ', '"a text"'),
        ("true", "true"),
        ("The list [1, 2] is it", "[1, 2]"),
        ("Of {names} and [see below]: [3]", "[3]"),
        ("As [1 said, it is {}", "{}"),
        ('{ "a" :\n 1 }.', '{ "a" :\n 1 }'),
    ],
    ids=repr,
)
def test_json_is_the_first_value_as_it_is_written(answer, value):
    assert extract(answer, "json") == value


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The answer is 42",
        '{"a": [1, 2], "b": "cut o',
        '{"a": [1, 2], // a remark\n "b": [3]}',
        '{"a": "line\nend", "b": [2]}',
        "NaN",
        "[" * 20_000,
    ],
    ids=lambda answer: repr(answer[:20]),
)
def test_what_stands_inside_of_broken_json_is_not_what_was_meant(answer):
    with pytest.raises(BadInputError, match="there is no JSON in the answer"):
        extract(answer, "json")


@given(value=OBJECTS, before=WORDS, after=WORDS, indent=st.sampled_from([None, 2]), fenced=st.booleans())
def test_any_object_or_list_is_found_among_words(value, before, after, indent, fenced):
    text = json.dumps(value, indent=indent)
    answer = f"{before}\n```json\n{text}\n```\n{after}" if fenced else f"{before}{text}{after}"
    assert json.loads(extract(answer, "json")) == value
