"""JSON numbers as grammar: exactly the integers or decimals between two bounds, digit by digit.

Knows nothing of JSON Schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from llmasos.engine.grammar.gbnf import Characters, Node, Text, choice, optional, repeat, series

INTEGER_DIGITS = 20  # one more than 64 bits need; longer ones only when a model runs on and on
NUMBER_DIGITS = 15  # what a float keeps: up to here two decimals are equal only if their digits are
DECIMALS_AT_MOST = 12

_END = Fraction(10**NUMBER_DIGITS)

DIGIT = Characters("[0-9]")
LEADING_DIGIT = Characters("[1-9]")
WHOLE = choice([Text("0"), series(LEADING_DIGIT, repeat(DIGIT, 0, INTEGER_DIGITS - 1))])
FRACTION = series(".", repeat(DIGIT, 1, INTEGER_DIGITS))
EXPONENT = series(Characters("[eE]"), optional(Characters("[-+]")), repeat(DIGIT, 1, 2))  # never overflows a float

INTEGER = choice([Text("0"), series(optional(Text("-")), LEADING_DIGIT, repeat(DIGIT, 0, INTEGER_DIGITS - 1))])
NUMBER = series(optional(Text("-")), WHOLE, optional(FRACTION), optional(EXPONENT))


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers from `low` to `high`; None: without end. An open end does not belong to the interval itself."""

    low: int | float | None = None
    high: int | float | None = None
    is_low_open: bool = False
    is_high_open: bool = False


def is_inside(value: int | float, interval: Interval) -> bool:
    low, high = interval.low, interval.high
    is_low = low is not None and (value < low or (interval.is_low_open and value == low))
    is_high = high is not None and (value > high or (interval.is_high_open and value == high))
    return not (is_low or is_high)


def integers_in(interval: Interval) -> Node:
    """The integers of up to 20 digits in the interval."""
    largest = 10**INTEGER_DIGITS - 1
    low, high = -largest, largest
    if interval.low is not None:
        low = max(low, math.floor(interval.low) + 1 if interval.is_low_open else math.ceil(interval.low))
    if interval.high is not None:
        high = min(high, math.ceil(interval.high) - 1 if interval.is_high_open else math.floor(interval.high))
    return choice([series("-", _fixed(max(1, -high), -low, 0)), _fixed(max(0, low), high, 0)])


def numbers_in(interval: Interval) -> Node:
    """The numbers in the interval, as decimals without exponent of up to 15 digits."""
    low, is_low_open = _exact(interval.low, -_END), interval.is_low_open
    high, is_high_open = _exact(interval.high, _END), interval.is_high_open
    decimals = _decimals_of(low, high)
    upward = _Span(low, high, is_low_open, is_high_open, decimals)
    downward = _Span(-high, -low, is_high_open, is_low_open, decimals)
    return choice([series("-", choice(_nodes(downward, least=1))), choice(_nodes(upward, least=0))])


def _exact(bound: int | float | None, end: Fraction) -> Fraction:
    """The bound as it was written (0.1 is a tenth, not the float next to it), but not beyond `end`."""
    exact = end if bound is None else Fraction(repr(bound))
    return min(exact, end) if end > 0 else max(exact, end)


def _decimals_of(low: Fraction, high: Fraction) -> int:
    enough = (count for count in range(1, DECIMALS_AT_MOST) if not (low * 10**count % 1 or high * 10**count % 1))
    return next(enough, DECIMALS_AT_MOST)


@dataclass(frozen=True, slots=True)
class _Span:
    low: Fraction
    high: Fraction
    is_low_open: bool
    is_high_open: bool
    decimals: int


def _nodes(span: _Span, *, least: int) -> Iterator[Node]:
    """The non-negative numbers of the span: those with up to its decimals, exactly, then the longer ones between."""
    for decimals in range(span.decimals + 1):
        low, high = span.low * 10**decimals, span.high * 10**decimals
        first = math.floor(low) + 1 if span.is_low_open else math.ceil(low)
        last = math.ceil(high) - 1 if span.is_high_open else math.floor(high)
        yield _fixed(max(least, first), min(last, 10 ** (NUMBER_DIGITS + decimals) - 1), decimals)
    # 0.25 and more digits, the last not 0, lies strictly between 0.25 and 0.26
    low, high = span.low * 10**span.decimals, span.high * 10**span.decimals
    bounds = [abs(bound) for bound in (span.low, span.high) if abs(bound) != _END]
    room = NUMBER_DIGITS - span.decimals - len(str(math.floor(max(bounds, default=0))))
    if room > 0:
        between = _fixed(max(0, math.ceil(low)), math.floor(high) - 1, span.decimals)
        yield series(between, repeat(DIGIT, 0, room - 1), LEADING_DIGIT)


def _fixed(low: int, high: int, decimals: int) -> Node:
    """The integers from `low` >= 0 to `high`, written with the point before the last `decimals` digits."""
    shortest = decimals + 1  # 0.05 has as many digits as 1.25
    widths = range(max(shortest, len(str(low))), max(shortest, len(str(max(high, 0)))) + 1)
    full = [width for width in widths if width > shortest and low <= 10 ** (width - 1) and 10**width - 1 <= high]
    partial = [_of_width(low, high, width, decimals) for width in widths if width not in full]
    if not full:
        return choice(partial)
    before_point = repeat(DIGIT, full[0] - shortest, full[-1] - shortest)
    return choice([*partial, series(LEADING_DIGIT, before_point, _any("." * bool(decimals) + "0" * decimals))])


def _of_width(low: int, high: int, width: int, decimals: int) -> Node:
    low = max(low, 10 ** (width - 1) if width > decimals + 1 else 0)
    high = min(high, 10**width - 1)
    return _between(_pointed(low, width, decimals), _pointed(high, width, decimals)) if low <= high else choice([])


def _pointed(value: int, width: int, decimals: int) -> str:
    digits = str(value).rjust(width, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def _between(low: str, high: str) -> Node:
    """Texts of one length, with their point at one place, from `low` to `high`."""
    if low == high:
        return Text(low)
    if low[0] == high[0]:
        return series(low[0], _between(low[1:], high[1:]))
    lowest, highest = _every(low[1:], "0"), _every(low[1:], "9")
    first, last = int(low[0]), int(high[0])
    options = []
    if low[1:] != lowest:
        options.append(series(low[0], _between(low[1:], highest)))
        first += 1
    if high[1:] != highest:
        last -= 1
    if first <= last:
        head = Text(str(first)) if first == last else Characters(f"[{first}-{last}]")
        options.append(series(head, _any(low[1:])))
    if high[1:] != highest:
        options.append(series(high[0], _between(lowest, high[1:])))
    return choice(options)


def _every(text: str, digit: str) -> str:
    return "".join("." if character == "." else digit for character in text)


def _any(text: str) -> Node:
    """Any digits in the places where `text` has digits."""
    whole, point, decimals = text.partition(".")
    return series(repeat(DIGIT, len(whole), len(whole)), *point, repeat(DIGIT, len(decimals), len(decimals)))
