"""The one door to a server over HTTP: requests, streams, and what goes wrong with them as errors of ours.

All requests run in the event loop of one background thread, so that many can be under way, any thread can ask, and
Ctrl-C in the thread that waits is noticed at once. Leaving a request closes its connection: the server stops working.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from llmasos.client.address import Address
from llmasos.client.failures import error_of
from llmasos.errors import BadInputError, BusyError, LlmasosError, NetworkError, StoppedError

CONNECT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0  # before a busy server is asked again, whatever it says
# A machine that has gone without a word is noticed after two minutes, however long its answer may take.
KEPT_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if hasattr(socket, "TCP_KEEPIDLE"):
    KEPT_ALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    ]
EVENT, END = b"data:", b"[DONE]"
Body = Mapping[str, Any]
Result = TypeVar("Result")


class Connection:
    """To one server. `close` ends all that is under way."""

    def __init__(self, address: Address, key: str | None = None) -> None:
        """Raises BadInputError for an address, a proxy or certificates that can't be used."""
        self.address = address
        self._client = _make_client(address, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def get(self, path: str, name: str) -> Any:
        """The field of that name in what the server answers.

        Raises what `error_of` makes of a refusal, NetworkError, StoppedError.
        """
        told = self.wait(self.request("GET", path))
        if name not in told:
            raise self.stranger()
        return told[name]

    def post(self, path: str, body: Body) -> dict[str, Any]:
        """What the server answers. Raises as `get` does."""
        return self.wait(self.request("POST", path, body))

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What comes of it. Whoever is interrupted while waiting ends it."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Begins it and does not wait; `cancel` of the future ends it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def request(
        self, method: str, path: str, body: Body | None = None, *, patient: bool = False
    ) -> dict[str, Any]:
        """A whole response; one that is `patient` waits while the server is busy."""
        async with self._responding(method, path, body, patient=patient) as response:
            with self._translated():
                content = await response.aread()
        return self._object(content)

    async def events(self, path: str, body: Body, *, patient: bool = False) -> AsyncGenerator[dict[str, Any]]:
        """The events of a stream. Raises StoppedError if it breaks off, and what it tells itself to be wrong."""
        async with self._responding("POST", path, body, patient=patient) as response:
            with self._translated():
                async for line in whole_lines(response.aiter_bytes()):
                    if not line.startswith(EVENT):
                        continue
                    told = line.removeprefix(EVENT).strip()
                    if told == END:
                        return
                    event = self._object(told)
                    if "error" in event:
                        raise error_of(200, event, body.get("model"))
                    yield event
        raise self._broken_off()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        with contextlib.suppress(concurrent.futures.CancelledError):
            self.start(self._end()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        with contextlib.suppress(Exception):  # what has gone can't be closed, and that is no trouble
            await self._client.aclose()

    @contextlib.asynccontextmanager
    async def _responding(
        self, method: str, path: str, body: Body | None, *, patient: bool
    ) -> AsyncIterator[httpx2.Response]:
        """A response that is none of an error."""
        content = None if body is None else json.dumps(body).encode()
        while True:
            request = self._client.build_request(
                method, path, content=content, headers={"Content-Type": "application/json"}
            )
            with self._translated():
                response = await self._client.send(request, stream=True)
            try:
                if response.is_success:
                    yield response
                    return
                with self._translated():
                    told = await response.aread()
                error = error_of(response.status_code, _json_or_none(told), (body or {}).get("model"))
            finally:
                with contextlib.suppress(Exception):  # as in `_end`
                    await response.aclose()
            if not (patient and isinstance(error, BusyError)):
                raise error
            await asyncio.sleep(_asked_wait(response))

    @contextlib.contextmanager
    def _translated(self) -> Any:
        """Foreign exceptions as ours."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self._unreachable(error) from error
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise BadInputError(f"`{self.address.text}` is no address of a server: {error}") from error
        except httpx2.HTTPError as error:
            raise self._broken_off() from error

    def _unreachable(self, error: Exception) -> LlmasosError:
        reason = _cause_of(error)
        if isinstance(reason, ssl.SSLError):
            return NetworkError(
                f"the server at {self.address.text} can't be trusted: {reason}",
                hint="SSL_CERT_FILE names the certificates to trust",
            )
        errno = getattr(reason, "errno", None) or 0
        why = os.strerror(errno) if errno > 0 else getattr(reason, "strerror", None) or reason  # names have no errno
        hint = "start one: llmasos serve" if self.address.is_own else "check the address, and that it runs there"
        return NetworkError(f"there is no server at {self.address.text}: {why}", hint=hint)

    def stranger(self) -> LlmasosError:
        """What is to be said of a server whose words are not those of ours."""
        return LlmasosError(
            f"what answers at {self.address.text} is no llmasos server, or one of another version",
            hint="start one: llmasos serve",
        )

    def _object(self, content: bytes) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            if isinstance(found := json.loads(content), dict):
                return found
        raise self.stranger()

    def _broken_off(self) -> StoppedError:
        return StoppedError(f"the server at {self.address.text} ended in the middle of an answer", hint="try again")


def _make_client(address: Address, key: str | None) -> httpx2.AsyncClient:
    """Answers may take as long as they take. No redirect is followed: the key is for this server alone."""
    headers = {"User-Agent": "llmasos", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        transport = httpx2.AsyncHTTPTransport(
            uds=address.socket,
            proxy=proxy_for(address),
            limits=httpx2.Limits(max_connections=None),
            socket_options=None if address.socket else KEPT_ALIVE,
        )
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        return httpx2.AsyncClient(base_url=address.base, headers=headers, timeout=timeout, transport=transport)
    except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        raise BadInputError(f"the connection to {address.text} can't be set up: {error}") from error


def proxy_for(address: Address) -> str | None:
    """The proxy of the environment that leads there; none for servers of this machine."""
    parts = urlsplit(address.base)
    if address.is_own or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


async def whole_lines(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream, each as soon as it is whole. Only a newline ends one: texts may hold other separators."""
    begun = b""
    async for part in parts:
        *lines, begun = (begun + part).split(b"\n")
        for line in lines:
            yield line
    yield begun


def _cause_of(error: BaseException) -> BaseException:
    """The first of the exceptions that led to it: the libraries between wrap what the system says."""
    while before := error.__cause__ or error.__context__:
        error = before
    return error


def _asked_wait(response: httpx2.Response) -> float:
    """Seconds after which a busy server wants to be asked again."""
    asked = response.headers.get("retry-after", "1")
    return min(float(asked), LONGEST_WAIT_SECONDS) if asked.isdecimal() else 1.0


def _json_or_none(content: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(content)
    return None
