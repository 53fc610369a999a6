"""Results as pages: what each says at a glance, its charts, and a self-contained HTML file of tables and inline SVG."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmasos.evaluation.charts import Bar, bars_svg, stacked
from llmasos.evaluation.compare import Comparison, Side
from llmasos.evaluation.history import Record

STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
svg { max-width: 100%; height: auto }
"""
KNOWN_BY = (
    "perplexity",
    "agreement.kld",
    "other.perplexity.bits_per_byte",
    "acc.mean",
    "figures.s_amb.value",
    "figures.ss.value",
    "figures.stereotyped.value",
    "score",
    "accuracy",
)
MOST_ROWS = 200  # of one result; longer lists are left to its JSON


def comparison_bars(comparisons: Sequence[Comparison]) -> list[tuple[str, list[Bar]]]:
    """What of comparisons with one reference is drawn: titles and bars."""
    reference = comparisons[0].reference
    sides = [reference, *(each.other for each in comparisons)]
    charts = [_quality_bars(sides, compare_by_perplexity=all(each.agreement for each in comparisons))]
    for each in comparisons:
        if each.agreement is not None:
            shares = [(share, value) for share, value in each.agreement.kld_percentiles.items() if share >= 0.5]
            bars = [Bar(f"{share:.1%}", value, f"{value:.5f}") for share, value in shares]
            bars.append(Bar("all", each.agreement.kld_max, f"{each.agreement.kld_max:.5f}"))
            charts.append((f"KL divergence of {each.other.name}, by the share of tokens that are below", bars))
    charts.append(("size", [Bar(each.name, each.size, f"{each.size / 1e6:.1f} MB") for each in sides]))
    speeds = [Bar(each.name, each.tokens_per_second, f"{each.tokens_per_second:.1f}/s") for each in sides]
    charts.append(("tokens a second, of an answer", speeds))
    return charts


def _quality_bars(sides: Sequence[Side], *, compare_by_perplexity: bool) -> tuple[str, list[Bar]]:
    found = [(each.name, each.perplexity) for each in sides]
    if compare_by_perplexity:
        return "perplexity", [Bar(name, it.perplexity, f"{it.perplexity:.4f}", it.stderr) for name, it in found]
    return "bits per byte", [Bar(name, it.bits_per_byte, f"{it.bits_per_byte:.4f}") for name, it in found]


def comparison_svg(comparisons: Sequence[Comparison]) -> str:
    return stacked([bars_svg(title, bars) for title, bars in comparison_bars(comparisons)])


def page(title: str, body: str) -> str:
    """A page that needs nothing else."""
    return (
        f"<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style>"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def headline(record: Record) -> tuple[str, float] | None:
    """The figure that a result is known by: its name and value; None if it has no number at all."""
    numbers = [(name, value) for name, value in flattened(record.result) if isinstance(value, int | float)]
    named = dict(numbers)
    for name in KNOWN_BY:
        if name in named:
            return name.removesuffix(".mean").removesuffix(".value").rpartition(".")[2], float(named[name])
    return (numbers[0][0], float(numbers[0][1])) if numbers else None


def records_page(records: Sequence[Record]) -> str:
    """All results: one chart of each kind and text, then each with all that it says."""
    charts = "".join(bars_svg(title, bars) for title, bars in latest_bars(records))
    return page("What llmasos measured", charts + "".join(map(_section, reversed(records))))


def latest_bars(records: Sequence[Record]) -> list[tuple[str, list[Bar]]]:
    """The latest of each model, beside others of the same kind, settings and figure."""
    groups: dict[tuple[str, str], dict[str, Bar]] = {}
    for record in records:
        found = headline(record)
        if found is None:
            continue
        name, value = found
        title = " ".join([record.kind, name, *_told_settings(record)])
        groups.setdefault((title, repr(sorted(record.settings.items()))), {})[label(record)] = Bar(
            label(record), value, f"{value:.4f}"
        )
    return [(title, list(bars.values())) for (title, _), bars in groups.items()]


def label(record: Record) -> str:
    """The model, and the one that it is compared with."""
    other = record.result.get("other")
    name = str(record.model.get("name", "?"))
    return f"{name} > {other['name']}" if isinstance(other, Mapping) and "name" in other else name


def flattened(value: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """What JSON holds, by dotted names."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from flattened(each, f"{before}.{name}" if before else str(name))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from flattened(each, f"{before}.{number}")
    else:
        yield before, value


def _told_settings(record: Record) -> list[str]:
    text = record.settings.get("text")
    told = [f"{name} {record.settings[name]}" for name in ("mode", "context", "set") if name in record.settings]
    return [*told, f"text {text.get('name')}"] if isinstance(text, Mapping) else told


def _section(record: Record) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.date))
    rows = [*flattened({"model": record.model, "engine": record.engine, "settings": record.settings})]
    rows += list(flattened(record.result))
    left_out = len(rows) - MOST_ROWS
    table = "".join(map(_row, rows[:MOST_ROWS]))
    more = f"<p>{left_out} more: llmasos eval show {record.id} --json</p>" if left_out > 0 else ""
    return f"<h2>{html.escape(f'{record.kind}: {label(record)}, {when}')}</h2>\n<table>{table}</table>{more}\n"


def _row(named: tuple[str, Any]) -> str:
    name, value = named
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    told = f"{value:.6g}" if isinstance(value, float) else str(value)
    kind = " class='number'" if is_number else ""
    return f"<tr><th>{html.escape(name)}</th><td{kind}>{html.escape(told)}</td></tr>"
