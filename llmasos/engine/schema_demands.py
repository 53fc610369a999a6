"""What JSON Schema asks of a value: its keywords, checked and merged, all references and combinations left aside.

Children are named by pointers into the schema, all of which hold. Refuses what the grammar could not guarantee.
Knows nothing of grammars.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from llmasos.errors import BadInputError

Pointers: TypeAlias = tuple[str, ...]
Places: TypeAlias = list[tuple[str, Mapping[str, Any]]]  # schemas that hold together, each with its pointer

_VALUES_AT_MOST = 50_000

TYPES = frozenset(("object", "array", "string", "number", "integer", "boolean", "null"))
TYPE_OF = {
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), "number"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems"), "array"),
    **dict.fromkeys(("properties", "additionalProperties", "required", "minProperties", "maxProperties"), "object"),
}
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_REFUSED: dict[str, Any] = {  # with the value that asks nothing, if there is one
    **dict.fromkeys(("not", "if", "then", "else", "contains", "multipleOf"), NotImplemented),
    **dict.fromkeys(("$dynamicRef", "$recursiveRef"), NotImplemented),
    **dict.fromkeys(("patternProperties", "propertyNames"), {}),
    **dict.fromkeys(("dependencies", "dependentSchemas", "dependentRequired"), {}),
    **dict.fromkeys(("unevaluatedProperties", "unevaluatedItems"), True),
    "uniqueItems": False,
}
_FORMS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys((*_LOWER_BOUNDS, *_UPPER_BOUNDS), (int,)),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (int, float)),
    **dict.fromkeys(("$ref", "pattern", "format"), (str,)),
    **dict.fromkeys(("enum", "required", "allOf", "anyOf", "oneOf", "prefixItems"), (list,)),
    **dict.fromkeys(("additionalItems", "additionalProperties"), (bool, Mapping)),
    "items": (bool, Mapping, list),
    "properties": (Mapping,),
    "type": (str, list),
}


@dataclass(frozen=True, slots=True)
class Demand:
    place: str
    keywords: frozenset[str]
    types: frozenset[str] | None  # None: not said
    values: tuple[Any, ...] | None
    pattern: str | None
    format: str | None
    required: frozenset[str]
    properties: Mapping[str, Pointers]
    extras: Pointers | None  # None: no properties but the named ones are written
    prefix: tuple[Pointers, ...]
    items: Pointers | None  # None: nothing is written after the prefix
    bounds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def likely_types(self) -> frozenset[str]:
        """Without `type`, the types that the keywords speak of: they would not stand there for others."""
        if self.types is not None:
            return self.types
        return frozenset(TYPE_OF[keyword] for keyword in self.keywords if keyword in TYPE_OF) or TYPES


def demand_of(schemas: Places) -> Demand:
    types = _types_of(schemas)
    required = merged(*(schema.get("required", ()) for _, schema in schemas))
    properties, extras = _properties_of(schemas, required)
    prefix, items = _items_of(schemas)
    return Demand(
        place=schemas[0][0] if schemas else "#",
        keywords=frozenset(keyword for _, schema in schemas for keyword in schema),
        types=types,
        values=_values_of(schemas, types),
        pattern=_only(schemas, "pattern"),
        format=_only(schemas, "format"),
        required=frozenset(required),
        properties=properties,
        extras=extras,
        prefix=prefix,
        items=items,
        bounds=_bounds_of(schemas),
    )


def refuse(what: str, place: str, hint: str | None = None) -> NoReturn:
    raise BadInputError(f"schema at `{place}`: {what}", hint=hint)


def check(schema: Mapping[str, Any], place: str) -> None:
    """Refuses keywords whose demands can't be met by a grammar, and values that no keyword can have."""
    for keyword, harmless in _REFUSED.items():
        if keyword in schema and schema[keyword] != harmless:
            refuse(f"`{keyword}` is not supported", place, "leave it out of the schema, and check the answer yourself")
    for keyword, forms in _FORMS.items():
        if keyword in schema and not _has_form(schema[keyword], forms):
            refuse(f"`{keyword}` has a value that it can't have", place)
    if not all(isinstance(name, str) for name in (*schema.get("required", ()), *schema.get("properties", ()))):
        refuse("a property's name is no text", place)
    if not all(isinstance(name, str) and name in TYPES for name in _types_in(schema)):
        refuse("`type` has an unknown name", place, f"types are {', '.join(sorted(TYPES))}")
    if "prefixItems" in schema and isinstance(schema.get("items"), list):
        refuse("`prefixItems` and a list of `items` contradict each other", place)
    if place != "#" and not str(schema.get("$id", "#")).startswith("#"):  # references below would start from there
        refuse("`$id` is only supported at the top", place)


def _has_form(value: Any, forms: tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # which Python counts among the integers
        return bool in forms
    return isinstance(value, forms) and not (isinstance(value, float) and not math.isfinite(value))


def identity(value: Any) -> str:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names: tuple[tuple[type, str], ...] = ((float, "number"), (str, "string"), (list, "array"), (Mapping, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def has_type(value: Any, types: frozenset[str]) -> bool:
    return bool(common_types(frozenset([type_of(value)]), types) & {type_of(value)})


def common_types(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    """The types in both; integers are numbers."""
    common, numeric = left & right, {"number", "integer"}
    return common | {"integer"} if numeric & left and numeric & right and "number" not in common else common


def child(pointer: str, *tokens: str | int) -> str:
    return "/".join([pointer, *(str(token).replace("~", "~0").replace("/", "~1") for token in tokens)])


def merged(*groups: Iterable[str]) -> Pointers:
    """All items in order, each once."""
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _types_in(schema: Mapping[str, Any]) -> list[Any]:
    written = schema.get("type", [])
    return written if isinstance(written, list) else [written]


def _types_of(schemas: Places) -> frozenset[str] | None:
    types: frozenset[str] | None = None
    for _, schema in schemas:
        if "type" in schema:
            own = frozenset(_types_in(schema))
            types = own if types is None else common_types(types, own)
    return types


def _values_of(schemas: Places, types: frozenset[str] | None) -> tuple[Any, ...] | None:
    lists = [[schema["const"]] for _, schema in schemas if "const" in schema]
    lists += [schema["enum"] for _, schema in schemas if "enum" in schema]
    if not lists:
        return None
    if sum(map(len, lists)) > _VALUES_AT_MOST:
        refuse(f"`enum` has more than {_VALUES_AT_MOST:,} values", schemas[0][0])
    try:
        found = {identity(value): value for value in lists[0] if types is None or has_type(value, types)}
        for other in lists[1:]:
            kept = set(map(identity, other))
            found = {key: value for key, value in found.items() if key in kept}
    except (TypeError, ValueError):
        refuse("`enum` or `const` has a value that is not JSON", schemas[0][0])
    return tuple(found.values())


def _bounds_of(schemas: Places) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for keywords, tightest in ((_LOWER_BOUNDS, max), (_UPPER_BOUNDS, min)):
        for keyword in keywords:
            given = [schema[keyword] for _, schema in schemas if keyword in schema]
            if given:
                bounds[keyword] = tightest(given)
    return bounds


def _only(schemas: Places, keyword: str) -> str | None:
    given = merged([str(schema[keyword]) for _, schema in schemas if keyword in schema])
    if len(given) > 1:
        refuse(f"two different `{keyword}` can't be combined", schemas[-1][0])
    return given[0] if given else None


def _properties_of(schemas: Places, required: Pointers) -> tuple[dict[str, Pointers], Pointers | None]:
    names = merged(*(schema.get("properties", ()) for _, schema in schemas), required)
    properties = {name: merged(*(_property(name, place, schema) for place, schema in schemas)) for name in names}
    stated = [place for place, schema in schemas if "additionalProperties" in schema]
    extras = tuple(child(place, "additionalProperties") for place in stated)
    return properties, extras if extras or not names else None


def _property(name: str, place: str, schema: Mapping[str, Any]) -> Pointers:
    if name in schema.get("properties", ()):
        return (child(place, "properties", name),)
    return (child(place, "additionalProperties"),) if "additionalProperties" in schema else ()


def _items_of(schemas: Places) -> tuple[tuple[Pointers, ...], Pointers | None]:
    length = max((len(schema.get(_prefix_keyword(schema), ())) for _, schema in schemas), default=0)
    *prefix, items = (
        merged(*(_item(index, place, schema) for place, schema in schemas)) for index in (*range(length), None)
    )
    return tuple(prefix), items if items or not prefix else None


def _prefix_keyword(schema: Mapping[str, Any]) -> str:
    """Until 2019 a list of `items` was what `prefixItems` is now."""
    return "items" if isinstance(schema.get("items"), list) else "prefixItems"


def _item(index: int | None, place: str, schema: Mapping[str, Any]) -> Pointers:
    """What the schema says of the item; None: of all that come after every prefix."""
    prefix = _prefix_keyword(schema)
    if index is not None and index < len(schema.get(prefix, ())):
        return (child(place, prefix, index),)
    rest = "additionalItems" if prefix == "items" else "items"
    return (child(place, rest),) if rest in schema else ()
