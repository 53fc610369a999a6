"""`llmasos eval compare`: how far models have gone from a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.engine.options import LoadOptions
from llmasos.errors import UsageError
from llmasos.units import format_bytes
from llmasos_cli import output
from llmasos_cli.measuring import (
    NOT_MEASURED,
    ContextOption,
    ModeOption,
    StrideOption,
    TextOption,
    find_model,
    keep,
    read_text,
    tell_start,
)
from llmasos_cli.options import JsonOption, OfflineOption, VerboseOption, takes

if TYPE_CHECKING:
    from llmasos.evaluation.compare import Comparison

ModelsArgument = Annotated[
    list[str],
    typer.Argument(help="The reference, and the models that are compared with it.", metavar="MODEL..."),
]
FailIfOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        help="End with exit code 6 if this is so: 'ppl>+2%', 'kld>0.05', 'top1<95%'. Again for more.",
        metavar="CONDITION",
    ),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Write charts to this file, .svg or .html.", metavar="FILE")
]


@takes(LoadOptions, "loading", "Loading", without=(*NOT_MEASURED, "lora", "control_vector", "control_layers"))
def compare_command(
    models: ModelsArgument,
    file: TextOption = None,
    context: ContextOption = 512,
    mode: ModeOption = "chunks",
    stride: StrideOption = None,
    fail_if: FailIfOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    loading: dict[str, Any],
) -> None:
    """Compares models with a reference, the first: perplexity, KL divergence, agreement, speed and size.

    llmasos eval compare mine mine-q4
    llmasos eval compare mine mine-q8 mine-q4 --plot quality.svg
    llmasos eval compare mine mine-q4 --fail-if 'ppl>+2%' --fail-if 'top1<95%'
    """
    from dataclasses import asdict

    from llmasos.evaluation.compare import compare
    from llmasos.evaluation.gates import parse_gate, require
    from llmasos.evaluation.perplexity import Settings, describe

    if len(models) < 2:
        raise UsageError(
            "there is nothing to compare", hint="name the reference, then others: llmasos eval compare A B"
        )
    if plot is not None and plot.suffix.lower() not in (".svg", ".html"):
        raise UsageError(f"--plot can't write {plot.name}", hint="name a file that ends in .svg or .html")
    gates = [parse_gate(each) for each in fail_if or ()]
    text, settings = read_text(file), Settings(mode, context, stride)
    reference, *others = [find_model(each, loading, offline=offline, verbose=verbose) for each in models]
    described, found = describe(settings, text, reference.loading), []
    for other in others:
        found.append(
            compare(
                reference.located,
                other.located,
                text,
                settings,
                reference.loading,
                progress=output.make_progress(),
                started=tell_start(verbose),
            )
        )
        keep("compare", reference.located, described, asdict(found[-1]))
    if json:
        output.write_json({"comparisons": [asdict(each) for each in found], "settings": described})
    else:
        _tell(found)
    if plot is not None:
        _write_charts(plot, found)
    require(gates, found)


def _tell(found: Sequence[Comparison]) -> None:
    from llmasos.evaluation.charts import bars_text
    from llmasos.evaluation.report import comparison_bars

    output.write_table([_row(found[0], is_reference=True), *map(_row, found)])
    if any(each.agreement is None for each in found):
        output.note("note: the vocabularies differ, so only bits per byte compare, and there is no divergence")
    if output.is_seen():
        for title, bars in comparison_bars(found):
            output.write_line("\n" + "\n".join(bars_text(title, bars)))


def _row(comparison: Comparison, *, is_reference: bool = False) -> dict[str, str]:
    side = comparison.reference if is_reference else comparison.other
    found = side.perplexity
    row = {
        "model": side.name,
        "ppl": f"{found.perplexity:.4f} +/- {found.stderr:.4f}",
        "bits/byte": f"{found.bits_per_byte:.4f}",
        "size": format_bytes(side.size),
        "tokens/s": f"{side.tokens_per_second:.1f}",
    }
    agreement = comparison.agreement
    if is_reference or agreement is None:
        return (
            row
            | dict.fromkeys(("ln ratio", "mean kld", "median", "p90", "p95", "p99", "p99.9", "max"), "-")
            | {"mean dp": "-", "rms dp": "-", "top1": "-"}
        )
    shares = agreement.kld_percentiles
    return row | {
        "ln ratio": f"{agreement.log_ratio:.5f} +/- {agreement.log_ratio_error:.5f}",
        "mean kld": f"{agreement.kld:.5f} +/- {agreement.kld_error:.5f}",
        "median": f"{shares[0.5]:.5f}",
        "p90": f"{shares[0.9]:.4f}",
        "p95": f"{shares[0.95]:.4f}",
        "p99": f"{shares[0.99]:.4f}",
        "p99.9": f"{shares[0.999]:.4f}",
        "max": f"{agreement.kld_max:.4f}",
        "mean dp": f"{100 * agreement.dp:.3f} %",
        "rms dp": f"{100 * agreement.dp_rms:.3f} %",
        "top1": f"{100 * agreement.top1:.2f} %",
    }


def _write_charts(path: Path, found: Sequence[Comparison]) -> None:
    from llmasos.evaluation.report import comparison_svg, page
    from llmasos.files import write_output

    svg = comparison_svg(found)
    is_page = path.suffix.lower() == ".html"
    write_output(path, page(f"Compared with {found[0].reference.name}", svg) if is_page else svg)
    output.note(f"wrote {path}")
