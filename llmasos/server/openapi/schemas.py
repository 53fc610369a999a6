"""JSON schemas, written short; and those of options, made of what their dataclasses say of them."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from typing import Any

from llmasos.engine.options import AnswerOptions, BeamOptions, LoadOptions, SamplingOptions
from llmasos.openai.bodies import LOADED_WITH
from llmasos.settings import FOREIGN_NAMES, default_of, value_type

Schema = dict[str, Any]
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}
STRING, INTEGER, NUMBER, BOOLEAN, ANYTHING = (
    {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, dict[str, Any](),
)  # fmt: skip
OBJECT: Schema = {"type": "object"}
OPTIONS = {each.name: (kind, each) for kind in (SamplingOptions, AnswerOptions, BeamOptions) for each in fields(kind)}
LOADING = {each.name: (LoadOptions, each) for each in fields(LoadOptions) if each.name in LOADED_WITH}

# What a body may say that the option behind it does not: other programs' numbers for "as if nothing were said".
WIDER: Mapping[str, Schema] = {
    "max_tokens": {"minimum": -1},
    "seed": {"minimum": None, "maximum": None},
    "early_stopping": {"type": ["boolean", "string", "null"], "enum": [True, False, "true", "false", "never", None]},
    "logit_bias": {
        "type": ["object", "array", "null"],
        "items": STRING,
        "additionalProperties": {"type": ["number", "boolean"]},
        "description": "What is added to tokens' logits, by token: a number, or false to forbid it.",
    },
    "context_length": {"minimum": -1},
    "threads": {"minimum": -1},
    "gpu_layers": {"minimum": -2},
}


def obj(properties: Mapping[str, Schema], required: Iterable[str] | None = None, description: str = "") -> Schema:
    """An object; all of its properties are there unless `required` says which."""
    names = list(properties if required is None else required)
    told = {"description": description} if description else {}
    return {"type": "object", "properties": dict(properties), **({"required": names} if names else {}), **told}


def list_of(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def either(*schemas: Schema, description: str = "") -> Schema:
    return {"anyOf": list(schemas), **({"description": description} if description else {})}


def said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def or_null(schema: Schema) -> Schema:
    """The same or null, which is as if nothing were said."""
    if not schema.keys() & {"type", "anyOf", "$ref"}:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "$ref" in schema:
        return either(schema, {"type": "null"})
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema and None not in schema["enum"] else {}
    return {**schema, **choices, "type": kinds if "null" in kinds else [*kinds, "null"]}


def option_schema(name: str) -> Schema | None:
    """That of an option, by our name for it or another's; None if it is none that a request may give."""
    ours = FOREIGN_NAMES.get(name, name)
    found = OPTIONS.get(ours) or LOADING.get(ours)
    if found is None:
        return None
    schema = _with_limits(*found)
    schema = {key: value for key, value in {**schema, **WIDER.get(ours, {})}.items() if value is not None}
    return schema if ours == name else {**schema, "description": f"Another name for {ours}."}


def _with_limits(options: type[Any], each: Field[Any]) -> Schema:
    kind = value_type(options, each)
    if typing.get_origin(kind) is tuple:
        schema: Schema = {"type": ["string", "array"], "items": STRING}
    else:
        schema = {"type": KINDS[kind]}
    low, high, choices = (each.metadata[key] for key in ("min", "max", "choices"))
    limits = {"minimum": low, "maximum": high, "enum": list(choices) if choices else None}
    default = default_of(each)
    told = {"default": list(default) if isinstance(default, tuple) else default}
    return {**schema, **limits, **told, "description": each.metadata["help"]}
