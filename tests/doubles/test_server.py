"""The stand-in hub's ranges and faults, seen by a plain HTTP client."""

from __future__ import annotations

import http.client
import re
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import httpx2
import pytest

from doubles.hub import Fault, StandInHub

WEIGHTS = bytes(range(256)) * 1000


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with StandInHub() as hub:
        hub.add_file("models/x.gguf", WEIGHTS)
        yield hub


@pytest.fixture
def file_url(hub: StandInHub) -> str:
    return f"{hub.url}/files/models/x.gguf"


# Plain files and ranges.


@pytest.mark.parametrize(
    ("asked", "content", "content_range"),
    [
        ("bytes=0-9", WEIGHTS[:10], "bytes 0-9/256000"),
        ("bytes=255990-", WEIGHTS[-10:], "bytes 255990-255999/256000"),
        ("bytes=-10", WEIGHTS[-10:], "bytes 255990-255999/256000"),
        ("bytes=100-999999", WEIGHTS[100:], "bytes 100-255999/256000"),
    ],
)
def test_a_range_is_answered_with_that_part(
    client: httpx2.Client, file_url: str, asked: str, content: bytes, content_range: str
) -> None:
    answer = client.get(file_url, headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"], answer.content) == (206, content_range, content)


def test_a_range_beyond_the_end_cannot_be_satisfied(client: httpx2.Client, file_url: str) -> None:
    answer = client.get(file_url, headers={"Range": "bytes=256000-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */256000")


def test_a_range_of_another_version_is_answered_with_all(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    etag = client.head(file_url).headers["ETag"]
    resumed = {"Range": "bytes=1-", "If-Range": etag}
    assert client.get(file_url, headers=resumed).status_code == 206
    hub.add_file("models/x.gguf", b"another version")
    answer = client.get(file_url, headers=resumed)
    assert (answer.status_code, answer.content) == (200, b"another version")
    assert answer.headers["ETag"] != etag


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=-", "nonsense"])
def test_a_range_that_it_does_not_understand_is_ignored(client: httpx2.Client, file_url: str, asked: str) -> None:
    assert client.get(file_url, headers={"Range": asked}).status_code == 200


def test_head_tells_the_size_and_sends_nothing(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    answer = client.head(file_url)
    assert (answer.headers["Content-Length"], answer.headers["Accept-Ranges"]) == ("256000", "bytes")
    assert hub.sent_bytes("x.gguf") == 0


def test_requests_are_noted_until_they_are_reset(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    client.get(file_url + "?download=true", headers={"Range": "bytes=0-9"})
    [request] = hub.requests
    assert (request.method, request.path, request.query) == ("GET", "/files/models/x.gguf", "download=true")
    assert (request.range, request.status, request.sent_bytes) == ("bytes=0-9", 206, 10)
    hub.reset_requests()
    assert hub.requests == []


def test_names_may_need_quoting(hub: StandInHub, client: httpx2.Client) -> None:
    path = hub.add_file("my models/größe 100%.gguf", WEIGHTS)
    assert client.get(hub.url + path.replace("%", "%25")).content == WEIGHTS


def test_a_connection_serves_many_requests(hub: StandInHub) -> None:
    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=5)
    connection.connect()
    first_socket = connection.sock
    for path in ("/files/models/x.gguf", "/files/missing", "/v2/library/missing/manifests/latest"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is first_socket
    connection.close()


def test_many_clients_are_served_at_once(hub: StandInHub, file_url: str) -> None:
    with httpx2.Client(timeout=5) as client, ThreadPoolExecutor(16) as pool:
        starts = range(0, len(WEIGHTS), 8000)
        ranges = [f"bytes={start}-{start + 7999}" for start in starts]
        parts = pool.map(lambda asked: client.get(file_url, headers={"Range": asked}).content, ranges)
        assert b"".join(parts) == WEIGHTS
    assert hub.sent_bytes("x.gguf") == len(WEIGHTS)


def test_a_large_file_is_never_in_memory(hub: StandInHub, client: httpx2.Client, tmp_path: Path) -> None:
    large = tmp_path / "large.gguf"
    with large.open("wb") as stream:
        stream.truncate(32 * 1024 * 1024)
    tracemalloc.start()
    path = hub.add_file("large.gguf", large)
    with client.stream("GET", hub.url + path) as answer:
        assert sum(map(len, answer.iter_raw())) == 32 * 1024 * 1024
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * 1024 * 1024


# Faults.


def test_a_drop_ends_the_body_at_the_very_byte(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(drop_after=70_000))
    received = bytearray()
    with client.stream("GET", file_url) as answer, pytest.raises(httpx2.RemoteProtocolError):
        for chunk in answer.iter_raw():
            received += chunk
    assert bytes(received) == WEIGHTS[:70_000]
    assert hub.sent_bytes("x.gguf") == 70_000
    assert client.get(file_url).content == WEIGHTS


def test_a_drop_of_a_part_counts_from_its_start(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(drop_after=10))
    with pytest.raises(httpx2.RemoteProtocolError, match="received 10 bytes, expected 255000"):
        client.get(file_url, headers={"Range": "bytes=1000-"})


def test_a_drop_after_nothing_answers_nothing(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(drop_after=0))
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        client.get(file_url)
    assert hub.requests[0].status == 0


@pytest.mark.parametrize("drop_after", [0, 1000])
def test_a_reset_is_an_error_of_the_network(
    hub: StandInHub, client: httpx2.Client, file_url: str, drop_after: int
) -> None:
    hub.fault("x.gguf", Fault(drop_after=drop_after, reset=True))
    with pytest.raises(httpx2.ReadError):
        client.get(file_url)


def test_a_status_takes_the_place_of_the_answer(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(status=429, retry_after=7), times=2)
    answers = [client.get(file_url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"


def test_a_stall_before_the_answer_is_waited_for(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(stall_seconds=0.2))
    begun = monotonic()
    assert client.get(file_url).content == WEIGHTS
    assert monotonic() - begun >= 0.2


def test_a_stall_in_the_middle_times_a_client_out(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(stall_seconds=30, stall_after=1000))
    received = bytearray()
    with client.stream("GET", file_url, timeout=0.5) as answer, pytest.raises(httpx2.ReadTimeout):
        for chunk in answer.iter_raw():
            received += chunk
    assert bytes(received) == WEIGHTS[:1000]


def test_a_flipped_byte_keeps_the_length(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(flip_byte_at=100_000), times=2)
    wrong = WEIGHTS[:100_000] + bytes([WEIGHTS[100_000] ^ 0xFF]) + WEIGHTS[100_001:]
    assert client.get(file_url).content == wrong
    assert client.get(file_url, headers={"Range": "bytes=99999-"}).content == wrong[99_999:]


def test_a_throttle_takes_its_time(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(throttle=1_000_000))
    begun = monotonic()
    assert client.get(file_url).content == WEIGHTS
    assert monotonic() - begun >= 0.25


def test_a_range_can_be_ignored(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(ignore_range=True))
    answer = client.get(file_url, headers={"Range": "bytes=1000-"})
    assert (answer.status_code, answer.content) == (200, WEIGHTS)


def test_a_length_can_be_wrong(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(wrong_length=1000))
    assert client.get(file_url).content == WEIGHTS[:1000]
    hub.fault("x.gguf", Fault(wrong_length=300_000))
    with pytest.raises(httpx2.RemoteProtocolError, match="received 256000 bytes, expected 300000"):
        client.get(file_url)


def test_a_length_can_be_hidden(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(hide_length=True))
    answer = client.get(file_url)
    assert "Content-Length" not in answer.headers
    assert answer.content == WEIGHTS


def test_a_redirect_can_lead_anywhere(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x.gguf", Fault(redirect_to="file:///etc/passwd"))
    assert client.get(file_url).headers["Location"] == "file:///etc/passwd"
    hub.fault("x.gguf", Fault(redirect_to=file_url), times=None)
    with pytest.raises(httpx2.TooManyRedirects):
        client.get(file_url, follow_redirects=True)


def test_faults_choose_by_text_pattern_and_method(hub: StandInHub, client: httpx2.Client, file_url: str) -> None:
    hub.fault("x+gguf", Fault(status=500))
    hub.fault(re.compile(r"/files/.*\.gguf$"), Fault(status=503), times=None, method="GET")
    assert (client.head(file_url).status_code, client.get(file_url).status_code) == (200, 503)
    hub.clear_faults()
    assert client.get(file_url).status_code == 200
