"""`llmasos eval perplexity`: how well a model foresees a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos_cli import output
from llmasos_cli.measuring import (
    NOT_BIAS,
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
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, VerboseOption, takes

if TYPE_CHECKING:
    from llmasos.evaluation.perplexity import Perplexity


@takes(SamplingOptions, "debiasing", "Bias", without=NOT_BIAS)
@takes(LoadOptions, "loading", "Loading", without=NOT_MEASURED)
def perplexity_command(
    model: ModelArgument,
    file: TextOption = None,
    context: ContextOption = 512,
    mode: ModeOption = "chunks",
    stride: StrideOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    debiasing: dict[str, Any],
    loading: dict[str, Any],
) -> None:
    """Measures how well a model foresees a text: its perplexity, by llama-perplexity's definition.

    llmasos eval perplexity smollm2
    llmasos eval perplexity smollm2 -f book.txt --json
    llmasos eval perplexity smollm2 --debias self
    llmasos eval perplexity smollm2 -f book.txt --mode rolling --context 1024
    """
    from dataclasses import asdict

    from llmasos.evaluation.perplexity import Settings, describe, measure

    text, settings = read_text(file), Settings(mode, context, stride)
    chosen = find_model(model, {**debiasing, **loading}, offline=offline, verbose=verbose)
    found = measure(
        chosen.located,
        text,
        settings,
        chosen.loading,
        sampling=chosen.sampling,
        progress=output.make_progress(),
        started=tell_start(verbose),
    )
    told, described = asdict(found), describe(settings, text, chosen.loading, chosen.sampling)
    keep("perplexity", chosen.located, described, told)
    if json:
        output.write_json({**told, "settings": described})
    else:
        _tell(found)


def _tell(found: Perplexity) -> None:
    low, high = found.interval
    output.write_line(f"perplexity     {found.perplexity:.4f} +/- {found.stderr:.5f}")
    output.write_line(f"95 % interval  {low:.4f} to {high:.4f}")
    output.write_line(f"bits per byte  {found.bits_per_byte:.4f}")
    output.write_line(f"tokens         {found.tokens} in {len(found.chunks)} chunks")
