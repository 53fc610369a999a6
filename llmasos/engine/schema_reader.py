"""Reads a JSON Schema: follows references and resolves `allOf`, `anyOf` and `oneOf` into plain alternatives.

Knows nothing of grammars. Each alternative is a set of pointers into the schema that hold together, so what stands once
in the schema is known by one name wherever it is used, and recursion ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from llmasos.engine.schema_demands import (
    TYPE_OF,
    TYPES,
    Demand,
    Pointers,
    check,
    child,
    common_types,
    demand_of,
    has_type,
    identity,
    merged,
    refuse,
    type_of,
)
from llmasos.errors import BadInputError

_DEPTH_AT_MOST = 60
_LEVELS_AT_MOST = 1_000  # of a pointer
_STEPS_AT_MOST = 30_000
_ALTERNATIVES_AT_MOST = 500


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to satisfy a schema: all of `places` at once and, because of a `oneOf`, none of `excluded`."""

    places: Pointers = ()
    excluded: Pointers = ()

    def joined(self, other: Alternative) -> Alternative:
        return Alternative(merged(self.places, other.places), merged(self.excluded, other.excluded))


class SchemaReader:
    """`conflicts` notes, while reading, why parts of the schema are impossible."""

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        self._root = schema
        self._steps = 0
        self._checked: dict[str, Mapping[str, Any] | bool] = {}
        self._alternatives: dict[Pointers, list[Alternative]] = {}
        self._approved: dict[Pointers, list[Pointers]] = {}
        self._demands: dict[Pointers, Demand] = {}
        self.conflicts: list[str] = []

    def alternatives(self, pointers: Pointers) -> list[Pointers]:
        """The ways to satisfy all of `pointers`, each a set of places; none where that is impossible."""
        if pointers not in self._approved:
            ways = self._ways(pointers)
            for way in ways:
                self._check_one_of(way)
            self._approved[pointers] = list(dict.fromkeys(way.places for way in ways))
        return self._approved[pointers]

    def demand(self, places: Pointers) -> Demand:
        if places not in self._demands:
            found = [(place, self._schema_at(place)) for place in places]
            self._demands[places] = demand_of([(at, schema) for at, schema in found if isinstance(schema, Mapping)])
        return self._demands[places]

    def _ways(self, pointers: Pointers) -> list[Alternative]:
        if pointers not in self._alternatives:
            found = [Alternative()]
            for pointer in pointers:
                found = _crossed(found, self._one(pointer, ()))
            self._alternatives[pointers] = found
        return self._alternatives[pointers]

    def _one(self, pointer: str, trail: Pointers) -> list[Alternative]:
        self._step(len(trail))
        if pointer in trail:  # a schema that is only itself again adds no way to satisfy it
            return []
        schema = self._schema_at(pointer)
        if schema is False:
            self.conflicts.append(f"`false` at `{pointer}`")
        if isinstance(schema, bool):
            return [Alternative()] if schema else []
        has_own = any(keyword in TYPE_OF or keyword in ("type", "enum", "const") for keyword in schema)
        found = [Alternative((pointer,) if has_own else ())]
        for part in self._combinations(pointer, schema, (*trail, pointer)):
            found = _crossed(found, part)
        return found

    def _step(self, depth: int = 0) -> None:
        self._steps += 1
        if self._steps > _STEPS_AT_MOST or depth > _DEPTH_AT_MOST:
            raise BadInputError("the schema is too large or combines too deeply", hint="use fewer alternatives")

    def _combinations(self, pointer: str, schema: Mapping[str, Any], trail: Pointers) -> Iterator[list[Alternative]]:
        if "$ref" in schema:
            yield self._one(_target(schema["$ref"], pointer), trail)
        for index in range(len(schema.get("allOf", ()))):
            yield self._one(child(pointer, "allOf", index), trail)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                _limit(len(schema[keyword]))
                options = [child(pointer, keyword, index) for index in range(len(schema[keyword]))]
                yield list(self._options(options, trail, is_exclusive=keyword == "oneOf"))

    def _options(self, options: list[str], trail: Pointers, *, is_exclusive: bool) -> Iterator[Alternative]:
        for option in options:
            others = tuple(other for other in options if is_exclusive and other != option)
            for way in self._one(option, trail):
                yield way.joined(Alternative(excluded=others)) if others else way

    def _schema_at(self, pointer: str) -> Mapping[str, Any] | bool:
        if pointer not in self._checked:
            schema = self._find(pointer)
            if not isinstance(schema, bool | Mapping):
                refuse("there should be a schema here", pointer)
            if isinstance(schema, Mapping):
                check(schema, pointer)
            self._checked[pointer] = schema
        return self._checked[pointer]

    def _find(self, pointer: str) -> Any:
        if pointer.count("/") > _LEVELS_AT_MOST:
            raise BadInputError("the schema is nested too deeply")
        found: Any = self._root
        for token in pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, IndexError, TypeError, ValueError):
                refuse("a `$ref` leads here, but there is nothing", pointer)
        return found

    def _check_one_of(self, way: Alternative) -> None:
        """A value that is written for one option must never satisfy another one too."""
        for other in way.excluded:
            for theirs in self._ways((other,)):
                if not self._is_apart(self.demand(way.places), self.demand(theirs.places)):
                    hint = "use `anyOf`, or tell them apart by a required property with a `const` in each"
                    refuse("the options of `oneOf` may overlap", other.rsplit("/", 2)[0], hint)

    def _is_apart(self, written: Demand, theirs: Demand, depth: int = 0) -> bool:
        """Whether no value that is written for one demand satisfies the other. When in doubt, no."""
        self._step()
        if written.values is not None:
            return not any(_may_be(value, theirs) for value in written.values)
        types = TYPES if theirs.types is None else theirs.types
        if theirs.values is not None:
            types = frozenset(map(type_of, theirs.values))
        shared = common_types(written.likely_types, types)
        return not shared or (shared == {"object"} and depth < 4 and self._are_objects_apart(written, theirs, depth))

    def _are_objects_apart(self, written: Demand, theirs: Demand, depth: int) -> bool:
        if written.extras is None and theirs.required - written.properties.keys():
            return True
        return any(
            self._are_children_apart(written.properties[name], theirs.properties.get(name, theirs.extras or ()), depth)
            for name in written.properties
            if name in written.required | theirs.required
        )

    def _are_children_apart(self, written: Pointers, theirs: Pointers, depth: int) -> bool:
        return all(
            self._is_apart(self.demand(mine.places), self.demand(other.places), depth + 1)
            for mine in self._ways(written)
            for other in self._ways(theirs)
        )


def _crossed(left: list[Alternative], right: list[Alternative]) -> list[Alternative]:
    _limit(len(left) * len(right))
    return list(dict.fromkeys(one.joined(other) for one in left for other in right))


def _limit(alternatives: int) -> None:
    if alternatives > _ALTERNATIVES_AT_MOST:
        raise BadInputError("the schema combines too many alternatives", hint="use fewer `anyOf` inside `allOf`")


def _target(reference: str, place: str) -> str:
    if reference != "#" and not reference.startswith("#/"):
        hint = "only references inside the schema work, such as `#/$defs/name`"
        refuse(f"`$ref` to `{reference}` is not supported", place, hint)
    return unquote(reference)


def _may_be(value: Any, demand: Demand) -> bool:
    """Whether the value may satisfy the demand, as far as its type and `enum` tell."""
    if demand.types is not None and not has_type(value, demand.types):
        return False
    return demand.values is None or identity(value) in map(identity, demand.values)
