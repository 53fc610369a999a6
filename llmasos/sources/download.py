"""Downloads over HTTP: resumed where an earlier try stopped, tried again with back-off, checked by digest.

A partial file stands in `incoming/` under a name made from its digest or address, so that any later run finds it. A
part is only gone on with if the whole can be known for the same file: by its digest, or by the server's ETag, which a
small note beside it keeps.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from llmasos.errors import (
    AccessDeniedError,
    BadInputError,
    LlmasosError,
    ModelNotFoundError,
    NetworkError,
)
from llmasos.files import disk_full_is_an_error, require_room, write_whole
from llmasos.sources.source import Advance, Fetched, RemoteFile
from llmasos.store.blobs import CHUNK_BYTES

MOST_TRIES = 6  # in a row without a single new byte
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
HURRIED_CONNECT_SECONDS = 3.0  # while another source remains
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
MOST_ASKS, LONGEST_ASK_WAIT_SECONDS = 3, 5.0  # for lists and manifests
AGENT = "llmasos"

Answer = TypeVar("Answer")


@dataclass
class RetryError(Exception):
    """A failure that another try may mend; `wait_seconds` is what the server asked for."""

    reason: str
    wait_seconds: float | None = None

    def __str__(self) -> str:
        return self.reason


def make_client(*, hurried: bool = False) -> httpx2.Client:
    """A client that follows redirects and honours proxies and `SSL_CERT_FILE`; it drops secrets for another host."""
    timeout = httpx2.Timeout(READ_SECONDS, connect=HURRIED_CONNECT_SECONDS if hurried else CONNECT_SECONDS)
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    return httpx2.Client(follow_redirects=True, timeout=timeout, headers=headers)


def download(
    file: RemoteFile, incoming: Path, advance: Advance, client: httpx2.Client, *, first_wait: float = FIRST_WAIT_SECONDS
) -> Fetched:
    """Fetches one file into `incoming`, whatever it takes short of the limits.

    Raises NetworkError when tries without progress run out, BadInputError for a wrong digest (the file is then gone),
    DiskFullError, AccessDeniedError or ModelNotFoundError.
    """
    incoming.mkdir(parents=True, exist_ok=True)
    partial = _Partial(incoming, file)
    tries = 0
    while True:
        before = partial.size
        try:
            with disk_full_is_an_error(partial.path):
                _transfer(file, partial, advance, client)
            return _checked(file, partial)
        except RetryError as trouble:
            tries = 1 if partial.size > before else tries + 1
            if tries >= MOST_TRIES:
                raise NetworkError(
                    f"{file.file_name} could not be fetched: {trouble}",
                    hint="run the same again: it goes on where it stopped",
                ) from trouble
            time.sleep(trouble.wait_seconds or _back_off(tries, first_wait))


def keep_asking(ask: Callable[[], Answer], server: str) -> Answer:
    """What `ask` returns: a small request, made again with back-off when it raises RetryError.

    Raises NetworkError when that does not help.
    """
    tries = 0
    while True:
        try:
            return ask()
        except RetryError as trouble:
            tries += 1
            if tries == MOST_ASKS:
                raise NetworkError(f"{server} gives no list of files: {trouble}", hint="try again later") from trouble
            time.sleep(min(trouble.wait_seconds or _back_off(tries, FIRST_WAIT_SECONDS), LONGEST_ASK_WAIT_SECONDS))


def network_trouble(error: httpx2.HTTPError | httpx2.InvalidURL, server: str) -> LlmasosError | RetryError:
    """The error to raise for a request that got no answer: a connection that broke is worth another try at once."""
    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.InvalidURL)):
        return BadInputError(f"`{server}` is no address of a server", hint="it begins with https:// or http://")
    reason = describe_network_error(error)
    if isinstance(error, (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)):
        return RetryError(reason)
    return NetworkError(f"{server} can't be reached: {reason}", hint="check the network and the proxy, then try again")


class _Partial:
    """The part of a file that is there, with the hash of it so far."""

    def __init__(self, incoming: Path, file: RemoteFile) -> None:
        self.path = incoming / f"{file.key}.partial"
        self._note = incoming / f"{file.key}.json"
        self.etag: str | None = None
        self.size = 0
        self.state = hashlib.sha256()
        self._read_what_is_there()

    def _read_what_is_there(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self.etag = json.loads(self._note.read_text()).get("etag")
        if self.path.exists():
            with self.path.open("rb") as content:
                while chunk := content.read(CHUNK_BYTES):
                    self.state.update(chunk)
                    self.size += len(chunk)

    def remember(self, etag: str | None) -> None:
        if etag != self.etag or not self._note.exists():
            self.etag = etag
            write_whole(self._note, json.dumps({"etag": etag}))

    def start_over(self) -> None:
        self.path.unlink(missing_ok=True)
        self.size, self.state = 0, hashlib.sha256()

    def forget(self) -> None:
        self.start_over()
        self._note.unlink(missing_ok=True)

    def forget_note(self) -> None:
        self._note.unlink(missing_ok=True)

    def append(self, chunks: Iterator[bytes], advance: Advance) -> None:
        with self.path.open("ab") as out:
            for chunk in chunks:
                out.write(chunk)
                self.state.update(chunk)
                self.size += len(chunk)
                advance(self.size)


def _transfer(file: RemoteFile, partial: _Partial, advance: Advance, client: httpx2.Client) -> None:
    """One request for what is missing."""
    if partial.size and file.size is not None and partial.size >= file.size:
        if partial.size == file.size:
            return
        partial.start_over()
    if not file.digest and not partial.etag:
        partial.start_over()
    headers = dict(file.headers)
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.etag and not file.digest:  # a digest knows better: servers change ETags of files that stay the same
            headers["If-Range"] = partial.etag
    try:
        with client.stream("GET", file.location, headers=headers) as response:
            _receive(response, file, partial, advance)
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise BadInputError(f"the address of {file.file_name} is none that can be fetched") from error
    except httpx2.HTTPError as error:
        raise RetryError(describe_network_error(error)) from error


def _receive(response: httpx2.Response, file: RemoteFile, partial: _Partial, advance: Advance) -> None:
    if response.status_code == 416:
        partial.start_over()
        raise RetryError("the server refuses to go on in the middle")
    if response.status_code in TEMPORARY:
        raise RetryError(f"the server answers {response.status_code}", asked_wait(response))
    refuse_bad_status(response, file.file_name)
    if response.status_code == 206 and not _continues(response, partial.size):
        partial.start_over()
        raise RetryError("the server sends another part than was asked for")
    total = _total_size(response, partial.size if response.status_code == 206 else 0)
    if file.size is not None and total is not None and total != file.size:
        raise BadInputError(f"{file.file_name} has {total} bytes there, {file.size} were promised")
    if response.status_code == 200:
        partial.start_over()  # not before: a proxy's page of excuses must not cost what is there
    expected = file.size if total is None else total
    require_room(partial.path.parent, (expected or 0) - partial.size, file.file_name)
    partial.remember(_strong_etag(response))
    partial.append(_bounded(response, expected, partial), advance)
    if expected is not None and partial.size < expected:
        raise RetryError("the connection ended early")


def _bounded(response: httpx2.Response, total: int | None, partial: _Partial) -> Iterator[bytes]:
    """The body, refused as soon as it is longer than promised."""
    for chunk in response.iter_bytes():  # as they come: what is gathered into larger ones is lost with the connection
        if total is not None and partial.size + len(chunk) > total:
            partial.forget()
            raise BadInputError("the server sends more than it promised")
        yield chunk


def _checked(file: RemoteFile, partial: _Partial) -> Fetched:
    digest = f"sha256:{partial.state.hexdigest()}"
    if file.digest and digest != file.digest:
        partial.forget()
        raise BadInputError(
            f"{file.file_name} is not what was promised: its digest is {digest[:19]}…, not {file.digest[:19]}…",
            hint="it was changed or damaged on the way; nothing of it was kept",
        )
    partial.forget_note()
    return Fetched(partial.path, digest, partial.size)


def refuse_bad_status(response: httpx2.Response, what: str) -> None:
    """Raises the error that an HTTP status means to a person. `what` is what was asked for."""
    status = response.status_code
    if status in (401, 403):
        raise AccessDeniedError(
            f"access to {what} is refused ({status})",
            hint="accept its licence on its page and set HF_TOKEN, or log in with `hf auth login`",
        )
    if status in (404, 410):
        raise ModelNotFoundError(
            what, message=f"{what} is not there ({status})", hint="check the spelling of the reference"
        )
    if status in TEMPORARY:
        raise NetworkError(f"the server answers {status} for {what}", hint="try again later")
    if status not in (200, 206):
        raise LlmasosError(f"the server answers {status} for {what}")


def describe_network_error(error: Exception) -> str:
    """A network failure in words; never with an address that may hold a secret."""
    names = {
        "ConnectTimeout": "no connection in time",
        "ConnectError": "no connection",
        "ReadTimeout": "the server went silent",
        "ReadError": "the connection broke",
        "RemoteProtocolError": "the connection broke",
        "ProxyError": "the proxy refuses",
        "TooManyRedirects": "the server sends in circles",
    }
    name = type(error).__name__
    detail = str(error).split("(")[0].strip()
    return f"{names.get(name, name)}{f' ({detail})' if detail and name == 'ConnectError' else ''}"


def _back_off(tries: int, first_wait: float) -> float:
    """Twice as long each time, with a random part so that many machines don't come back together."""
    return float(min(first_wait * 2 ** (tries - 1), LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25))


def asked_wait(response: httpx2.Response) -> float | None:
    """The seconds of a `Retry-After` header, within reason."""
    text = response.headers.get("retry-after", "")
    return min(float(text), LONGEST_WAIT_SECONDS * 4) if text.isdecimal() else None


def _continues(response: httpx2.Response, size: int) -> bool:
    return bool(response.headers.get("content-range", "").startswith(f"bytes {size}-"))


def _total_size(response: httpx2.Response, present: int) -> int | None:
    """The whole file's size, as the server tells it; None if it does not, or packed the file unasked."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return None
    _, _, total = response.headers.get("content-range", "").rpartition("/")
    if total.isdecimal():
        return int(total)
    length = response.headers.get("content-length", "")
    return present + int(length) if length.isdecimal() else None


def _strong_etag(response: httpx2.Response) -> str | None:
    etag: Any = response.headers.get("etag")
    return etag if etag and not etag.startswith("W/") else None
