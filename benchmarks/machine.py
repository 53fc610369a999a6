"""What every benchmark says of the machine, and how its results are kept. Compare only runs of one machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def describe_machine() -> dict[str, Any]:
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
    }


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def in_turn(rounds: int, *programs: Callable[[], float]) -> list[list[float]]:
    """Calls the programs one after another, again and again: a machine that slows down slows all of them."""
    results: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for result, program in zip(results, programs, strict=True):
            result.append(program())
    return results


def anonymous_bytes(process_id: int) -> int:
    """Memory of a process that no file backs; 0 once it has ended. Wants Linux."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def print_table(rows: Sequence[dict[str, str]]) -> None:
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for row in ({name: name for name in names}, *rows):
        print("  ".join(row[name].ljust(widths[name]) for name in names).rstrip())


def keep(name: str, figures: dict[str, Any]) -> None:
    """Writes the figures with the machine's description to benchmarks/results/."""
    RESULTS.mkdir(exist_ok=True)
    report = {
        "benchmark": name,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "machine": describe_machine(),
        "figures": figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
