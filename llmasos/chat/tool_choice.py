"""Which functions a model may call, or has to; and the grammar that makes it call one of them well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmasos.chat.answers.families import Family
from llmasos.engine.schema import grammar_of_alternatives
from llmasos.errors import BadInputError

ToolChoice = str | Mapping[str, Any]  # auto, none, required, a function's name, or OpenAI's object around that
Tools = Sequence[Mapping[str, Any]]


def chosen_tools(tools: Tools, choice: ToolChoice) -> tuple[Tools, bool]:
    """The tools that may be called, and whether one has to be. Raises BadInputError for a choice that can't be made."""
    if choice == "auto":
        return tools, False
    if choice == "none":
        return (), False
    if choice == "required" and tools:
        return tools, True
    function = choice.get("function", choice) if isinstance(choice, Mapping) else {"name": choice}
    name = function.get("name") if isinstance(function, Mapping) else None
    chosen = [tool for tool in tools if tool["function"]["name"] == name]
    if not chosen:
        raise BadInputError(f"there is no tool for the choice {name!r}", hint="auto, none, required, or a tool's name")
    return chosen, True


def call_grammar(family: Family, tools: Tools) -> str:
    """A grammar for one call of one of the functions, as the family writes it, with arguments that fit its parameters.

    Raises BadInputError for parameters that no grammar can promise (see `engine.schema`).
    """
    return grammar_of_alternatives([_alternative(family, tool["function"]) for tool in tools])


def _alternative(family: Family, function: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], str]:
    before, after = family.around(function["name"])
    parameters = function["parameters"]
    if parameters["properties"] == {} and "additionalProperties" not in parameters:
        parameters = {**parameters, "additionalProperties": False}  # a function that takes nothing is given nothing
    return before, parameters, after
