"""Work that takes long in threads of the server, which may end while it goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from llmasos.api.loops import call_in

Result = TypeVar("Result")


def in_own_thread(work: Callable[[], Result]) -> asyncio.Future[Result]:
    """Does work that neither the end of its task nor that of the process is kept waiting for, such as a download."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    future.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody has to be told

    def settle(error: BaseException | None, result: Result | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            call_in(loop, settle, None, work())
        except BaseException as error:  # it belongs to the one who waits
            call_in(loop, settle, error, None)

    threading.Thread(target=run, name="llmasos-work", daemon=True).start()
    return future
