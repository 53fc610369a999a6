"""Downloads: they go on where they stopped, wait out a bad hour, and let nothing through that was not promised."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from doubles.hub import Fault, StandInHub
from llmasos.errors import (
    AccessDeniedError,
    BadInputError,
    DiskFullError,
    LlmasosError,
    ModelNotFoundError,
    NetworkError,
)
from llmasos.progress import Monotone, Progress
from llmasos.sources.download import download
from llmasos.sources.source import Fetched, RemoteFile

CONTENT = bytes(range(256)) * 1200
OTHER = CONTENT[:100_000] + CONTENT[100_000:][::-1]
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

Fetch = Callable[..., Fetched]


@pytest.fixture
def file(hub: StandInHub) -> RemoteFile:
    """A file of which the source tells size and digest."""
    return RemoteFile("weights", "x.gguf", hub.url + hub.add_file("x.gguf", CONTENT), len(CONTENT), DIGEST)


@pytest.fixture
def plain(file: RemoteFile) -> RemoteFile:
    """The same file at an address of which nothing is known."""
    return replace(file, size=None, digest=None)


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=2, follow_redirects=True, verify=False) as client:  # no certificates to read: faster
        yield client


@pytest.fixture
def fetch(incoming: Path, client: httpx2.Client) -> Fetch:
    """As `download`, with shorter waits."""

    def fetch(file: RemoteFile, advance: Callable[[int], None] = lambda done: None) -> Fetched:
        return download(file, incoming, advance, client, first_wait=0.002)

    return fetch


def ranges(hub: StandInHub) -> list[str | None]:
    return [request.range for request in hub.requests]


def test_a_file_comes_whole(file: RemoteFile, fetch: Fetch):
    fetched = fetch(file)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.digest, fetched.size, fetched.is_ours) == (DIGEST, len(CONTENT), True)


def test_only_the_file_itself_is_left_in_the_folder(file: RemoteFile, fetch: Fetch, incoming: Path):
    assert list(incoming.glob("*")) == []
    assert [fetch(file).path] == list(incoming.iterdir())


def test_an_empty_file_comes_too(hub: StandInHub, fetch: Fetch):
    empty = RemoteFile("checkpoint", "merges.txt", hub.url + hub.add_file("merges.txt", b""), 0)
    assert fetch(empty).path.read_bytes() == b""


# Going on


def test_a_broken_connection_costs_nothing_that_had_come(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=100_000))
    assert fetch(file).path.read_bytes() == CONTENT
    assert ranges(hub) == [None, "bytes=100000-"]
    assert hub.sent_bytes("x.gguf") == len(CONTENT)


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(hub: StandInHub, plain: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=100_000))
    hub.fault("x.gguf", Fault(status=503), times=None)
    with pytest.raises(NetworkError, match="503") as caught:
        fetch(plain)
    assert caught.value.hint == "run the same again: it goes on where it stopped"
    hub.clear_faults()
    hub.reset_requests()
    assert fetch(plain).path.read_bytes() == CONTENT
    assert ranges(hub) == ["bytes=100000-"]


def test_any_progress_keeps_it_going(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=20_000), times=None)
    assert fetch(file).path.read_bytes() == CONTENT
    assert len(hub.requests) == 16


def test_a_file_that_changed_is_fetched_anew(hub: StandInHub, plain: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=150_000))
    hub.fault("x.gguf", Fault(status=503), times=None)
    with pytest.raises(NetworkError):
        fetch(plain)
    hub.clear_faults()
    hub.add_file("x.gguf", OTHER)
    assert fetch(plain).path.read_bytes() == OTHER


def test_a_known_digest_outlives_another_etag(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.add_file("x.gguf", OTHER)
    hub.fault("x.gguf", Fault(drop_after=100_000))
    hub.fault("x.gguf", Fault(status=503), times=None)
    with pytest.raises(NetworkError):
        fetch(file)
    hub.clear_faults()
    hub.reset_requests()
    hub.add_file("x.gguf", CONTENT)
    assert fetch(file).path.read_bytes() == CONTENT
    assert hub.sent_bytes("x.gguf") == len(CONTENT) - 100_000


def test_a_part_of_an_unknown_file_is_not_gone_on_with(
    hub: StandInHub, plain: RemoteFile, fetch: Fetch, incoming: Path
):
    hub.fault("x.gguf", Fault(drop_after=100_000))
    hub.fault("x.gguf", Fault(status=503), times=None)
    with pytest.raises(NetworkError):
        fetch(plain)
    next(incoming.glob("*.json")).unlink()
    hub.clear_faults()
    hub.reset_requests()
    assert fetch(plain).path.read_bytes() == CONTENT
    assert ranges(hub) == [None]


def test_a_server_that_knows_no_ranges_sends_all_again(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=100_000))
    hub.fault("x.gguf", Fault(ignore_range=True))
    assert fetch(file).path.read_bytes() == CONTENT


def test_a_server_that_never_gets_to_the_end_is_given_up(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=100_000, ignore_range=True), times=None)
    with pytest.raises(NetworkError, match="the connection broke"):
        fetch(file)


def test_an_early_end_is_noticed_without_a_length(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(hide_length=True, drop_after=100_000))
    assert fetch(file).path.read_bytes() == CONTENT
    assert ranges(hub) == [None, "bytes=100000-"]


def test_a_file_that_is_there_already_is_not_asked_for(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    fetch(file)
    hub.reset_requests()
    assert fetch(file).digest == DIGEST
    assert hub.requests == []


def test_progress_never_falls(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=200_000))
    hub.fault("x.gguf", Fault(drop_after=50_000, ignore_range=True))
    shown: list[int] = []

    class Kept(Progress):
        def update(self, done: int) -> None:
            shown.append(done)

    fetch(file, Monotone(Kept()).part)
    assert shown == sorted(shown)
    assert shown[-1] == len(CONTENT)


# Waiting


def test_a_server_that_is_busy_is_asked_again(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(status=503))
    hub.fault("x.gguf", Fault(status=429))
    assert fetch(file).digest == DIGEST


def test_it_waits_as_long_as_the_server_asks_for(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(status=429, retry_after=1))
    begun = time.monotonic()
    assert fetch(file).digest == DIGEST
    assert time.monotonic() - begun >= 1


def test_a_server_that_goes_silent_is_asked_again(hub: StandInHub, file: RemoteFile, incoming: Path):
    hub.fault("x.gguf", Fault(stall_after=100_000, stall_seconds=30))
    with httpx2.Client(timeout=0.2) as impatient:
        fetched = download(file, incoming, lambda done: None, impatient, first_wait=0.01)
    assert fetched.path.read_bytes() == CONTENT
    assert ranges(hub) == [None, "bytes=100000-"]


def test_where_nobody_listens_a_later_try_may_help(fetch: Fetch):
    with pytest.raises(NetworkError, match="no connection") as caught:
        fetch(RemoteFile("weights", "x.gguf", "http://127.0.0.1:9/x.gguf"))
    assert caught.value.exit_code == 75


# Refusing


def test_a_wrong_byte_leaves_nothing(hub: StandInHub, file: RemoteFile, fetch: Fetch, incoming: Path):
    hub.fault("x.gguf", Fault(flip_byte_at=70_000))
    with pytest.raises(BadInputError, match="not what was promised"):
        fetch(file)
    assert list(incoming.iterdir()) == []


def test_another_length_is_refused_and_costs_nothing_that_had_come(hub: StandInHub, file: RemoteFile, fetch: Fetch):
    hub.fault("x.gguf", Fault(drop_after=100_000))
    hub.fault("x.gguf", Fault(wrong_length=5000, ignore_range=True))
    with pytest.raises(BadInputError, match="has 5000 bytes there, 307200 were promised"):
        fetch(file)
    hub.reset_requests()
    assert fetch(file).digest == DIGEST
    assert ranges(hub) == ["bytes=100000-"]


def test_more_than_was_promised_is_refused(hub: StandInHub, file: RemoteFile, fetch: Fetch, incoming: Path):
    hub.fault("x.gguf", Fault(hide_length=True))
    with pytest.raises(BadInputError, match="more than it promised"):
        fetch(replace(file, size=100_000))
    assert list(incoming.iterdir()) == []


def test_what_the_disk_can_not_hold_is_not_begun(hub: StandInHub, plain: RemoteFile, fetch: Fetch, incoming: Path):
    hub.fault("x.gguf", Fault(wrong_length=10**18))
    with pytest.raises(DiskFullError, match="x.gguf will take"):
        fetch(plain)
    assert list(incoming.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, ModelNotFoundError),
        (410, ModelNotFoundError),
        (204, LlmasosError),
        (418, LlmasosError),
    ],
)
def test_an_answer_that_no_patience_changes(
    hub: StandInHub, file: RemoteFile, fetch: Fetch, status: int, error: type[LlmasosError]
):
    hub.fault("x.gguf", Fault(status=status))
    with pytest.raises(error, match=str(status)):
        fetch(file)
    assert len(hub.requests) == 1


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x.gguf", "http://127.0.0.1:port/x.gguf", "x.gguf"])
def test_an_address_that_is_none(fetch: Fetch, address: str):
    with pytest.raises(BadInputError, match="none that can be fetched"):
        fetch(RemoteFile("weights", "x.gguf", address))
