"""The description as a page for people: one piece of HTML that needs nothing else, no script and no network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
code, .path { font-family: ui-monospace, monospace; font-size: .93em; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; }
summary { cursor: pointer; padding: .4rem .7rem; }
details > div { padding: 0 .9rem .7rem; overflow-x: auto; }
.method { display: inline-block; min-width: 4.2em; font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-top: 1px solid var(--soft); }
.about { opacity: .75; margin-left: .6em; }
"""
MOST_CHOICES = 12


def page(document: Mapping[str, Any]) -> str:
    info, schemas = document["info"], document["components"]["schemas"]
    operations = [
        (path, method, operation) for path, found in document["paths"].items() for method, operation in found.items()
    ]
    tags = dict.fromkeys(tag for _, _, operation in operations for tag in operation["tags"])
    parts = [
        f"<h2>{escape(tag)}</h2>" + "".join(_operation(*each) for each in operations if tag in each[2]["tags"])
        for tag in tags
    ]
    named = "".join(_named(name, schema) for name, schema in schemas.items())
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1><p>{escape(info['description'])} "
        "For programs this is <a href='openapi.json'>openapi.json</a>.</p>"
        f"{''.join(parts)}<h2>What bodies and responses hold</h2>{named}</html>\n"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    parts = [_parameters(operation.get("parameters", []))]
    parts += [f"<h4>Body ({escape(kind)})</h4>{_schema(found['schema'])}" for kind, found in body.items()]
    responses = [_response(status, response) for status, response in operation["responses"].items()]
    parts.append(f"<h4>Responses</h4>{_table(responses)}")
    return (
        f"<details id='{escape(operation['operationId'])}'><summary><span class='method'>{method.upper()}</span>"
        f"<span class='path'>{escape(path)}</span><span class='about'>{escape(operation['summary'])}</span></summary>"
        f"<div>{''.join(parts)}</div></details>"
    )


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = [(each["name"], f"in the {each['in']}", _kind(each["schema"])) for each in parameters]
    return f"<h4>Parameters</h4>{_table(rows)}" if rows else ""


def _response(status: str, response: Mapping[str, Any]) -> tuple[str, str, str]:
    kinds = [f"{escape(kind)}: {_kind(found['schema'])}" for kind, found in response.get("content", {}).items()]
    return status, escape(response["description"]), "<br>".join(kinds)


def _named(name: str, schema: Schema) -> str:
    return (
        f"<details id='{escape(name)}'><summary class='path'>{escape(name)}"
        f"<span class='about'>{escape(schema.get('description', ''))}</span></summary>"
        f"<div>{_schema(schema)}</div></details>"
    )


def _schema(schema: Schema) -> str:
    """A table of an object's fields; those that have to be there first."""
    properties = schema.get("properties")
    if not properties:
        return f"<p>{_kind(schema)}</p>"
    required = schema.get("required", [])
    names = [*required, *(name for name in properties if name not in required)]
    rows = [
        (f"{name}{'*' if name in required else ''}", _kind(properties[name]), _about(properties[name]))
        for name in names
    ]
    return _table(rows)


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Of names, which are plain text, and two cells of HTML."""
    told = "".join(f"<tr><td><code>{escape(name)}</code><td>{kind}<td>{about}" for name, kind, about in rows)
    return f"<table>{told}</table>"


def _about(schema: Schema) -> str:
    parts = [escape(schema.get("description", ""))]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        parts.append(f"{'' if low is None else f'from {low}'} {'' if high is None else f'to {high}'}".strip())
    if schema.get("default") not in (None, []):
        parts.append(f"default <code>{escape(json.dumps(schema['default']))}</code>")
    return ". ".join(part.rstrip(".") for part in parts if part)


def _kind(schema: Schema) -> str:
    """In a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "contentSchema" in schema:
        return f"JSON of {_kind(schema['contentSchema'])}"
    if "enum" in schema:
        choices = [each for each in schema["enum"] if each is not None][:MOST_CHOICES]
        return " | ".join(f"<code>{escape(json.dumps(each))}</code>" for each in choices)
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["anyOf"] if each != {"type": "null"}))
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ["anything"])
    return " or ".join(_plain_kind(kind, schema) for kind in kinds if kind != "null" or len(kinds) == 1)


def _plain_kind(kind: str, schema: Schema) -> str:
    if kind == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    if kind == "object" and schema.get("properties"):
        return "{" + ", ".join(f"{escape(name)}: {_kind(each)}" for name, each in schema["properties"].items()) + "}"
    return escape(kind)
