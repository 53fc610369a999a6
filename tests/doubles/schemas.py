"""JSON schemas of all kinds, for hypothesis to draw, and the judge of documents."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

NAMES = ["a", "b", "ab", 'q"\\', "é/~", ""]
PATTERNS = ["^[a-c]+$", "b", r"^\d{1,3}(\.\d)?$", '^[^"a]{2}$', "^a?$|^[bc]*$", r"\s\W", "^.{2,}$", r"^(a|\\|\u00e9)+$"]
few = st.integers(0, 4)
bounds = st.integers(-120, 120) | st.sampled_from([-2.5, 0.1, 0.25, 3.75, 10**18])


def some(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def typed(name: str, **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda schema: {"type": name, **schema}, some(**keywords))


scalars = (
    st.none() | st.booleans() | st.integers(-12, 12) | st.sampled_from([0.5, 2.0, "", "a", 'q"', "é", [1], {"a": 1}])
)
simple = st.one_of(
    st.booleans(),
    typed("string", minLength=few, maxLength=few),
    typed("string", pattern=st.sampled_from(PATTERNS), maxLength=few),
    typed("string", format=st.sampled_from(["date", "uuid", "email", "time", "unknown"])),
    typed("integer", minimum=bounds, exclusiveMinimum=bounds, maximum=bounds, exclusiveMaximum=bounds),
    typed("number", minimum=bounds, exclusiveMinimum=bounds, maximum=bounds, exclusiveMaximum=bounds),
    some(
        enum=st.lists(scalars, min_size=1, max_size=4), type=st.sampled_from(["string", "number", ["integer", "null"]])
    ),
    some(const=scalars, minLength=few, minimum=bounds, title=st.just("T")),
    st.builds(lambda name: {"$ref": f"#/$defs/{name}"}, st.sampled_from("xyz")),
    st.just({"$ref": "#"}),
)


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return typed("array", prefixItems=st.lists(inner, max_size=3), items=inner, minItems=few, maxItems=few)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)
    properties = st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    return some(properties=properties, required=names, additionalProperties=inner, minProperties=few, maxProperties=few)


def combinations(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(inner, min_size=1, max_size=3)
    return objects(inner).flatmap(lambda own: some(allOf=lists, anyOf=lists, oneOf=lists).map(lambda some: own | some))


parts = st.recursive(simple, lambda inner: arrays(inner) | objects(inner) | combinations(inner), max_leaves=8)
schemas = st.builds(
    lambda root, x, y, z: {**root, "$defs": {"x": x, "y": y, "z": z}}, combinations(parts), *[parts] * 3
)


def is_valid(document: Any, schema: Any) -> bool:
    try:
        return bool(Draft202012Validator(schema).is_valid(document))
    except RecursionError:  # a reference that leads to itself means nothing, and jsonschema follows it for ever
        return True
