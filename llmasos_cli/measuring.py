"""What the commands of `llmasos eval` share: the text, the model, how both are named, and that results are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.engine.options import SamplingOptions
from llmasos_cli import output
from llmasos_cli.prompts import read_file

if TYPE_CHECKING:
    from llmasos.evaluation.history import Record
    from llmasos.evaluation.texts import Text
    from llmasos.load import Loaded
    from llmasos.locate import Located
    from llmasos_cli.local import LocalModel

NOT_MEASURED = ("context_length", "draft", "speculation", "shared_cache", "deterministic")
NOT_BIAS = tuple(each.name for each in fields(SamplingOptions) if not each.name.startswith("debias"))
TextOption = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "--file",
        help="The text to measure with; without, one that llmasos brings.",
        metavar="FILE",
        readable=False,  # whether it can be read is told by the library, with its own exit code
    ),
]
ContextOption = Annotated[int, typer.Option("--context", help="Tokens that are read together.", metavar="N")]
ModeOption = Annotated[
    str,
    typer.Option(
        "--mode",
        help="Score the second half of each chunk, as llama-perplexity does, or every token once, as lm-eval does.",
        metavar="chunks|rolling",
    ),
]
StrideOption = Annotated[
    int | None,
    typer.Option("--stride", help="With rolling: how far one window is from the next; less takes longer.", metavar="N"),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="A known set's file, or the folder of an unpacked package; without, an installed package.",
        metavar="PATH",
        readable=False,
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N only.", metavar="N")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Write a report to this file, which needs no other.", metavar="FILE")
]


def write_report(path: Path, records: Sequence[Record]) -> None:
    from llmasos.evaluation.report import records_page
    from llmasos.files import write_output

    write_output(path, records_page(records))
    output.note(f"wrote {path}")


def read_text(file: Path | None) -> Text:
    """The file's text, or our own."""
    from llmasos.evaluation.texts import make_text, own_text

    return own_text() if file is None else make_text(str(file), read_file(file))


def find_model(model: str, flags: Mapping[str, Any], *, offline: bool, verbose: bool) -> LocalModel:
    """The model, pulled if need be, with the options of all layers."""
    from llmasos.engine.bindings import log
    from llmasos_cli.local import choose_here

    log.is_shown = verbose
    return choose_here(model, flags, {}, offline=offline, writes=True)


def tell_start(verbose: bool) -> Callable[[Loaded], None]:
    """What tells of a model that was loaded."""
    from llmasos_cli.local import tell_plan, warn_of_unused_gpu

    def tell(loaded: Loaded) -> None:
        warn_of_unused_gpu(loaded)
        tell_plan(loaded, verbose=verbose)

    return tell


def keep(kind: str, model: Located, settings: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Keeps a result in the history and says where."""
    from llmasos.evaluation import history

    output.note(f"kept as {history.save(kind, model, settings, result)}")
