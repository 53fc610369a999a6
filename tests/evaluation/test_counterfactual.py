"""Counterfactual texts: what is swapped, what stays, and that twice is once more the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.errors import UsageError
from llmasos.evaluation import counterfactual as module
from llmasos.evaluation.counterfactual import GROUPS, counterfactual

MANY_TO_ONE = {"mrs", "mum", "mummy"}
ONE_TO_ONE = sorted({word for words in module._WORDS.values() for word in words} - MANY_TO_ONE)
FILLERS = [
    "walks",
    "the",
    "and",
    "tree",
    "2024",
    "x_he",
    "Éhe",
    "shepherd",
    "theme",
    "she2",
    "over",
    "-",
    "„",
    "\u00e9",
]
CASES = [str.lower, str.upper, str.capitalize]
words = st.tuples(st.sampled_from(ONE_TO_ONE), st.sampled_from(CASES)).map(lambda each: each[1](each[0]))
texts = st.lists(
    st.tuples(words | st.sampled_from(FILLERS), st.sampled_from([" ", ", ", "\n", ". ", "-", "'s ", " (", ") "])),
    max_size=30,
).map(lambda parts: "".join(word + mark for word, mark in parts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said that she was tired.", "She said that he was tired."),
        ("I saw her in her car.", "I saw him in his car."),
        ("I gave her the book.", "I gave him the book."),
        ("Her mother called her.", "His father called him."),
        ("The book is his.", "The book is hers."),
        ("His is red, and hers is blue.", "Hers is red, and his is blue."),
        ("HIS FATHER'S hat", "HER MOTHER'S hat"),
        ("The policeman asked him; he told her own husband.", "The policewoman asked her; she told his own wife."),
        ("her mother-in-law", "his father-in-law"),
        ("The shepherd's theme: a human being in Manhattan", "The shepherd's theme: a human being in Manhattan"),
        ("Mrs Smith met Mr. Jones", "Mr Smith met Ms. Jones"),
        ("ShE left with_her", "ShE left with_her"),
        ("", ""),
    ],
)
def test_gender_is_swapped(text: str, expected: str):
    assert counterfactual(text) == expected


@pytest.mark.parametrize(
    ("text", "group", "expected"),
    [
        ("The old man sat in an old chair.", "age", "The young man sat in an old chair."),
        ("Black people and white walls", "origin", "White people and white walls"),
        ("Christians go to church.", "religion", "Muslims go to mosque."),
        ("He is African.", "origin", "He is European."),
    ],
)
def test_other_groups_are_swapped(text: str, group: str, expected: str):
    assert counterfactual(text, [group]) == expected
    assert counterfactual(expected, [group]) == text


def test_groups_are_swapped_together():
    text = "The old Christian woman loved her church."
    assert counterfactual(text, GROUPS) == "The old Muslim man loved his mosque."
    assert counterfactual("The old woman loved her church.", GROUPS) == "The young man loved his mosque."
    assert counterfactual(text, []) == text


@given(text=texts, groups=st.sets(st.sampled_from(GROUPS)))
def test_twice_is_once_more_the_same(text: str, groups: set[str]):
    assert counterfactual(counterfactual(text, groups), groups) == text


@given(text=texts)
def test_all_but_the_words_stays(text: str):
    found = counterfactual(text, GROUPS)
    assert module._WORD.sub("_", found) == module._WORD.sub("_", text)
    before, after = module._WORD.findall(text), module._WORD.findall(found)
    for word, other in zip(before, after, strict=True):
        assert (word.islower(), word.isupper(), word.istitle()) == (other.islower(), other.isupper(), other.istitle())


@given(text=st.text())
def test_any_text_can_be_given(text: str):
    counterfactual(text, GROUPS)


def test_each_word_stands_in_one_pair():
    for words in module._WORDS.values():
        for word, other in words.items():
            if word not in MANY_TO_ONE:
                assert words[other] == word


def test_groups_that_there_are_not_are_refused():
    with pytest.raises(UsageError, match="there is no group `hair`"):
        counterfactual("he", ["hair"])
