"""`llmasos eval show`: one result, whole."""

from __future__ import annotations

from typing import Annotated

import typer

from llmasos_cli import output
from llmasos_cli.measuring import HtmlOption, write_report
from llmasos_cli.options import JsonOption

IdArgument = Annotated[str, typer.Argument(help="A result's id, or how it ends; `last` is the latest.", metavar="ID")]


def show_command(identifier: IdArgument, html: HtmlOption = None, json: JsonOption = False) -> None:
    """Shows all of one result: model, engine, settings and figures.

    llmasos eval show last
    llmasos eval show last --json
    """
    from dataclasses import asdict

    from llmasos.evaluation import history
    from llmasos.evaluation.report import flattened

    record = history.find(identifier)
    if html is not None:
        write_report(html, [record])
    if json:
        output.write_json(asdict(record))
    elif html is None:
        output.write_table([{"name": name, "value": str(value)} for name, value in flattened(asdict(record))])
