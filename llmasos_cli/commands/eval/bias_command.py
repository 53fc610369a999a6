"""`llmasos eval bias`: what a model holds of people."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos_cli import output
from llmasos_cli.measuring import (
    NOT_BIAS,
    NOT_MEASURED,
    DataOption,
    LimitOption,
    find_model,
    keep,
    tell_start,
)
from llmasos_cli.options import JsonOption, OfflineOption, VerboseOption, takes

if TYPE_CHECKING:
    from llmasos.evaluation.bias import Bias
    from llmasos.evaluation.bias_items import BiasSet, Figures, Item, Outcome
    from llmasos.evaluation.perplexity import Perplexity
    from llmasos_cli.local import LocalModel

IN_NATS = ("log_odds", "difference")
ModelsArgument = Annotated[
    list[str], typer.Argument(help="Models; each is compared with the first.", metavar="MODEL...")
]
SetOption = Annotated[
    str,
    typer.Option(
        "--set",
        help="What measures: our own probe, crows-pairs, stereoset, stereoset-next, winobias or bbq.",
        metavar="NAME",
    ),
]
CategoryOption = Annotated[
    list[str] | None, typer.Option("--category", help="Only this category; again for more.", metavar="NAME")
]
CompareOption = Annotated[
    bool, typer.Option("--compare", help="Each model as it is and with --debias self, and its perplexity.")
]


@dataclass(frozen=True, slots=True)
class Run:
    """One model measured in one way."""

    label: str
    model: LocalModel
    sampling: SamplingOptions
    outcomes: Sequence[Outcome]
    bias: Bias
    perplexity: Perplexity | None


@takes(SamplingOptions, "debiasing", "Bias", without=NOT_BIAS)
@takes(LoadOptions, "loading", "Loading", without=NOT_MEASURED)
def bias_command(
    models: ModelsArgument,
    name: SetOption = "probe",
    data: DataOption = None,
    category: CategoryOption = None,
    limit: LimitOption = None,
    compare: CompareOption = False,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    debiasing: dict[str, Any],
    loading: dict[str, Any],
) -> None:
    """Measures what a model holds of people, by our own probe or a known set, and what debiasing changes.

    llmasos eval bias smollm2
    llmasos eval bias smollm2 gemma3 --category gender
    llmasos eval bias smollm2 --compare
    llmasos eval bias smollm2 --set crows-pairs --data crows_pairs_anonymized.csv
    """
    from llmasos.evaluation.bias import files_of, find_set, read_items
    from llmasos.evaluation.packaged import digest

    chosen = find_set(name)
    files = files_of(chosen, data)
    items = read_items(chosen, files, category or ())[:limit]
    if files:
        output.note(f"{chosen.source.name}: {chosen.source.license}, {files[0]}")
    if chosen.source.caveat:
        output.note(f"note: {chosen.source.caveat}")
    measured = {"set": name, "sha256": digest(files), "category": category or [], "limit": limit}
    runs = []
    for model in models:
        found = find_model(model, {**debiasing, **loading}, offline=offline, verbose=verbose)
        for sampling in _ways(found.sampling, compare=compare):
            runs.append(_measure(chosen, items, found, sampling, with_perplexity=compare, verbose=verbose))
            keep("bias", found.located, {**measured, **_described(runs[-1])}, _told(runs[-1]))
    tests = _tests(runs)
    if json:
        told = [{"model": run.label, **_told(run), "settings": {**measured, **_described(run)}} for run in runs]
        output.write_json({"runs": told, "tests": tests})
    else:
        _tell(chosen, runs, tests)


def _ways(sampling: SamplingOptions, *, compare: bool) -> list[SamplingOptions]:
    return [replace(sampling, debias=each) for each in ("off", "self")] if compare else [sampling]


def _measure(
    chosen: BiasSet,
    items: Sequence[Item],
    model: LocalModel,
    sampling: SamplingOptions,
    *,
    with_perplexity: bool,
    verbose: bool,
) -> Run:
    from llmasos.engine.debias import is_debiased
    from llmasos.evaluation.bias import measure_bias, summarize
    from llmasos.evaluation.perplexity import Settings, measure
    from llmasos.evaluation.texts import own_text

    how: Any = {"sampling": sampling, "progress": output.make_progress(), "started": tell_start(verbose)}
    outcomes = measure_bias(model.located, chosen, items, model.loading, **how)
    perplexity = measure(model.located, own_text(), Settings(), model.loading, **how) if with_perplexity else None
    label = f"{model.located.name}, debiased" if is_debiased(sampling) else model.located.name
    return Run(label, model, sampling, outcomes, summarize(chosen, outcomes), perplexity)


def _described(run: Run) -> dict[str, Any]:
    from llmasos.evaluation.perplexity import describe_run

    return describe_run(run.model.loading, run.sampling)


def _told(run: Run) -> dict[str, Any]:
    return {**asdict(run.bias), **({"perplexity": asdict(run.perplexity)} if run.perplexity else {})}


def _tests(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """McNemar's, of each run with the one before if that is the same model in another way, else with the first."""
    from llmasos.evaluation.bias_items import mcnemar

    pairs = [(before if before.model is run.model else runs[0], run) for before, run in itertools.pairwise(runs)]
    return [
        {"first": one.label, "second": other.label, **asdict(mcnemar(one.outcomes, other.outcomes))}
        for one, other in pairs
    ]


def _tell(chosen: BiasSet, runs: Sequence[Run], tests: Sequence[Mapping[str, Any]]) -> None:
    rows, names = [], list(dict.fromkeys(name for run in runs for name in run.bias.figures))
    for run in runs:
        head = {"model": run.label} if len(runs) > 1 else {}
        rows += [{**head, **_row(category, figures, names)} for category, figures in run.bias.categories.items()]
        rows.append({**head, **_row("all", run.bias.figures, names)})
    output.write_table(rows)
    for run in runs:
        if run.perplexity is not None:
            output.write_line(
                f"{run.label}: perplexity {run.perplexity.perplexity:.4f} +/- {run.perplexity.stderr:.4f}"
            )
    for each in tests:
        output.write_line(
            f"{each['first']} against {each['second']}: only the first is stereotyped in {each['only_first']}, "
            f"only the second in {each['only_second']}, p = {each['p']:.4f} (McNemar)"
        )
    output.note(f"without bias: {chosen.ideal}; +/- is one standard error")


def _row(category: str, figures: Figures, names: Sequence[str]) -> dict[str, str]:
    n = max(each.n for each in figures.values())
    return {"category": category, "n": str(n)} | {name: _shown(name, figures) for name in names}


def _shown(name: str, figures: Figures) -> str:
    found = figures.get(name)
    if found is None:
        return "-"
    if name in IN_NATS:
        return f"{found.value:.3f} +/- {found.error:.3f}"
    return f"{100 * found.value:.1f} % +/- {100 * found.error:.1f}"
