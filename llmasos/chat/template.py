"""A model's chat template: messages to the text of a prompt, in a sandbox, as templates come with strangers' files."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
import jinja2.sandbox
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser

from llmasos.chat.messages import Message
from llmasos.errors import BadInputError


class ChatTemplate:
    """A compiled template. Raises BadInputError, when made or rendered, for one that fails."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._template = _environment().from_string(text)
        except Exception as error:  # a stranger's program: it can fail in every way that there is
            raise _failure(error) from error

    def render(
        self, messages: Sequence[Message], *, bos: str = "", eos: str = "", continues: bool = True, **values: Any
    ) -> str:
        """The prompt for these messages; `continues` ends it where the model's answer is to begin."""
        given = {"tools": None, "documents": None} | values  # templates ask `is none`, and not whether they are defined
        try:
            return self._template.render(
                messages=list(messages), bos_token=bos, eos_token=eos, add_generation_prompt=continues, **given
            )
        except Exception as error:  # as above
            raise _failure(error) from error


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """What templates written for transformers expect: its settings, filters and functions."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().astimezone().strftime(form)
    return environment


class _Generation(Extension):
    """`{% generation %}` marks the model's own words, for training; here they are as all others."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, default=_listed, **options)


def _listed(value: Any) -> list[Any]:
    """What a filter such as `map` gives is read to its end."""
    if isinstance(value, Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _failure(error: Exception) -> BadInputError:
    return BadInputError(f"the model's chat template fails: {error}", hint="use --raw to send the prompt as it is")
