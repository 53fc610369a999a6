"""`llmasos eval list`: what was measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llmasos_cli import output
from llmasos_cli.measuring import HtmlOption, write_report
from llmasos_cli.options import JsonOption

if TYPE_CHECKING:
    from llmasos.evaluation.history import Record

KindOption = Annotated[str | None, typer.Option("--kind", help="Only those of one subcommand.", metavar="NAME")]
PlotOption = Annotated[bool, typer.Option("--plot", help="Show the latest of each model as bars.")]


def list_command(
    kind: KindOption = None, plot: PlotOption = False, html: HtmlOption = None, json: JsonOption = False
) -> None:
    """Lists what was measured, the latest last; or makes a report of all of it.

    llmasos eval list --plot
    llmasos eval list --html report.html
    """
    from dataclasses import asdict

    from llmasos.evaluation import history

    found = [each for each in history.records() if kind in (None, each.kind)]
    if html is not None:
        write_report(html, found)
    if json:
        output.write_json([asdict(each) for each in found])
    elif plot:
        _tell_bars(found)
    elif html is None:
        output.write_table([_row(each) for each in found])
    if not found:
        output.note("nothing was measured yet: llmasos eval perplexity MODEL")


def _row(record: Record) -> dict[str, str]:
    from llmasos.evaluation.report import headline, label

    found = headline(record)
    return {
        "id": record.id,
        "kind": record.kind,
        "date": time.strftime("%Y-%m-%d %H:%M", time.localtime(record.date)),
        "model": label(record),
        "figure": f"{found[0]} {found[1]:.4f}" if found else "",
    }


def _tell_bars(found: Sequence[Record]) -> None:
    from llmasos.evaluation.charts import bars_text
    from llmasos.evaluation.report import latest_bars

    for title, bars in latest_bars(found):
        output.write_line("\n".join(bars_text(title, bars)))
