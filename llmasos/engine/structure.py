"""The shape of an answer: JSON, a JSON schema, a regular expression or a grammar, all of which end as a GBNF grammar.

Pure, and quick whatever it is given: a shape that can't be promised, or would take too long, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmasos.engine.grammar.gbnf import NEVER, Rules
from llmasos.engine.grammar.patterns import PatternError, text_pattern_node
from llmasos.engine.grammar.soundness import examine, vouch
from llmasos.engine.schema import JSON_GRAMMAR, grammar_of_schema, parse_schema
from llmasos.errors import BadInputError, UsageError

SHAPES = ("format", "schema", "regex", "grammar")


def grammar_of_shape(shape: Mapping[str, Any]) -> str | None:
    """The grammar that one of SHAPES means; None if none of them is given.

    `format` is `json`, for any JSON object. `schema` is a JSON schema as a mapping, as JSON or in its short form, or a
    class that can tell its own (`model_json_schema`, as pydantic's do). `regex` is matched by the answer as a whole,
    as by `re.fullmatch`. `grammar` is GBNF. Raises UsageError for more than one or an unknown format, BadInputError for
    a shape that can't be kept to.
    """
    given = {name: shape[name] for name in SHAPES if shape.get(name) is not None}
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} each say what the answer looks like", hint="choose one of them")
    if not given:
        return None
    [(name, value)] = given.items()
    if name != "schema" and not isinstance(value, str):
        raise UsageError(f"{name} takes a text, not {type(value).__name__}")
    if name == "grammar":
        examine(value)
        return str(value)
    return vouch(_MAKERS[name](value))


def grammar_of_regex(pattern: str) -> str:
    """A grammar for the texts that a regular expression matches from their beginning to their end."""
    if not pattern:
        raise BadInputError("the regular expression is empty, so only an empty answer would match it")
    rules = Rules({"root": NEVER})
    try:
        rules.set("root", text_pattern_node(pattern, rules))
        text = rules.text("root")
    except PatternError as error:
        raise BadInputError(f"the regular expression {error}", hint=error.hint) from error
    except BadInputError as error:
        error.rename("the schema", "the regular expression")
        raise
    if text is None:
        raise BadInputError("no text matches the regular expression")
    return text


def _of_format(name: str) -> str:
    if name != "json":
        raise UsageError(f"the format is `json`, not `{name}`", hint="for a shape of your own give a schema")
    return JSON_GRAMMAR


def _of_schema(schema: Any) -> str:
    if hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    return grammar_of_schema(parse_schema(schema) if isinstance(schema, str) else schema)


_MAKERS: dict[str, Callable[[Any], str]] = {
    "format": _of_format,
    "schema": _of_schema,
    "regex": grammar_of_regex,
    "grammar": str,
}
