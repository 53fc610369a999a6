"""`llmasos cp`: a second name for a model."""

from __future__ import annotations

from typing import Annotated

import typer

from llmasos_cli.commands.show_command import NameArgument


def cp_command(
    source: NameArgument, target: Annotated[str, typer.Argument(help="The new name.", metavar="NAME")]
) -> None:
    """Gives a model a second name; its files are shared and take no more room.

    llmasos cp smollm2 my-model
    """
    from llmasos.store.references import parse_name
    from llmasos.store.store import ModelStore

    ModelStore().copy(parse_name(source), parse_name(target))
