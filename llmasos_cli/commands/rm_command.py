"""`llmasos rm`: remove models."""

from __future__ import annotations

from typing import Annotated

import typer

from llmasos_cli import output


def rm_command(models: Annotated[list[str], typer.Argument(help="Stored models.", metavar="MODEL...")]) -> None:
    """Removes models, and their files unless another model uses them.

    llmasos rm smollm2
    """
    from llmasos.store.store import ModelStore
    from llmasos.units import format_bytes

    store = ModelStore()
    names = [store.held(model) for model in models]  # all of them exist, or none is removed
    for name in dict.fromkeys(names):
        freed = store.remove(name)
        output.note(f"removed {name}, {format_bytes(freed)} freed")
