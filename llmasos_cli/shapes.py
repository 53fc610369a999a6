"""What an answer has to look like, as flags say it: JSON, a schema, an expression, a grammar; what is taken of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmasos_cli.prompts import read_file

FormatOption = Annotated[
    str | None, typer.Option("--format", help="`json`: the answer is a JSON object.", metavar="json")
]
SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema", help="The answer fits this JSON schema: a file, JSON, or 'name, age int'.", metavar="SCHEMA"
    ),
]
RegexOption = Annotated[
    str | None,
    typer.Option("--regex", help="The answer as a whole matches this regular expression.", metavar="PATTERN"),
]
ExtractOption = Annotated[
    str | None,
    typer.Option(
        "--extract",
        help="Print only the inside of the answer's first fenced code block, or its first JSON value.",
        metavar="code|json",
    ),
]


def grammar_of(
    *, format: str | None = None, schema: str | None = None, regex: str | None = None, grammar: str | None = None
) -> dict[str, str]:
    """The grammar that `--format`, `--schema`, `--regex` or `--grammar` mean, as a sampling option."""
    if (format, schema, regex, grammar) == (None, None, None, None):
        return {}
    from llmasos.engine.structure import grammar_of_shape

    files = {"schema": _text_of(schema, ".json"), "grammar": _text_of(grammar, ".gbnf")}
    found = grammar_of_shape({"format": format, "regex": regex, **files})
    return {} if found is None else {"grammar": found}


def _text_of(given: str | None, suffix: str) -> str | None:
    """What was given, or what is in the file of that name."""
    if given is None or not (_is_file(path := Path(given)) or given.endswith(suffix)):
        return given
    return read_file(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # text that is no file name at all, such as a long schema
        return False
