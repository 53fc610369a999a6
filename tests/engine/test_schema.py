"""JSON Schema to GBNF: what a grammar lets through, what it stops, and which schemas are refused.

`hypothesis` writes schemas, the grammar writes documents, and `jsonschema` judges them: each must be valid.
"""

from __future__ import annotations

import json
import random
import time
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from doubles.gbnf import Grammar, canonical
from doubles.schemas import is_valid, schemas, simple
from llmasos.engine.schema import JSON_GRAMMAR, grammar_of_schema, parse_schema
from llmasos.errors import BadInputError

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}, "email": {"type": "string"}},
    "required": ["name", "age"],
}
LIST = {
    "$defs": {"node": {"properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}
TREE = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
CAT_OR_DOG = {
    "oneOf": [
        {"properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind", "lives"]},
        {"properties": {"kind": {"const": "dog"}, "name": {"type": "string"}}, "required": ["kind"]},
    ]
}
NAMED_AND_AGED = {
    "allOf": [
        {"properties": {"name": {"type": "string"}}, "required": ["name"]},
        {"properties": {"age": {"type": "integer"}, "name": {"minLength": 2}}},
    ]
}
CONTACT = {
    "properties": {"name": True},
    "required": ["name"],
    "anyOf": [{"properties": {"mail": {"type": "string"}}, "required": ["mail"]}, {"required": ["phone"]}],
}

LETS_THROUGH = [
    # schema, documents it lets through, documents it stops
    (True, [None, 1, -2.5, "x", [1, ["y"]], {"a": {"b": [True]}}], []),
    ({"type": "object"}, [{}, {"a": 1, "b": [None]}], [1, "x", []]),
    ({"type": "string"}, ["", "é😀", 'a"b\\c', "tab\t", "\x00", "\u2028"], [1, None]),
    ({"type": ["integer", "null"]}, [0, -7, 12345678901234567890, None], [1.5, "1", True]),
    ({"type": "number"}, [0, -0.5, 3.25e-07, 1e22, 0.12345678901234568], ["1", None]),
    ({"type": "boolean"}, [True, False], [0, "true"]),
    ({"const": {"a": [1, "é"]}}, [{"a": [1, "é"]}], [{"a": [1]}]),
    ({"enum": ["a", 1, None, 'say "hi"\n']}, ["a", 1, None, 'say "hi"\n'], ["b", 2, False]),
    ({"enum": ["a", 1, 2.5, None, True], "type": ["string", "integer"]}, ["a", 1], [2.5, None, True]),
    ({"enum": ["a", "abc", 1, 5], "maxLength": 2, "minimum": 3}, ["a", 5], ["abc", 1]),
    ({"minLength": 2, "maxLength": 3}, ["ab", "\n\n", "😀é!"], ["a", "abcd", 22]),
    ({"type": "string", "maxLength": 4500}, ["", "x" * 4500], ["x" * 4501]),
    ({"type": "string", "minLength": 2500}, ["x" * 2500, "x" * 2600], ["x" * 2499]),
    # integers
    ({"type": "integer", "minimum": 1, "maximum": 120}, [1, 9, 10, 99, 100, 120], [0, -1, 121, 1000]),
    ({"type": "integer", "minimum": -15, "maximum": 7}, [-15, -10, -9, -1, 0, 7], [-16, -20, -100, 8]),
    ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, [1, 2], [0, 3]),
    ({"type": "integer", "minimum": 0.5, "maximum": 2.5}, [1, 2], [0, 3]),
    ({"type": "integer", "maximum": -100}, [-100, -101, -99999], [-99, 0, 5]),
    ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, [-(2**63), 2**63 - 1], [-(2**63) - 1, 2**63]),
    # numbers
    ({"type": "number", "minimum": 0}, [0, 0.0, 0.5, 12.75, 10**14], [-0.5, -1]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, [0.001, 0.5, 1, 1.0], [0, 0.0, 1.001, 1.5, -0.5]),
    ({"type": "number", "minimum": -1.25, "exclusiveMaximum": 2.5}, [-1.25, -1.2, -0.01, 0, 2.49], [-1.26, 2.5, 2.51]),
    # arrays
    ({"type": "array", "items": {"type": "integer"}}, [[], [1], [1, 2, 3]], [["a"], 1]),
    ({"items": {"type": "null"}, "minItems": 1, "maxItems": 2}, [[None], [None, None]], [[], [None] * 3]),
    ({"type": "array", "maxItems": 0}, [[]], [[1]]),
    ({"prefixItems": [{"const": 1}, {"const": 2}]}, [[], [1], [1, 2]], [[2], [1, 2, 3]]),
    ({"prefixItems": [{"const": 1}], "minItems": 2}, [[1, 0], [1, "a", "b"]], [[1]]),
    ({"prefixItems": [{"const": 1}], "items": {"const": 0}, "minItems": 2}, [[1, 0], [1, 0, 0]], [[1], [0, 0]]),
    ({"prefixItems": [{"const": 1}, {"const": 2}], "minItems": 2, "items": False}, [[1, 2]], [[1], [1, 2, 3]]),
    # objects
    (PERSON, [{"name": "A", "age": 1}, {"name": "A", "age": 1, "email": ""}], [{"name": "A"}, {"age": 1, "name": "A"}]),
    ({"properties": {"a": {}, "b": {}, "c": {}}}, [{}, {"b": 1}, {"a": 1, "c": 1}], [{"d": 1}, {"c": 1, "a": 1}]),
    ({"properties": {'"\\\n': True, "é/~": True}}, [{'"\\\n': 1, "é/~": 2}], [{"x": 1}]),
    ({"properties": {"a": {"const": 1}}, "additionalProperties": {"const": 0}}, [{"a": 1, "b": 0}], [{"a": 0}]),
    ({"properties": {"a": {}}, "additionalProperties": True}, [{"a": 1, "": 1, "ab": 2}, {"b": 1}], [{"b": 1, "a": 1}]),
    ({"additionalProperties": {"type": "integer"}}, [{}, {"x": 1}], [{"x": "y"}]),
    ({"properties": {"a": {}, "b": False}}, [{}, {"a": 1}], [{"b": 1}]),
    ({"required": ["x"]}, [{"x": None}], [{}, {"y": 1}]),
    ({"properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2}, [{"a": 1, "c": 1}], [{}, {"a": 1}]),
    ({"properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 1}, [{}, {"c": 1}], [{"a": 1, "b": 1}]),
    ({"type": "object", "minProperties": 1, "maxProperties": 2}, [{"a": 1}, {"a": 1, "b": 2}], [{}]),
    # combinations
    ({"anyOf": [{"type": "integer"}, {"const": "none"}]}, [1, "none"], ["one", None]),
    ({"type": "string", "anyOf": [{"minLength": 3}, {"type": "null"}]}, ["abc"], ["ab", None]),
    (CAT_OR_DOG, [{"kind": "cat", "lives": 9}, {"kind": "dog"}], [{"kind": "cat"}, {"kind": "dog", "lives": 9}]),
    (NAMED_AND_AGED, [{"name": "Al"}, {"name": "Al", "age": 3}], [{"name": "A"}, {"age": 3}]),
    ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3.0, True]}]}, [2, 3], [1, True]),
    ({"allOf": [{"type": "number", "minimum": 3}, {"type": "integer", "maximum": 4}]}, [3, 4], [2, 5, 3.5]),
    (CONTACT, [{"name": 1, "mail": "x"}, {"name": 1, "phone": 2}], [{"name": 1}]),
    # references
    (LIST, [{}, {"value": 1, "next": {"next": {"value": 2}}}], [{"next": 1}]),
    (TREE, [{"children": [{}, {"children": [{}]}]}], [{"children": {}}]),
    ({"properties": {"a/b": {"const": 1}, "c": {"$ref": "#/properties/a~1b"}}}, [{"a/b": 1, "c": 1}], [{"c": 2}]),
    ({"definitions": {"ü x": {"const": 1}}, "$ref": "#/definitions/%C3%BC%20x"}, [1], [2]),
    ({"anyOf": [{"$ref": "#"}, {"const": 1}]}, [1], [2]),
    # patterns; unanchored ones may stand anywhere
    ({"pattern": r"^[A-Z]{2}-\d{3,}$"}, ["AB-123", "AB-12345"], ["AB-12", "xAB-123", "AB-123x"]),
    ({"pattern": "b+"}, ["b", "abba", "\nb"], ["", "a"]),
    ({"pattern": "^(?:yes|no)?$|^may"}, ["", "yes", "maybe"], ["yesno", "a may"]),
    ({"pattern": r'^["\\\/\n]\.[^a-y"]$'}, ['".z', "\\.A", "/.é", "\n.\\"], ['".a', '"xz', '"."']),
    ({"pattern": "^(?<year>[12][0-9]{3})(-(?P<month>0[1-9]|1[0-2]))??$"}, ["1999", "2024-12"], ["2024-13"]),
    ({"pattern": "^((a*)*b?)*$"}, ["", "aab", "bb"], ["c"]),
    ({"pattern": r"^\w+$", "minLength": 2, "maxLength": 3}, ["ab", "_1Z"], ["a", "abcd", "a-b"]),
    ({"pattern": "b$", "minLength": 2, "maxLength": 4}, ["ab", "bb", "abab"], ["b", "ba", "aaaab"]),
    ({"pattern": r"^(x[0-9a-f]+|\d{2})$", "maxLength": 3}, ["xf", "x00", "42"], ["x", "x000", "4"]),
    # formats
    ({"format": "date"}, ["2024-02-29", "2000-02-29", "1999-12-31"], ["2023-02-29", "1900-02-29", "2024-04-31"]),
    ({"format": "time"}, ["23:59:59Z", "00:00:00.5+02:00"], ["24:00:00Z", "12:00"]),
    ({"format": "date-time"}, ["2024-01-31T12:00:00Z"], ["2024-01-31", "2024-13-01T00:00:00Z"]),
    ({"format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
    ({"format": "email"}, ["a.b+c@mail.example.org"], ["a@b", "@example.org", "a b@example.org"]),
    ({"format": "hostname"}, ["anything"], [1]),
]


@pytest.mark.parametrize(("schema", "accepted", "stopped"), LETS_THROUGH, ids=lambda part: canonical(part)[:60])
def test_a_grammar_lets_through_what_the_schema_describes(schema: Any, accepted: list[Any], stopped: list[Any]) -> None:
    grammar = Grammar(grammar_of_schema(schema))
    assert [document for document in accepted if not grammar.accepts(canonical(document))] == []
    assert [document for document in stopped if grammar.accepts(canonical(document))] == []


REFUSED = [
    # schema, words of the message
    ({"not": {"type": "string"}}, "schema at `#`: `not` is not supported"),
    ({"properties": {"a": {"if": True}}}, "schema at `#/properties/a`: `if` is not supported"),
    ({"patternProperties": {"x": True}}, "`patternProperties`"),
    ({"dependentSchemas": {"x": True}}, "`dependentSchemas`"),
    ({"items": {"contains": True}}, "at `#/items`: `contains` is not supported"),
    ({"type": "array", "uniqueItems": True}, "`uniqueItems`"),
    ({"type": "integer", "multipleOf": 5}, "`multipleOf`"),
    ({"propertyNames": {"maxLength": 3}}, "`propertyNames`"),
    ({"unevaluatedProperties": False}, "`unevaluatedProperties`"),
    ({"$ref": "https://example.org/schema"}, "`$ref` to `https://example.org/schema` is not supported"),
    ({"$ref": "#/$defs/missing"}, "at `#/$defs/missing`: a `$ref` leads here, but there is nothing"),
    ({"properties": {"a/b": {"type": "text"}}}, "at `#/properties/a~1b`: `type` has an unknown name"),
    ({"properties": []}, "`properties` has a value that it can't have"),
    ({"minLength": "3"}, "`minLength` has a value"),
    ({"minimum": float("inf")}, "`minimum` has a value"),
    ({"items": 3}, "`items` has a value"),
    ({"enum": [float("nan")]}, "a value that is not JSON"),
    ({"enum": ["abc"], "pattern": "^a"}, "`enum` or `const` can't be combined with `pattern`"),
    ({"const": [1], "maxItems": 2}, "`enum` or `const` can't be combined with `maxItems`"),
    ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "two different `pattern`"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "the options of `oneOf` may overlap"),
    ({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, "the options of `oneOf` may overlap"),
    ({"pattern": r"^(a)\1$"}, r"has the backreference `\1` at character 5, which is not supported"),
    ({"pattern": "^(?=a)b$"}, "`pattern` has the lookahead `(?=` at character 2, which is not supported"),
    ({"pattern": "[a"}, "`pattern` ends in the middle of a character class"),
    ({"pattern": "a**"}, "`*` after a repetition"),
    ({"pattern": r"\bword\b"}, r"`\b`"),
    ({"pattern": "^(((a{1,99}){1,99}){1,99})$"}, "`pattern` has too many ways to read the same text"),
    ({"pattern": "^a+$", "maxLength": 0}, "no string is left at `#`"),
    ({"pattern": "^a$", "format": "date"}, "can't be combined with the format `date`"),
    # impossible
    (False, "no document can satisfy the schema: `false` at `#`"),
    ({"enum": []}, "no value of `enum` or `const` is possible at `#`"),
    ({"enum": ["a"], "type": "integer"}, "no value of `enum` or `const` is possible"),
    ({"minimum": 3, "maximum": 2}, "no number is left between the bounds at `#`"),
    ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "no number is left between the bounds"),
    ({"minLength": 3, "maxLength": 2}, "`minLength` 3 exceeds `maxLength` 2 at `#`"),
    ({"items": {"type": "null"}, "minItems": 3, "maxItems": 2}, "`minItems` 3 exceeds `maxItems` 2"),
    ({"required": ["a"], "properties": {"a": {"allOf": [{"type": "null"}, {"type": "string"}]}}}, "no `type` is left"),
    ({"properties": {"a": {}}, "minProperties": 3}, "`minProperties` asks for more than the named ones"),
    ({"additionalProperties": {"type": "null"}, "minProperties": 2}, "`minProperties` asks for more"),
    ({"required": ["a"], "additionalProperties": False}, "`false` at `#/additionalProperties`"),
    ({"properties": {"next": {"$ref": "#"}}, "required": ["next"]}, "each one would go on for ever"),
    ({"$ref": "#"}, "no document can satisfy the schema"),
    ({"const": {1, 2}}, "`enum` or `const` has a value that is not JSON"),
    # too large
    ({"minLength": 10**6}, "whatever the schema admits has more than 100,000 characters"),
    ({"items": {"minItems": 1000}, "minItems": 1000}, "whatever the schema admits has more than 100,000 characters"),
    ({"enum": list(range(50_001))}, "`enum` has more than 50,000 values"),
    ({"allOf": [{"anyOf": [{"minLength": 2 * n}, {"maxLength": 2 * n}]} for n in range(40)]}, "too many alternatives"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED, ids=lambda part: str(part)[:60])
def test_a_schema_that_no_grammar_can_guarantee_is_refused_and_the_place_named(schema: Any, message: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        grammar_of_schema(schema)
    assert message in str(refusal.value)


def nested(levels: int) -> dict[str, Any]:
    """Each level names the next one twice: 2 to the power of `levels` ways through it."""
    definitions: dict[str, Any] = {"0": {"type": "null"}}
    for level in range(1, levels + 1):
        twice = [{"$ref": f"#/$defs/{level - 1}"}, {"$ref": f"#/$defs/{level - 1}"}]
        definitions[str(level)] = {"anyOf": twice}
    return {"$defs": definitions, "$ref": f"#/$defs/{levels}"}


def fanned(levels: int) -> dict[str, Any]:
    """Each level holds the next one twice."""
    twice = [{"$ref": f"#/$defs/{level + 1}"} for level in range(levels)]
    definitions = {str(level): {"properties": {"a": next_, "b": next_}} for level, next_ in enumerate(twice)}
    return {"$defs": {**definitions, str(levels): {"type": "null"}}, "$ref": "#/$defs/0"}


def deep(levels: int) -> dict[str, Any]:
    return {"properties": {"a": deep(levels - 1)}, "required": ["a"]} if levels else {"type": "null"}


HUGE = [
    nested(50),
    fanned(60),
    deep(480),
    {"required": [f"p{n}" for n in range(10_000)]},
    {"enum": [f"value number {n}" for n in range(50_000)]},
    {"anyOf": [{"properties": {f"k{n}-{m}": {} for m in range(30)}} for n in range(400)]},
    {"type": "string", "maxLength": 10**30},
    {"type": "array", "maxItems": 10**9, "items": {"type": "string", "maxLength": 10**9}},
    {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"oneOf": [{"properties": {"k": {"const": n}}, "required": ["k"]} for n in range(2000)]},
    {"properties": {f"p{n}": {"enum": ["x" * 200, n]} for n in range(5000)}},
    {"properties": {"x" * 20_000: True}, "additionalProperties": True},
    {"properties": {f"p{n}": {} for n in range(1000)}, "minProperties": 500},
    {"type": "array", "minItems": 10**12},
    {"type": "string", "pattern": "(" * 200 + ")" * 200},
    {"type": "string", "pattern": "a?" * 3000},
    {"properties": {f"p{n}": {"pattern": f"(a|b)*a(a|b){{7}}c{n}"} for n in range(100)}},
]


@pytest.mark.parametrize("schema", HUGE, ids=lambda schema: " ".join(schema))
def test_a_huge_schema_is_converted_or_refused_at_once(schema: Any) -> None:
    start = time.perf_counter()
    try:
        assert len(grammar_of_schema(schema)) < 500_000
    except BadInputError as refusal:
        assert "schema" in str(refusal)
    assert time.perf_counter() - start < 4  # 0.3 s on a quiet machine; for ever if anything were exponential


def test_optional_properties_make_the_grammar_longer_but_never_much_longer() -> None:
    def size(count: int) -> int:
        return len(grammar_of_schema({"properties": {f"property{n}": {"type": "null"} for n in range(count)}}))

    assert size(400) < 5 * size(100)


@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 2}, {"indent": "\t"}])
def test_the_usual_layouts_are_let_through(layout: dict[str, Any]) -> None:
    document = {"a": [1, {"b": "c"}], "d": {}, "e": []}
    assert Grammar(JSON_GRAMMAR).accepts(json.dumps(document, **layout))


@pytest.mark.parametrize("text", ["{  }", '{"a":  1}', '{"a": 1}\n', '{"a" :1}', '{\n\n"a": 1}', " {}"])
def test_white_space_never_goes_on(text: str) -> None:
    assert not Grammar(JSON_GRAMMAR).accepts(text)


def test_json_grammar_is_any_object_and_nothing_else() -> None:
    grammar = Grammar(JSON_GRAMMAR)
    assert grammar.accepts('{"a": [1, 2.5e3, "\\u00e9\\ud83d\\ude00", null], "b": {"c": true}}')
    assert not any(map(grammar.accepts, ["[]", "1", '"a"', '{"a": 01}', '{"a": "\\ud83d"}', "{'a': 1}", '{"a": 1,}']))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": 1, "\\u0061": 2}', '{"\\u0061": 2}'])
def test_a_free_property_never_takes_a_named_ones_place(text: str) -> None:
    grammar = Grammar(grammar_of_schema({"properties": {"a": {"const": 1}}, "additionalProperties": True}))
    assert not grammar.accepts(text)


def test_annotations_and_unknown_words_change_nothing() -> None:
    notes = {"title": "T", "description": "D", "default": 1, "examples": [1], "$schema": "s", "$id": "i", "x-mine": []}
    assert grammar_of_schema({**PERSON, **notes, "$comment": "", "deprecated": True}) == grammar_of_schema(PERSON)


def test_tuples_may_be_written_as_before_2020() -> None:
    schema = {"items": [{"const": 1}], "additionalItems": {"const": 0}, "minItems": 1}
    grammar = Grammar(grammar_of_schema(schema))
    assert Draft7Validator(schema).is_valid([1, 0, 0]) and grammar.accepts("[1, 0, 0]")
    assert not grammar.accepts("[0]")


def test_dates_exist() -> None:
    grammar = Grammar(grammar_of_schema({"format": "date-time"}))
    for seed in range(300):
        datetime.fromisoformat(json.loads(grammar.write(random.Random(seed))).replace("Z", "+00:00")[:19])


# properties: what the grammar writes is valid, and what is valid the grammar takes


def quickly(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


@quickly(60)
@given(schemas, st.randoms(use_true_random=False))
def test_whatever_a_grammar_writes_the_schema_accepts(schema: Any, chance: random.Random) -> None:
    try:
        grammar = Grammar(grammar_of_schema(schema))
    except BadInputError:
        return
    for _ in range(3):
        text = grammar.write(chance)
        assert is_valid(json.loads(text), schema), text


eighths = st.integers(-1000, 1000).map(lambda number: (2 * number + 1) / 8)
said = simple.filter(
    lambda schema: isinstance(schema, dict) and "format" not in schema and {"type", "enum", "const"} & schema.keys()
)


@quickly(100)
@given(said, st.lists(st.none() | st.integers(-150, 150) | eighths | st.text('abc1 é"\\', max_size=5)))
def test_a_value_is_let_through_exactly_if_the_schema_accepts_it(schema: Any, values: list[Any]) -> None:
    try:
        accepts = Grammar(grammar_of_schema({"items": schema, "minItems": 1})).accepts
    except BadInputError:
        return
    named = [*schema.get("enum", []), schema.get("const")]
    for value in values:
        if any(value == each and {type(value), type(each)} == {int, float} for each in named):
            continue  # 2 and 2.0 are equal, and written as the schema has them
        assert accepts(canonical([value])) == is_valid(value, schema), value


def test_a_schema_is_given_as_json_or_as_names_types_and_descriptions() -> None:
    assert parse_schema(' {"type": "null"}') == {"type": "null"}
    assert parse_schema("name, age int, bio: one line") == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "bio": {"type": "string", "description": "one line"},
        },
        "required": ["name", "age", "bio"],
        "additionalProperties": False,
    }


def test_the_short_form_may_have_a_field_on_each_line() -> None:
    schema = parse_schema("score float: from 0 to 1, higher is better\ntags list\nok bool\n")
    assert schema["properties"] == {
        "score": {"type": "number", "description": "from 0 to 1, higher is better"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "ok": {"type": "boolean"},
    }


@pytest.mark.parametrize("text", ["", " , ", "age integer", "two words int", "a, a", ": text", "{", '{"a": 1', "[1]"])
def test_a_schema_text_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(BadInputError):
        parse_schema(text)
