"""Addresses of servers, as they are typed."""

from __future__ import annotations

import pytest

from llmasos.client.address import Address, parse_address
from llmasos.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "base"),
    [
        ("http://127.0.0.1:11435", "http://127.0.0.1:11435"),
        ("http://127.0.0.1:11435/v1/", "http://127.0.0.1:11435"),
        ("https://example.org", "https://example.org"),
        ("https://example.org/llm/v1", "https://example.org/llm"),
        ("example.org", "http://example.org:7"),
        ("localhost:5000", "http://localhost:5000"),
        ("http://[::1]:5", "http://[::1]:5"),
    ],
)
def test_an_address_may_leave_out_what_goes_without_saying(typed: str, base: str):
    assert parse_address(typed, 7) == Address(base, base)


def test_a_unix_socket_is_one_of_this_machine():
    for typed in ("unix:/run/x.sock", "unix:///run/x.sock"):
        assert parse_address(typed, 7).socket == "/run/x.sock"
        assert parse_address(typed, 7).is_own


@pytest.mark.parametrize(
    "typed", ["", "unix:", "ftp://x", "http://", "http://x:port", "http://x:99999", "http://a:b@x", "http://x/?a"]
)
def test_what_is_no_address_is_refused_with_an_example(typed: str):
    with pytest.raises(UsageError) as raised:
        parse_address(typed, 7)
    assert "such as" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("typed", "is_own"),
    [("localhost", True), ("127.0.0.9", True), ("http://[::1]", True), ("a.localhost", True), ("10.0.0.1", False)],
)
def test_this_machine_is_known_by_its_names_and_numbers(typed: str, is_own: bool):
    assert parse_address(typed, 7).is_own is is_own
