"""Who is let in: hosts, origins, keys; and which addresses need a key."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from llmasos.errors import BadInputError, UsageError
from llmasos.server.access import Access, access_of
from llmasos.server.options import ServeOptions, seconds_of

KEYS = ServeOptions(api_key=("one", "two"))


def status(access: Access, path: str = "/v1/models", method: str = "GET", **headers: str) -> int | None:
    refusal = access.refuse(method, path, {name.replace("_", "-"): value for name, value in headers.items()})
    return refusal.status if refusal else None


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("", True),
        ("localhost:11435", True),
        ("LOCALHOST", True),
        ("app.localhost", True),
        ("127.0.0.1:11435", True),
        ("[::1]:11435", True),
        ("192.168.1.20", True),
        (f"{socket.gethostname()}:1", True),
        (f"{socket.gethostname()}.local.", True),
        ("evil.example", False),
        ("evil.example:11435", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("notlocalhost", False),
        ("allowed.example", True),
        ("ALLOWED.example:443", True),
    ],
    ids=lambda value: str(value).replace(socket.gethostname(), "HOST"),
)
def test_a_name_that_a_page_could_be_bound_to_is_refused(host: str, is_known: bool):
    access = access_of(ServeOptions(allow_host=("Allowed.example",)))
    assert status(access, host=host) == (None if is_known else 403)


@pytest.mark.parametrize(
    ("origin", "is_known"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:5173", True),
        ("https://chat.example", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("http://[", False),
        ("file://", False),
    ],
)
def test_pages_from_elsewhere_may_not_ask(origin: str, is_known: bool):
    access = access_of(ServeOptions(allow_origin=("https://chat.example/",)))
    assert status(access, origin=origin) == (None if is_known else 403)
    assert status(access_of(ServeOptions(allow_origin=("*",))), origin=origin) is None


def test_one_of_the_keys_is_needed():
    access = access_of(KEYS)
    assert status(access) == status(access, authorization="Bearer three") == status(access, authorization="one") == 401
    assert status(access, authorization="Basic one") == status(access, authorization="Bearer ") == 401
    for shown in ({"authorization": "Bearer one"}, {"authorization": "bearer  two "}, {"x_api_key": "two"}):
        assert status(access, **shown) is None
    assert status(access, path="/health") is None
    assert status(access, method="OPTIONS") is None
    assert status(access, path="/v1/models", host="evil.example", authorization="Bearer one") == 403


def test_keys_come_from_a_file_too(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("# who\nfirst\n\n  second  \n")
    access = access_of(ServeOptions(api_key=("third",), api_key_file=str(file)))
    assert [status(access, authorization=f"Bearer {key}") for key in ("first", "second", "third", "# who")] == [
        None,
        None,
        None,
        401,
    ]
    file.write_text("\n")
    for path in (file, tmp_path / "none"):
        with pytest.raises(BadInputError):
            access_of(ServeOptions(api_key_file=str(path)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "example.org", ""])
def test_an_address_that_others_reach_needs_a_key(host: str):
    with pytest.raises(UsageError, match="everybody who reaches this machine"):
        access_of(ServeOptions(host=host))
    access_of(ServeOptions(host=host, insecure=True))
    access_of(ServeOptions(host=host, api_key=("key",)))
    access_of(ServeOptions(host=host, socket="/tmp/x"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_this_machine_s_own_addresses_need_none(host: str):
    assert access_of(ServeOptions(host=host)).digests == ()


@pytest.mark.parametrize("key", ["", " key", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused(key: str):
    with pytest.raises(UsageError, match="ASCII"):
        access_of(ServeOptions(api_key=(key,)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300), ("1h30m", 5400), ("0", 0), (0, 0), ("90", 90), (2.5, 2.5), ("1.5s", 1.5), ("250ms", 0.25),
        ("-1", -1), (-5, -1), ("-10m", -1), ("10us", 1e-5),
    ],
)  # fmt: skip
def test_durations_are_ollamas(text: str | float, seconds: float):
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 m", "5x", "m", "5m!", "nan", "inf", "1e400", None, True, [5]], ids=str)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match="is no duration"):
        seconds_of(text)
