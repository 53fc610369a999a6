"""Flags made from the library's options dataclasses, so that every default, limit and help text stands there only.

`takes` gives a command one flag for each field of a dataclass and hands it the flags that were typed, as a mapping.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from typing import Annotated, Any

import typer

from llmasos.settings import default_of, value_type

ModelArgument = Annotated[
    str, typer.Argument(help="A short name, a reference such as org/name:Q4_K_M, or a .gguf file.", metavar="MODEL")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
VerboseOption = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say what was chosen and why, and show the engine's log.")
]
Command = Callable[..., None]


def takes(
    options: type[Any], parameter: str, panel: str, *, without: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Adds a flag for each field of `options` but those `without`.

    The command gets those that were given in `parameter`, by field name.
    """

    def decorate(command: Command) -> Command:
        inner = inspect.signature(command)
        flags = [_flag(options, each, panel) for each in fields(options) if each.name not in without]
        names = {flag.name for flag in flags}

        def outer(**values: Any) -> None:
            given = {name: values.pop(name) for name in names}
            command(**values, **{parameter: {name: value for name, value in given.items() if value not in (None, [])}})

        kept = [each for each in inner.parameters.values() if each.name != parameter]
        _dress(outer, command, [*kept, *flags])
        return outer

    return decorate


def _flag(options: type[Any], each: Field[Any], panel: str) -> inspect.Parameter:
    kind = value_type(options, each)
    if typing.get_origin(kind) is tuple:
        kind = list[str]
    dashed = each.metadata.get("flag") or each.name.replace("_", "-")
    declaration = f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"
    flag = typer.Option(
        declaration,
        help=_help(each),
        rich_help_panel=each.metadata.get("panel") or panel,
        metavar=None if kind is bool else _metavar(each, kind),
        show_default=False,
    )
    annotation = Annotated[kind | None, flag]  # type: ignore[valid-type]  # a type made at run time
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(each: Field[Any]) -> str:
    default = default_of(each)
    if default is None or default is False or default == ():
        return str(each.metadata["help"])
    text = "on" if default is True else f"{default:g}" if isinstance(default, float) else default
    return f"{each.metadata['help']} (default {text})"  # Rich would take brackets for markup


def _metavar(each: Field[Any], kind: Any) -> str:
    if choices := each.metadata.get("choices"):
        return "|".join(choices)
    return each.metadata.get("metavar") or {int: "N", float: "X"}.get(kind, "TEXT")


def _dress(outer: Any, command: Command, parameters: list[inspect.Parameter]) -> None:
    """Lets `outer` look to Typer as a function written with those parameters."""
    hints = inspect.get_annotations(command, eval_str=True)  # get_type_hints of 3.10 hides Annotated behind Optional
    typed = [
        each.replace(annotation=hints.get(each.name, each.annotation), kind=inspect.Parameter.KEYWORD_ONLY)
        for each in parameters
    ]
    outer.__signature__ = inspect.Signature(typed)
    outer.__annotations__ = {each.name: each.annotation for each in typed}
    outer.__name__, outer.__doc__, outer.__module__ = command.__name__, command.__doc__, command.__module__
