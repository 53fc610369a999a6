"""Size against divergence, as SVG and as lines of text. Divergences differ by powers of ten, and so are they drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmasos.evaluation import charts
from llmasos.quality.verdict import Verdict, pareto_front
from llmasos.units import format_bytes

LEFT, TOP, RIGHT, HEIGHT = 70, 40, 130, 320
COLUMNS, LINES = 64, 14
LEAST = 1e-6  # nats; less is drawn there
TITLE = "size and divergence from the source (nats)"


def sweep_svg(verdicts: Sequence[Verdict]) -> str:
    """Points with their types; the Pareto front is joined."""
    places = _places(verdicts)
    width, height = charts.WIDTH - LEFT - RIGHT, HEIGHT - TOP - 50

    def at(verdict: Verdict) -> tuple[float, float]:
        x, y = places[id(verdict)]
        return LEFT + x * width, TOP + (1 - y) * height

    front = pareto_front(verdicts)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, front))
    parts = [
        charts.text(0, 20, TITLE, "font-weight='bold'"),
        f"<path d='M{LEFT} {TOP}V{TOP + height}H{LEFT + width}' fill='none' stroke='currentColor' opacity='.4'/>",
        f"<polyline points='{line}' fill='none' stroke='{charts.COLOURS[0]}' stroke-width='2'/>",
    ]
    for each in verdicts:
        x, y = at(each)
        colour = charts.COLOURS[0 if each in front else 1]
        told = f"{each.type_name}: {format_bytes(each.byte_count)}, {each.divergence:.5f}"
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' fill='{colour}'><title>{told}</title></circle>")
        parts.append(charts.text(x + 9, y + 4, each.type_name))
    parts += _axes_svg(verdicts, width, height)
    return charts.svg(HEIGHT, TITLE, parts)


def sweep_text(verdicts: Sequence[Verdict]) -> list[str]:
    """The same for a terminal: `*` is on the Pareto front, `o` is not."""
    grid = [[" "] * (COLUMNS + 12) for _ in range(LINES)]
    places, front = _places(verdicts), pareto_front(verdicts)
    for each in verdicts:
        x, y = places[id(each)]
        row, column = round((1 - y) * (LINES - 1)), round(x * (COLUMNS - 1))
        for offset, letter in enumerate(f"{'*' if each in front else 'o'}{each.type_name}"):
            if column + offset < len(grid[row]) and grid[row][column + offset] == " ":
                grid[row][column + offset] = letter
    divergences = [max(each.divergence, LEAST) for each in verdicts]
    labels = {0: f"{max(divergences):.1e}", LINES - 1: f"{min(divergences):.1e}"}
    lines = [f"{labels.get(number, ''):>8} |{''.join(row).rstrip()}" for number, row in enumerate(grid)]
    sizes = [each.byte_count for each in verdicts]
    least, most = format_bytes(min(sizes)), format_bytes(max(sizes))
    return [TITLE, *lines, f"{'':8} +{'-' * COLUMNS}", f"{'':10}{least}{most:>{COLUMNS - len(least)}}"]


def _places(verdicts: Sequence[Verdict]) -> dict[int, tuple[float, float]]:
    """From 0 to 1 each: size, and the logarithm of the divergence."""
    sizes = [float(each.byte_count) for each in verdicts]
    heights = [math.log10(max(each.divergence, LEAST)) for each in verdicts]
    return {
        id(each): (_share(size, sizes), _share(height, heights))
        for each, size, height in zip(verdicts, sizes, heights, strict=True)
    }


def _share(value: float, values: Sequence[float]) -> float:
    span = max(values) - min(values)
    return (value - min(values)) / span if span else 0.5


def _axes_svg(verdicts: Sequence[Verdict], width: float, height: float) -> list[str]:
    divergences = [max(each.divergence, LEAST) for each in verdicts]
    sizes = [each.byte_count for each in verdicts]
    bottom = TOP + height
    return [
        charts.text(LEFT - 8, TOP + 4, f"{max(divergences):.1e}", "text-anchor='end'"),
        charts.text(LEFT - 8, bottom, f"{min(divergences):.1e}", "text-anchor='end'"),
        charts.text(LEFT, bottom + 24, format_bytes(min(sizes))),
        charts.text(LEFT + width, bottom + 24, format_bytes(max(sizes)), "text-anchor='end'"),
    ]
