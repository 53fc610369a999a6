"""Quantizing with a verdict: what is made is compared with its source, and kept if it is good enough."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.errors import QualityGateError, UsageError
from llmasos.units import format_bytes, parse_bytes
from llmasos_cli import output
from llmasos_cli.commands.convert_command import tell_files, tell_stored
from llmasos_cli.commands.pull_command import first_use

if TYPE_CHECKING:
    from llmasos.locate import Located
    from llmasos.progress import Progress
    from llmasos.quality.examination import Examination
    from llmasos.quality.options import VerdictOptions
    from llmasos.quality.target import Target
    from llmasos.quality.verdict import Verdict
    from llmasos.quantization.choices import Choices
    from llmasos.store.manifests import Manifest
    from llmasos.store.store import ModelStore

PER_TENSOR = 32  # bytes that a tensor may be padded by


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of which model; `choices_of` makes choices for a type."""

    model: str
    choices_of: Callable[[str], Choices]
    type_name: str | None
    imatrix: str | None
    as_name: str | None
    output_file: Path | None
    offline: bool
    json: bool


def require_sensible(order: Order, options: VerdictOptions) -> None:
    """Raises UsageError for options that exclude each other, or mean nothing without others."""
    wanted = [
        name
        for name, is_given in (
            ("-t", order.type_name),
            ("--sweep", options.sweep),
            ("--target-bpw", options.target_bpw),
            ("--target-size", options.target_size),
        )
        if is_given
    ]
    if len(wanted) > 1:
        raise UsageError(f"{' and '.join(wanted)} exclude each other", hint="each says which types there will be")
    if not wanted:
        raise UsageError("say what to make: -t TYPE", hint="or --sweep TYPES, --target-bpw N, --target-size SIZE")
    if (options.pick or options.plot) and not options.sweep:
        raise UsageError("--pick and --plot go with --sweep", hint="llmasos quantize MODEL --sweep Q8_0,Q5_K_M --pick")
    if options.sweep and not options.pick and (order.as_name or order.output_file):
        raise UsageError("a sweep alone keeps nothing", hint="with --pick the smallest that passes is kept")
    if options.plot and Path(options.plot).suffix.lower() not in (".svg", ".html"):
        raise UsageError(f"--plot can't write {options.plot}", hint="name a file that ends in .svg or .html")


def quantize_judged(order: Order, options: VerdictOptions) -> None:
    """Does it, and tells the verdict. Raises QualityGateError if nothing was kept."""
    require_sensible(order, options)
    from llmasos.engine.options import LoadOptions
    from llmasos.quality.examination import Examination
    from llmasos.quantize import source_of
    from llmasos.settings import configured, layered
    from llmasos.store.store import ModelStore
    from llmasos_cli.measuring import read_text

    progress, store = output.make_progress(), ModelStore()
    text = read_text(Path(options.check_text) if options.check_text else None)
    examination = Examination(text, layered(LoadOptions, *configured(LoadOptions)), store, progress)
    with source_of(order.model, store=store, progress=progress, offline=order.offline) as source:
        if options.sweep:
            _sweep(order, options, examination, source)
            return
        choices = _choices(order, options, examination, source)
        verdicts: list[Verdict] = []

        def judge(path: Path) -> None:
            from llmasos.evaluation.gates import require

            verdicts.append(examination.judge(source, path))
            _keep_in_history(source, examination, verdicts)
            if not order.json:
                _tell(verdicts)
            require(_gates(options), [replace(verdicts[0].comparison, other=_named(verdicts[0]))])

        made = _make(order, choices, store, progress, judge if options.is_judged else None)
    _tell_made(order, made, verdicts)


def _choices(order: Order, options: VerdictOptions, examination: Examination, source: Located) -> Choices:
    if not options.has_target:
        assert order.type_name is not None
        return order.choices_of(order.type_name)
    from llmasos.quantize import importance_of

    title = f"{options.target_bpw:g}bpw" if options.target_bpw else f"{options.target_size}".lower()
    choices = replace(order.choices_of("Q4_K_M"), title=title, allow_requantize=True)
    importance = importance_of(source, order.imatrix or "auto", examination.store, examination.progress)
    return examination.choices_for(source, _target(options, source), importance, choices)


def _target(options: VerdictOptions, source: Located) -> Target:
    from llmasos.formats.gguf import read_header
    from llmasos.quality.target import Target

    if options.target_bpw is not None:
        return Target(bits_per_weight=options.target_bpw)
    headers = [read_header(path) for path in source.paths]
    beside = headers[0].data_offset + PER_TENSOR * sum(len(header.tensors) for header in headers)
    return Target(byte_count=parse_bytes(options.target_size or "") - beside)


def _sweep(order: Order, options: VerdictOptions, examination: Examination, source: Located) -> None:
    from llmasos.quality.verdict import smallest_that_passes
    from llmasos.quantize import prepare_located

    store, progress = examination.store, examination.progress
    chosen = {name: order.choices_of(name) for name in filter(None, map(str.strip, (options.sweep or "").split(",")))}
    prepared = (
        prepare_located(source, each, imatrix=order.imatrix, store=store, progress=progress) for each in chosen.values()
    )
    verdicts = list(examination.sweep(source, prepared))
    _keep_in_history(source, examination, verdicts)
    picked = smallest_that_passes(verdicts, _gates(options)) if options.pick else None
    if not order.json:
        _tell(verdicts, picked, is_sweep=True)
    if options.plot:
        _plot(Path(options.plot), source.name, verdicts)
    if options.pick and picked is None:
        raise QualityGateError("none of the types passes", hint="allow more, or try types with more bits")
    made = None
    if picked is not None:
        choices = next(each for each in chosen.values() if each.mix == picked.type_name)
        made = _make(order, choices, store, progress, None)
    _tell_made(order, made, verdicts, picked)


def _make(
    order: Order, choices: Choices, store: ModelStore, progress: Progress, judge: Callable[[Path], None] | None
) -> Manifest | list[Path]:
    """In the store, or in the file that was asked for; there nothing is seen before it was judged."""
    from llmasos.quantize import quantize_to_file, quantize_to_store

    imatrix = order.imatrix or ("auto" if choices.types else None)
    common: dict[str, Any] = {"imatrix": imatrix, "store": store, "progress": progress, "offline": order.offline}
    if order.output_file is None:
        return quantize_to_store(order.model, choices, name=order.as_name, judge=judge, **common)
    if judge is None:
        return quantize_to_file(order.model, order.output_file, choices, **common)
    with _beside(order.output_file) as folder:
        [path] = quantize_to_file(order.model, folder / order.output_file.name, choices, **common)
        judge(path)
        return [path.replace(order.output_file)]


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder next to a file, where nobody looks for one."""
    from llmasos.files import replaceable

    folder = replaceable(path).with_name(f".{path.name}.judged")
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _gates(options: VerdictOptions) -> list[Any]:
    from llmasos.quality.verdict import gates_of

    return gates_of(options.max_kld, options.max_ppl_increase)


def _named(verdict: Verdict) -> Any:
    """The side that was made, by the name of its type: its file's means nothing to anybody."""
    return replace(verdict.comparison.other, name=verdict.type_name)


def _keep_in_history(source: Located, examination: Examination, verdicts: Sequence[Verdict]) -> None:
    from llmasos.evaluation.perplexity import describe
    from llmasos_cli.measuring import keep

    settings = describe(examination.settings, examination.text, examination.loading)
    keep("quantize", source, settings, {"verdicts": [each.figures for each in verdicts]})


def _tell(verdicts: Sequence[Verdict], picked: Verdict | None = None, *, is_sweep: bool = False) -> None:
    from llmasos.quality.plots import sweep_text
    from llmasos.quality.verdict import pareto_front

    front = pareto_front(verdicts)
    rows = []
    for each in verdicts:
        row = {
            "type": each.type_name,
            "size": format_bytes(each.byte_count),
            "bits": f"{each.bits_per_weight:.2f}",
            "ppl": f"{each.comparison.other.perplexity.perplexity:.4f}",
            "change": f"{100 * each.perplexity_increase:+.2f} %",
            "kld": f"{each.divergence:.5f}",
            "kld 99 %": f"{each.agreement.kld_percentiles[0.99]:.4f}",
            "top1": f"{100 * each.agreement.top1:.2f} %",
            "tokens/s": f"{each.comparison.other.tokens_per_second:.1f}",
        }
        if is_sweep:
            row["front"] = "picked" if each is picked else "*" if each in front else ""
        rows.append(row)
    output.write_table(rows)
    if is_sweep and output.is_seen():
        for line in sweep_text(verdicts):
            output.write_line(line)


def _plot(path: Path, name: str, verdicts: Sequence[Verdict]) -> None:
    from llmasos.evaluation.report import page
    from llmasos.files import write_output
    from llmasos.quality.plots import sweep_svg

    svg = sweep_svg(verdicts)
    write_output(path, page(f"Types of {name}", svg) if path.suffix.lower() == ".html" else svg)
    output.note(f"wrote {path}")


def _tell_made(
    order: Order,
    made: Manifest | list[Path] | None,
    verdicts: Sequence[Verdict],
    picked: Verdict | None = None,
) -> None:
    if not order.json:
        if isinstance(made, list):
            tell_files(made, json=False)
        elif made is not None:
            tell_stored(made, first_use(made), json=False)
        return
    from llmasos_cli.commands.list_command import facts_of

    told: dict[str, Any] = {"verdicts": [each.figures for each in verdicts]}
    if picked is not None:
        told["picked"] = picked.type_name
    if isinstance(made, list):
        told["files"] = [{"path": str(path), "size": path.stat().st_size} for path in made]
    elif made is not None:
        told["model"] = facts_of(made)
    output.write_json(told)
