"""JSON Schema to a GBNF grammar for llama.cpp: whatever the grammar lets through is JSON that the schema accepts.

The grammar may be narrower than the schema: properties stand in the schema's order, and those it doesn't name are
written only where it says so (`additionalProperties`) or names none. What can't be guaranteed is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llmasos.engine.grammar.containers import COLON, SPACE_RULES, Member, array_node, object_node
from llmasos.engine.grammar.gbnf import NEVER, Node, Rule, Rules, Text, can_end, choice, repeat, series
from llmasos.engine.grammar.numbers import INTEGER, NUMBER, Interval, integers_in, is_inside, numbers_in
from llmasos.engine.grammar.patterns import FORMATS, PatternError, json_pattern_node
from llmasos.engine.grammar.strings import CHARACTER, STRING_RULES, json_text, key_except
from llmasos.engine.grammar.texts import text_choice
from llmasos.engine.schema_demands import TYPE_OF, Demand, Pointers, refuse, type_of
from llmasos.engine.schema_reader import SchemaReader
from llmasos.errors import BadInputError

_RULES: dict[str, Node] = {
    **STRING_RULES,
    **SPACE_RULES,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": choice([Text("true"), Text("false")]),
    "null": Text("null"),
}


def grammar_of_schema(schema: Mapping[str, Any] | bool) -> str:
    """A grammar, with `root` as its start, for documents that satisfy the schema.

    Raises BadInputError for a schema that is unsupported, impossible to satisfy, or too large.
    """
    return _grammar(schema, lambda converter: converter.value("#"))


def grammar_of_alternatives(alternatives: Sequence[tuple[str, Mapping[str, Any], str]]) -> str:
    """A grammar for one document of one of the schemas, each between a text before it and one behind it.

    Raises BadInputError as `grammar_of_schema`; places in its message begin with the number of the alternative.
    """
    schemas = {str(number): _moved(schema, number) for number, (_, schema, _) in enumerate(alternatives)}

    def root(converter: _Converter) -> Node:
        return choice(
            series(before, converter.value(f"#/{number}"), after)
            for number, (before, _, after) in enumerate(alternatives)
        )

    return _grammar(schemas, root)


def _grammar(schema: Mapping[str, Any] | bool, root: Callable[[_Converter], Node]) -> str:
    try:
        return _Converter(schema).grammar(root)
    except RecursionError as error:  # a constant nested a thousand times
        raise BadInputError("the schema is nested too deeply") from error


def _moved(schema: Any, number: int) -> Any:
    """The schema with its references to places in itself as they are where it stands under a number."""
    if isinstance(schema, list):
        return [_moved(each, number) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved = {key: _moved(value, number) for key, value in schema.items()}
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        moved["$ref"] = f"#/{number}{target[1:]}"
    return moved


def parse_schema(text: str) -> dict[str, Any]:
    """A schema from JSON, or from its short form: `name, age int, bio: one line`.

    A field of the short form is a name, then perhaps a type (str, int, float, bool or list; str if none), then perhaps
    `:` and a description. Fields stand between commas or, so that descriptions may have commas, on lines of their own.
    """
    if text.lstrip().startswith("{"):
        return _parse_json(text)
    fields = [field for field in text.split("\n" if "\n" in text.strip() else ",") if field.strip()]
    properties = dict(map(_parse_field, fields))
    if not properties or len(properties) < len(fields):
        problem = "names no field" if not fields else "names a field twice"
        raise BadInputError(f"the schema {problem}", hint=_SHORT_FORM_HINT)
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_SHORT_FORM_HINT = "write JSON, or fields like `name, age int, bio: one line`"
_SHORT_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array", "items": {"type": "string"}},
}


def _parse_json(text: str) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the schema is not valid JSON: {error}") from error
    return schema


def _parse_field(field: str) -> tuple[str, dict[str, Any]]:
    head, _, description = field.partition(":")
    name, *types = head.split() or [""]
    schema = _SHORT_TYPES.get(" ".join(types) or "str")
    if schema is None or not re.fullmatch(r"[\w-]+", name):
        known = ", ".join(_SHORT_TYPES)
        raise BadInputError(f"`{field.strip()}` is no field of a schema", hint=f"{_SHORT_FORM_HINT}; types are {known}")
    return name, {**schema, **({"description": description.strip()} if description.strip() else {})}


class _Converter:
    """Makes one rule for each set of places in the schema, until no place is left without."""

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        if not isinstance(schema, bool | Mapping):
            raise BadInputError("a schema is a JSON object, or true or false")
        self._reader = SchemaReader(schema)
        self._rules = Rules({"root": NEVER, **_RULES})
        self._rule_of: dict[Pointers, Rule] = {}
        self._node_of: dict[tuple[str, int, float], Node] = {}
        self._waiting: list[Pointers] = []
        self._types: dict[str, Callable[[Demand], Node]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._number,
            "boolean": lambda _: Rule("boolean"),
            "null": lambda _: Rule("null"),
        }

    def grammar(self, root: Callable[[_Converter], Node]) -> str:
        self._rules.set("root", root(self))
        while self._waiting:
            places = self._waiting.pop()
            self._rules.set(self._rule_of[places].name, self._node(self._reader.demand(places)))
        text = self._rules.text("root")
        if text is None:
            reason = next(iter(self._reader.conflicts), "each one would go on for ever")
            raise BadInputError(f"no document can satisfy the schema: {reason}")
        return text

    def value(self, pointer: str) -> Node:
        return self._value((pointer,))

    def _value(self, pointers: Pointers) -> Node:
        return choice(self._rule(places) for places in self._reader.alternatives(pointers))

    def _rule(self, places: Pointers) -> Rule:
        if places not in self._rule_of:
            self._rule_of[places] = Rule(self._rules.claim(_name(places)))
            self._waiting.append(places)
        return self._rule_of[places]

    def _node(self, demand: Demand) -> Node:
        if demand.values is not None:
            return text_choice(self._constants(demand), self._rules)
        types = demand.likely_types - ({"integer"} if "number" in demand.likely_types else set())
        if not types:
            self._reader.conflicts.append(f"no `type` is left at `{demand.place}`")
        return choice(build(demand) for name, build in self._types.items() if name in types)

    def _constants(self, demand: Demand) -> list[str]:
        values = [value for value in demand.values or () if _fits(value, demand)]
        if not values:
            self._reader.conflicts.append(f"no value of `enum` or `const` is possible at `{demand.place}`")
        return [json_text(value) for value in values]

    def _object(self, demand: Demand) -> Node:
        least, most = self._counts(demand, "minProperties", "maxProperties")
        members = [
            Member(series(json_text(name), COLON, self._value(pointers)), name in demand.required)
            for name, pointers in demand.properties.items()
        ]
        extras = () if demand.extras is None and least > len(members) else demand.extras
        extra = None if extras is None else self._extra(demand, extras)
        if least > len(members) + 1:
            refuse("`minProperties` asks for more than the named ones, and others may repeat", demand.place)
        return object_node(members, extra, least, most, self._rules)

    def _extra(self, demand: Demand, pointers: Pointers) -> Node:
        key = key_except(demand.properties.keys(), self._rules)
        return self._rules.share("extra", series(key, COLON, self._value(pointers)))

    def _array(self, demand: Demand) -> Node:
        least, most = self._counts(demand, "minItems", "maxItems")
        prefix = [self._value(pointers) for pointers in demand.prefix]
        items = () if demand.items is None and least > len(prefix) else demand.items
        item = None if items is None else self._value(items)
        return array_node(prefix, item, least, most, self._rules)

    def _string(self, demand: Demand) -> Node:
        least, limit = self._counts(demand, "minLength", "maxLength")
        most = math.inf if limit is None else limit
        pattern = self._pattern(demand)
        if pattern is None:
            text = repeat(CHARACTER, least, limit)
            return Rule("string") if (least, limit) == (0, None) else series('"', text, '"')
        key = (pattern, least, most)
        try:
            self._node_of[key] = self._node_of.get(key) or json_pattern_node(pattern, least, most, self._rules)
        except PatternError as error:
            refuse(f"`pattern` {error}", demand.place, error.hint)
        if self._node_of[key] == NEVER:
            self._reader.conflicts.append(f"no string is left at `{demand.place}`")
        return series('"', self._node_of[key], '"')

    def _pattern(self, demand: Demand) -> str | None:
        if demand.pattern is not None and demand.format in FORMATS:
            refuse(f"`pattern` can't be combined with the format `{demand.format}`", demand.place)
        return FORMATS.get(demand.format or "") if demand.pattern is None else demand.pattern

    def _number(self, demand: Demand) -> Node:
        is_whole = "number" not in demand.likely_types
        interval = _interval(demand.bounds)
        if interval == Interval():
            return Rule("integer" if is_whole else "number")
        node = integers_in(interval) if is_whole else numbers_in(interval)
        if not can_end(node):
            self._reader.conflicts.append(f"no number is left between the bounds at `{demand.place}`")
        return node

    def _counts(self, demand: Demand, lower: str, upper: str) -> tuple[int, int | None]:
        least, most = max(0, demand.bounds.get(lower, 0)), demand.bounds.get(upper)
        if most is not None and most < least:
            self._reader.conflicts.append(f"`{lower}` {least} exceeds `{upper}` {most} at `{demand.place}`")
        return least, most


def _fits(value: Any, demand: Demand) -> bool:
    """Whether a value of `enum` keeps to the other keywords, where that is easily told."""
    if isinstance(value, str) and demand.pattern is None:
        least, most = demand.bounds.get("minLength", 0), demand.bounds.get("maxLength", math.inf)
        return bool(least <= len(value) <= most and re.search(FORMATS.get(demand.format or "", ""), value))
    kind = "number" if type_of(value) == "integer" else type_of(value)
    if kind == "number":
        return is_inside(value, _interval(demand.bounds))
    others = sorted(word for word in demand.keywords if TYPE_OF.get(word) == kind)
    if others:
        refuse(f"`enum` or `const` can't be combined with `{others[0]}`", demand.place)
    return True


def _interval(bounds: Mapping[str, Any]) -> Interval:
    low, open_low = bounds.get("minimum"), bounds.get("exclusiveMinimum")
    high, open_high = bounds.get("maximum"), bounds.get("exclusiveMaximum")
    is_low_open = open_low is not None and (low is None or open_low >= low)
    is_high_open = open_high is not None and (high is None or open_high <= high)
    return Interval(open_low if is_low_open else low, open_high if is_high_open else high, is_low_open, is_high_open)


def _name(places: Pointers) -> str:
    """A rule's name that tells where in the schema it comes from."""
    if not places:
        return "value"
    words = [word for word in places[0].split("/")[1:] if word not in ("properties", "$defs", "definitions")]
    return "-".join(words) or "document"


JSON_GRAMMAR: Final = grammar_of_schema({"type": "object"})
