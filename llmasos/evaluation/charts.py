"""Charts as SVG, and as lines of text for a terminal. Pure: numbers in, text out; nothing is loaded from anywhere."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#3b6ea8", "#c2572b", "#4f8a4a", "#8a5aa8", "#a8873b", "#4a8a8a")
WIDTH, BAR_HEIGHT, LABEL_WIDTH, VALUE_WIDTH, TITLE_HEIGHT = 720, 26, 220, 110, 34
EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with its label; `told` is how the value is written, `error` one standard error."""

    label: str
    value: float
    told: str
    error: float = 0.0


def bars_svg(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars from 0, with their errors."""
    greatest = max((bar.value + bar.error for bar in bars), default=0.0) or 1.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    parts = [text(0, 20, title, "font-weight='bold'")]
    for number, bar in enumerate(bars):
        top, length = TITLE_HEIGHT + number * BAR_HEIGHT, _finite(bar.value / greatest) * room
        middle = top + BAR_HEIGHT / 2
        colour = COLOURS[number % len(COLOURS)]
        parts.append(text(LABEL_WIDTH - 8, middle + 4, _shortened(bar.label), "text-anchor='end'"))
        parts.append(
            f"<rect x='{LABEL_WIDTH}' y='{top + 4}' width='{length:.1f}' height='{BAR_HEIGHT - 8}' fill='{colour}'>"
            f"<title>{html.escape(bar.label)}: {html.escape(bar.told)}</title></rect>"
        )
        if bar.error:
            reach = _finite(bar.error / greatest) * room
            start, end = LABEL_WIDTH + length - reach, LABEL_WIDTH + length + reach
            parts.append(f"<path d='M{start:.1f} {middle}H{end:.1f}' stroke='currentColor' stroke-width='2'/>")
        parts.append(text(WIDTH - VALUE_WIDTH + 8, middle + 4, bar.told))
    return svg(TITLE_HEIGHT + len(bars) * BAR_HEIGHT + 8, title, parts)


def stacked(charts: Sequence[str]) -> str:
    """Several charts below each other, as one SVG."""
    heights = [float(chart.split("height='", 1)[1].split("'", 1)[0]) for chart in charts]
    parts, top = [], 0.0
    for chart, height in zip(charts, heights, strict=True):
        parts.append(f"<svg y='{top:g}'{chart.removeprefix('<svg')}")
        top += height
    return svg(top, "charts", parts)


def bars_text(title: str, bars: Sequence[Bar], width: int = 40) -> list[str]:
    """The same for a terminal, of blocks."""
    greatest = max((bar.value for bar in bars), default=0.0) or 1.0
    label_width = max((len(bar.label) for bar in bars), default=0)
    told_width = max((len(bar.told) for bar in bars), default=0)
    lines = [title]
    for bar in bars:
        eighths = round(_finite(bar.value / greatest) * width * 8)
        drawn = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
        lines.append(f"  {bar.label.ljust(label_width)}  {bar.told.rjust(told_width)}  {drawn}".rstrip())
    return lines


def line_text(values: Sequence[float]) -> str:
    """Values over time, a block each, from the least to the greatest."""
    least, greatest = min(values), max(values)
    span = greatest - least
    return "".join(LEVELS[round((value - least) / span * 7) if span else 3] for value in values)


def _finite(share: float) -> float:
    return min(1.0, max(0.0, share)) if math.isfinite(share) else 1.0


def _shortened(text: str, longest: int = 30) -> str:
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def text(x: float, y: float, words: str, more: str = "") -> str:
    return f"<text x='{x:g}' y='{y:g}' {more}>{html.escape(words)}</text>"


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height:g}' viewBox='0 0 {WIDTH} {height:g}' "
        f"font-family='system-ui, sans-serif' font-size='13' fill='currentColor' role='img' "
        f"aria-label='{html.escape(title, quote=True)}'>{''.join(parts)}</svg>"
    )
