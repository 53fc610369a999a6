"""Numbers for people: three figures where they matter, and never a unit that reads wrong at its edge."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.units import format_age, format_bytes, format_count, format_seconds

unhurried = settings(deadline=None)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (98_362_432, "98.4 MB"),
        (16 * 10**9, "16.0 GB"),
        (1_500_000 * 10**6, "1.5 TB"),
    ],
)
def test_bytes_are_shown_as_download_pages_show_them(count: int, text: str):
    assert format_bytes(count) == text


@unhurried
@given(st.integers(0, 10**15))
def test_bytes_are_never_more_than_half_of_the_last_figure_off(count: int):
    number, unit = format_bytes(count).split()
    factor = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    half_a_figure = (0.05 if "." in number else 0.5) * factor
    assert abs(float(number) * factor - count) <= half_a_figure * 1.01
    assert len(number.replace(".", "")) <= 3 or unit == "TB"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0K"),
        (999_499, "999K"),
        (999_500, "1.0M"),
        (134_515_008, "135M"),
        (1_711_376_384, "1.7B"),
        (9_960_000_000, "10B"),
        (671_026_419_200, "671B"),
    ],
)
def test_parameters_are_counted_as_model_names_count_them(count: int, text: str):
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (3.14, "3.1s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (75.2, "1m15s"),
        (3599.6, "1h00m"),
        (3661, "1h01m"),
        (100_000, "27h46m"),
    ],
)
def test_spans_of_time(seconds: float, text: str):
    assert format_seconds(seconds) == text


@unhurried
@given(st.floats(0, 10**6))
def test_no_span_shows_sixty_of_anything(seconds: float):
    assert not re.search(r"\b60(\.0)?s|60m|m60", format_seconds(seconds))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (2 * 86400, "2 days ago"),
        (86400 * 31, "1 month ago"),
        (86400 * 365 * 2, "2 years ago"),
    ],
)
def test_ages(seconds: float, text: str):
    assert format_age(seconds) == text
