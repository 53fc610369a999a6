"""Regular expressions as the shape of a whole text: `re.fullmatch` judges what their grammars write."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.gbnf import Grammar
from llmasos.engine.structure import grammar_of_regex
from llmasos.errors import BadInputError

MATCHES = [
    # pattern, texts that match, texts that do not
    (r"\d{3}-\d{4}", ["555-0199"], ["5555-0199", "555-01990", "x"]),
    ("yes|no", ["yes", "no"], ["yesno", "ye", ""]),
    ("^(?:yes|no)$", ["yes"], ["yes\n", "maybe"]),
    (r"\A[A-Z]\w*\Z|^x$", ["Abc", "Aéж漢", "x"], ["A b", "abc", "xx"]),
    ("a|ab|abc", ["a", "ab", "abc"], ["abcd", "b"]),
    ("(?P<year>[12][0-9]{3})(?:-(0[1-9]|1[0-2]))??", ["1999", "1999-12"], ["1999-13"]),
    (r"(a+)+|\{\"x\": \[\]\}", ["aaaa", '{"x": []}'], ["b", '{"x": [1]}']),
    (r".+\n\t\\[\]^-]", ["é😀\n\t\\]", "a\n\t\\^", "a\n\t\\-"], ["\n\n\t\\]"]),
    (r"[^,\s]*,\S\D\W", ["ab,cd.", ",éy ", "漢,.\n!"], ["a b,cd.", "ab,c1.", ",abc"]),
    ("(.{0,4}){0,3}", ["", "x" * 12], ["x" * 13]),
    ("(x*y*)*z{0,2}", ["", "xyxxyzz"], ["zzz"]),
    (r"\x41\u00e9\0?", ["Aé"], ["A"]),
    (r"[\w.]+@[\w.]+", ["a.b@c.d"], ["a@", "@"]),
    (r"(Alabama|Alaska|Arizona)(, (Alabama|Alaska|Arizona)){0,2}", ["Alaska, Arizona"], ["Al", "Alaska,"]),
]


@pytest.mark.parametrize(("pattern", "matching", "others"), MATCHES, ids=lambda part: str(part)[:40])
def test_a_grammar_lets_through_what_matches_as_a_whole(pattern: str, matching: list[str], others: list[str]) -> None:
    grammar = Grammar(grammar_of_regex(pattern))
    assert [text for text in matching if not (re.fullmatch(pattern, text) and grammar.accepts(text))] == []
    assert [text for text in others if re.fullmatch(pattern, text) or grammar.accepts(text)] == []


REFUSED = [
    # pattern, words of the message, words of the hint
    ("a(?=b)b", "the lookahead `(?=` at character 2, which is not supported", "what may stand there"),
    ("(?!a)b", "the lookahead `(?!` at character 1", "`[^x]` for `(?!x)`"),
    ("(?<=a)b", "the lookbehind `(?<=` at character 1", ""),
    ("(?<!a)b", "the lookbehind `(?<!` at character 1", ""),
    (r"(a)x\1", r"the backreference `\1` at character 5", "can't compare"),
    ("(?P<a>a)(?P=a)", "the backreference `(?P=` at character 9", ""),
    (r"\bword", r"the word boundary `\b` at character 1", "leave it out"),
    (r"wo\Brd", r"the word boundary `\B` at character 3", ""),
    ("(?i)abc", "the flag `(?` at character 1", "`[Aa]`"),
    ("(?>a)", "the atomic group `(?>` at character 1", "`(?:`"),
    ("(a)?(?(1)b|c)", "the condition `(?(` at character 5", ""),
    ("(?#note)a", "the comment `(?#` at character 1", "leave it out"),
    ("a++", "a possessive repetition at character 3", "without the second `+`"),
    (r"\p{L}+", r"the Unicode property `\p` at character 1", "ranges"),
    (r"\N{DIGIT ONE}", r"the escape `\N` at character 1", "the character itself"),
    (r"\012", "an octal escape at character 1", r"`\x`"),
    ("a^b", "the anchor `^` in the middle at character 2", "at the beginning"),
    ("a$b", "the anchor `$` in the middle at character 2", ""),
    (r"a\Zb", r"the anchor `\Z` at character 2", ""),
    ("x{,5}", "`{` without counts at character 2", "`{0,5}`"),
    ("a{3,1}", "the repetition `{3,1}` at character 2", "from the smaller to the larger"),
    ("a{100001}", "the repetition `{100001}` at character 2", "up to 100,000"),
    ("a**", "`*` after a repetition at character 3", ""),
    ("*a", "`*` with nothing to repeat at character 1", ""),
    ("(a", "a group without `)`", ""),
    ("a)", "a `)` that opens nothing at character 2", ""),
    ("[a", "ends in the middle of a character class", ""),
    ("[]", "an empty character class at character 1", r"`\]`"),
    ("[z-a]", "a character range without proper ends at character 4", ""),
    ("a\\", "ends in the middle", ""),
    ("", "is empty", ""),
    # nothing matches, or nothing that could be written
    (r"[^\w\W]", "no text matches the regular expression", ""),
    (r"\0", "no text matches the regular expression", ""),
    ("(a{1000}){1000}", "whatever the regular expression admits has more than 100,000 characters", "ask for less"),
    # too many states
    ("(a|b)*a(a|b){12}", "too many ways to read the same text", "`[^,]*,` instead of `.*,`"),
    ("((a{1,100}){1,100}){1,100}", "too many ways to read the same text", ""),
    ("(" * 41 + "a" + ")" * 41, "nested more than 40 deep", ""),
    ("a" * 5001, "more than 5,000 characters", ""),
]


@pytest.mark.parametrize(("pattern", "message", "hint"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_can_not_be_promised_is_refused_by_name_and_place(pattern: str, message: str, hint: str) -> None:
    start = time.perf_counter()
    with pytest.raises(BadInputError) as refusal:
        grammar_of_regex(pattern)
    assert message in refusal.value.message
    assert "regular expression" in refusal.value.message
    assert hint in (refusal.value.hint or "")
    assert time.perf_counter() - start < 4  # 0.1 s on a quiet machine


HUGE = ["a?" * 2500, "a*" * 2500, "(a|aa|aaa|aaaa)" * 300, "(ab?c*)?" * 600, ".*" * 2500, "(a{0,99}b){0,99}c" * 20]
HUGE += ["[^a]" * 1200, "(.?){5000}", "|".join(f"word{number}" for number in range(700)), r"(\w|\d|\s|.)" * 400]


@pytest.mark.parametrize("pattern", HUGE, ids=lambda pattern: pattern[:30])
def test_a_huge_pattern_is_converted_or_refused_at_once(pattern: str) -> None:
    start = time.perf_counter()
    try:
        assert len(grammar_of_regex(pattern)) < 500_000
    except BadInputError as refusal:
        assert "regular expression" in refusal.message
    assert time.perf_counter() - start < 4  # 0.5 s on a quiet machine; for ever if anything were exponential


@pytest.mark.parametrize("shorthand", [r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", ".", "[^a]", r"[^\w]", r"[^\d\s]"])
def test_a_shorthand_stands_for_nothing_that_python_would_not_match(shorthand: str) -> None:
    grammar, matcher = Grammar(grammar_of_regex(shorthand)), re.compile(shorthand)
    [(_, is_negated, ranges)] = [grammar.rules["root"][1][0]]
    assert not is_negated
    codes = {code for first, last in ranges for code in (first, last, *range(first, last, 29))}
    assert [hex(code) for code in codes if not matcher.fullmatch(chr(code))] == []
    assert not any(0xD800 <= code <= 0xDFFF for code in codes)


# properties: whatever the grammar writes matches, and of plain texts all that match are let through

atoms = st.sampled_from(
    ["a", "b", "ab", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", r"\W", "[0-9x-z]", r"\.", "é", "[é-ü]"]
)
counts = st.sampled_from(["*", "+", "?", "*?", "{2}", "{0,3}", "{1,}", "{2,5}", "{0}"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds(lambda begin, part: f"{begin}{part})", st.sampled_from(["(", "(?:", "(?P<n>"]), inner)
    unnamed = st.builds("({})".format, inner)
    return st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("({}|{})".format, inner, inner),
        st.builds("{}|{}".format, inner, inner).map("(?:{})".format),
        st.builds("{}{}".format, unnamed, counts),
        group.filter(lambda pattern: pattern.count("?P<") < 2),
    )


patterns = st.recursive(atoms, larger, max_leaves=8).filter(lambda pattern: pattern.count("?P<") < 2)
anchored = st.builds("{}{}{}".format, st.sampled_from(["", "^", r"\A"]), patterns, st.sampled_from(["", "$", r"\Z"]))


def quickly(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


@quickly(150)
@given(anchored, st.randoms(use_true_random=False))
def test_whatever_a_grammar_writes_matches(pattern: str, chance: random.Random) -> None:
    try:
        grammar = Grammar(grammar_of_regex(pattern))
    except BadInputError:
        return
    for _ in range(3):
        text = grammar.write(chance)[:60]  # what backtracking can go through
        assert len(text) == 60 or re.fullmatch(pattern, text), text


@quickly(150)
@given(anchored, st.lists(st.text("ab1 x._\n", max_size=6), max_size=12))
def test_a_plain_text_is_let_through_exactly_if_it_matches(pattern: str, texts: list[str]) -> None:
    try:
        accepts = Grammar(grammar_of_regex(pattern)).accepts
    except BadInputError as refusal:
        assert "no text" in refusal.message or "ways" in refusal.message
        return
    for text in texts:
        assert accepts(text) == bool(re.fullmatch(pattern, text)), text
