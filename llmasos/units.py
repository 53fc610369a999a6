"""Numbers for people: bytes, counts, rates and spans of time. Pure functions."""

from __future__ import annotations

import re

from llmasos.errors import UsageError

KIB, MIB, GIB = 1024, 1024**2, 1024**3
DECIMAL_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


def parse_bytes(text: str) -> int:
    """`500M` -> `500000000`: decimal units, as `format_bytes` shows them. Raises UsageError for what is no size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    count = round(float(match[1]) * DECIMAL_UNITS[match[2]]) if match else 0
    if count < 1:
        raise UsageError(f"`{text}` is not a size", hint="sizes look like 500M or 2G")
    return count


def format_bytes(count: float) -> str:
    """`98362432` -> `98.4 MB`: decimal units, three figures, as download pages show them."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_count(count: int) -> str:
    """`134515008` -> `135M`, `1711376384` -> `1.7B`."""
    for limit, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= limit * 0.9995:
            value = count / limit
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return str(count)


def format_seconds(seconds: float) -> str:
    """`75.2` -> `1m15s`, `3.14` -> `3.1s`."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def format_age(seconds: float) -> str:
    """How long ago: `just now`, `5 minutes ago`, `3 days ago`."""
    for unit_seconds, unit in (
        (86400 * 365, "year"),
        (86400 * 30, "month"),
        (86400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ):
        if seconds >= unit_seconds:
            count = int(seconds // unit_seconds)
            return f"{count} {unit}{'s' if count != 1 else ''} ago"
    return "just now"
