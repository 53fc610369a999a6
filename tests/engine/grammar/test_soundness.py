"""GBNF that people write: what is refused, before llama.cpp would hang, crash or take all the memory over it."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.gbnf import Grammar
from doubles.schemas import schemas
from llmasos.engine.grammar.soundness import examine
from llmasos.engine.grammar_check import GrammarCheck
from llmasos.engine.model import Model
from llmasos.engine.schema import JSON_GRAMMAR, grammar_of_schema
from llmasos.engine.structure import grammar_of_regex
from llmasos.errors import BadInputError


def chained(count: int, body: str, last: str) -> str:
    """`count` rules, each with `body`, where `NEXT` is the rule after it."""
    rules = [
        f"{'root' if number == 0 else f'r{number}'} ::= {body}".replace("NEXT", f"r{number + 1}")
        for number in range(count)
    ]
    return "\n".join([*rules, f"r{count} ::= {last}"])


REFUSED = [
    # grammar, words of the message, words of the hint
    ("", "it is empty", ""),
    ("  \n# nothing but a remark\n", "it is empty", ""),
    ('answer ::= "a"', "it has no rule `root`", ""),
    ("root ::= a b", "`root` uses `a`, and there is no such rule", ""),
    ('root ::= "a"\nunused ::= missing', "`unused` uses `missing`", ""),
    # what is no GBNF
    ("root ::= (", "line 1, column 10: a group without its closing `)`", ""),
    ('root ::= "a"\nb = "c"', "line 2, column 3: after `b` there should be `::=`", ""),
    ('root ::= "a" )', "line 1, column 14: this is no part of a rule", ""),
    ('root ::= "a', "line 1, column 10: text without its closing", ""),
    ("root ::= [a", "a class without its closing `]`", ""),
    (r'root ::= "\d"', r"column 11: this is no character; a backslash itself is `\\`", ""),
    ("root ::= * ", "there is nothing to repeat", ""),
    ('root ::= ""+', "there is nothing to repeat", ""),
    ('root ::= "a"{x}', "counts look like `{2}`, `{2,}` or `{2,5}`", ""),
    ("_x ::= [a]", "line 1, column 1: a rule's name should stand here", ""),
    ('root ::= "a\0"', "a grammar has no character U+0000", ""),
    ('root ::= "a\udcff"', "a grammar has no character U+DCFF", ""),
    # what llama.cpp takes for something else
    ('root ::= "a"{0,2001}', "column 13: a count is at most 2,000", ""),
    ('root ::= "a"{99999999999999999999}', "a count is at most 2,000", ""),
    ('root ::= "a"{5,3}', "`{5,3}` has the larger count first", ""),
    ("root ::= []", "`[]` is no character at all", ""),
    ("root ::= [^]", "`[^]` is no character at all", ""),
    ("root ::= [z-a]", "`[z-a]` is no character at all", ""),
    (r"root ::= [^\x00-\U0010FFFF]", r"`[^\x00-\U0010FFFF]` is no character at all", ""),
    (r"root ::= [\uD800-\uDFFF]", "is no character at all", ""),
    (r'root ::= "\x00"', "a character that no answer can have", ""),
    # what never ends
    ('root ::= "a" root', "`root` never comes to an end", "an alternative without `root`"),
    ('root ::= "a" | b\nb ::= "b" c\nc ::= "c" b', "never comes to an end", ""),
    ("root ::= a{2000}\na ::= [x]{2000}", "whatever it admits has more than 100,000 characters", "smaller counts"),
    # what begins with itself
    ('root ::= root "a" | "b"', "`root` begins with itself", "repeat with `part+`"),
    ('root ::= a\na ::= b "x" | "y"\nb ::= a "z" | "q"', "begins with itself", ""),
    ('root ::= a root "z" | "y"\na ::= b b\nb ::= "" | "q"', "`root` begins with itself", ""),
    ('root ::= ("x")* root "z" | "y"', "`root` begins with itself", ""),
    # what is too deep, too wide or too large
    ("root ::= " + "(" * 10_000 + '"a"' + ")" * 10_000, "groups stand inside each other at most 50 deep", ""),
    (chained(15_000, "NEXT", '"a"'), "begins in too many ways", ""),
    (chained(30, "NEXT | NEXT", '"a"'), "begins in too many ways", ""),
    (chained(30, 'NEXT "a" | NEXT "b"', '"a"'), "begins in too many ways", "the next character"),
    (chained(30, "NEXT NEXT", '"a" | ""'), "begins in too many ways", ""),
    ('root ::= "a"{0,2000}{0,2000}', "too large with its repetitions written out", "smaller counts"),
    ('root ::= ((("a"{0,40}){0,40}){0,40})', "too many ways to read the same text as `root`", ""),
    ("root ::= " + " ".join(['"' + "a" * 1000 + '"{0,2000}'] * 30), "too large with its repetitions written out", ""),
    ("root ::= [" + "a" * 500_000 + "]", "has 500,011 characters, and 400,000 are the most", ""),
    # what can be read in ever more ways
    ("root ::= s\ns ::= [a-z ] s [a-z ] | [a-z ] s s | [a-z ]", "too many ways to read", "the next character"),
    ('root ::= "a" root | "a" root root | [a-z] root root | "b"', "too many ways to read the same text as `root`", ""),
]  # fmt: skip


@pytest.mark.parametrize(("grammar", "message", "hint"), REFUSED, ids=lambda part: part[:40])
def test_a_grammar_that_can_not_be_followed_is_refused_at_once(grammar: str, message: str, hint: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(BadInputError) as refusal:
        examine(grammar)
    taken, (_, memory) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in refusal.value.message
    assert hint in (refusal.value.hint or "")
    assert taken < 8  # 0.3 s on a quiet machine that does not count its memory
    assert memory < 100_000_000


SOUND = [
    'root ::= "yes" | "no"\n',
    "root ::= ((\"a\")*)* # a remark\r\n",
    'root ::= ( "a" # one\n  | "b" ) [^\\n"\\]é-]{2,} . "\\x41\\u00e9\\U0001F600"? x-1\nx-1 ::= "" | "x"\n',
    'root ::= sum\nsum ::= term ([-+*/] term)*\nterm ::= [0-9]+ | "(" space sum ")"\nspace ::= [ \\t\\n]*',
    'root ::= item+\nitem ::= "- " [^\\r\\n]+ "\\n"',
    'root ::= ([a-z]+ | " ")*',
    'root ::= term "+" root | term "-" root | term\nterm ::= [a-z]+ | "(" root ")"',
    "root ::= (.{0,9}){0,9}",
    'root ::= !<[3]> <[4]>* <a> "x"',
    "root ::= " + " | ".join(f'"word{number}"' for number in range(4000)),
    "root ::= a b c\na ::= [ab]{0,2000}\nb ::= [c]{1000,2000}\nc ::= [d]{3,}",
    JSON_GRAMMAR,
]  # fmt: skip


@pytest.mark.parametrize("grammar", SOUND, ids=lambda grammar: grammar[:40])
def test_a_usual_grammar_is_sound(grammar: str) -> None:
    start = time.perf_counter()
    examine(grammar)
    assert time.perf_counter() - start < 4  # 0.3 s on a quiet machine


def test_what_is_known_of_a_sound_grammar() -> None:
    plain = examine('root ::= [^"\\n]* "x"')
    assert (plain.names_tokens, plain.excludes_wide, plain.longest_piece) == (False, False, None)
    assert examine("root ::= <[3]> [a-z]").names_tokens
    assert examine("root ::= [^aé]").excludes_wide
    assert examine(r"root ::= [^\u0080]").excludes_wide
    assert 4 < (examine('root ::= ([a-z]+ | "_")*').longest_piece or 0) < 16


def test_the_answer_is_remembered() -> None:
    grammar = grammar_of_schema({"properties": {f"p{number}": {} for number in range(300)}})
    examine(grammar)
    start = time.perf_counter()
    examine(grammar)
    assert time.perf_counter() - start < 0.005


def quickly(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


@quickly(60)
@given(schemas)
def test_a_schemas_grammar_is_sound_and_has_one_way_to_read_a_text(schema: object) -> None:
    try:
        grammar = grammar_of_schema(schema)  # type: ignore[arg-type]
    except BadInputError:
        return
    nature = examine(grammar)
    assert (nature.names_tokens, nature.longest_piece) == (False, None)


@pytest.mark.parametrize(
    "pattern", ["(a|b)*a(a|b){5}", "(.{0,9}){0,9}", r"(\w+ ){5,20}\w+\.", ".*foo.*bar.*", "[^é]+x"]
)
def test_a_patterns_grammar_is_sound_and_has_one_way_to_read_a_text(pattern: str) -> None:
    nature = examine(grammar_of_regex(pattern))
    assert (nature.names_tokens, nature.excludes_wide, nature.longest_piece) == (False, False, None)


# llama.cpp is the judge: what is sound to us it takes, and follows

parts = st.sampled_from(['"a"', '"bc"', "[ab]", "[^a]", ".", '""', "a", "b", "c"])
bodies = st.recursive(
    parts,
    lambda inner: st.one_of(
        st.builds("{} {}".format, inner, inner),
        st.builds("( {} | {} )".format, inner, inner),
        st.builds("( {} ){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}", "{2,}"])),
    ),
    max_leaves=6,
)
grammars = st.builds("root ::= {}\na ::= {}\nb ::= {} | {}\nc ::= {}\n".format, *[bodies] * 5)


@quickly(300)
@given(grammars, st.integers(0, 99))
def test_llama_cpp_follows_every_sound_grammar(model: Model, text: str, seed: int) -> None:
    try:
        nature = examine(text)
    except BadInputError:
        return
    try:
        check = GrammarCheck(model, text)
    except BadInputError as refusal:  # it takes `("a"*)*` for left recursion where it sees through it
        assert "left recursion" in refusal.message
        return
    try:
        for token in Grammar(text).write(random.Random(seed))[:8].encode():
            assert check.admits(token)
            check.accept(token)
    finally:
        check.close()
    assert nature.longest_piece is None or nature.longest_piece > 0


@quickly(200)
@given(st.text('ro: =()[]{}"\\|*+?^-ab01,.<>!#\n', max_size=60).map("root ::= {}".format))
def test_what_llama_cpp_can_not_read_is_refused_before(model: Model, text: str) -> None:
    try:
        examine(text)
    except BadInputError:
        return
    try:
        GrammarCheck(model, text).close()
    except BadInputError as refusal:
        assert "token" in refusal.message or "left recursion" in refusal.message
