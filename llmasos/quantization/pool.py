"""Work on tensors by all cores, its results in order: reading and writing stay in the thread that calls."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO

from llmasos.formats.floats import Array

CHUNK_ITEMS = 2**18  # weights: 1 MB as float32, 0.02 s of work for a K-quant
# For each worker: quick chunks that come first must not make others wait for slow ones.
CHUNKS_IN_FLIGHT = 8


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that drop what they have not begun as soon as something fails."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="llmasos-encode")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], Array]], most: int) -> Iterator[Array]:
    """What the tasks give, in their order; never more than `most` of them are begun and not yet taken."""
    in_flight: collections.deque[Future[Array]] = collections.deque()
    for task in tasks:
        in_flight.append(pool.submit(task))
        if len(in_flight) == most:
            yield in_flight.popleft().result()
    while in_flight:
        yield in_flight.popleft().result()


def cut(piece: Array, width: int, most_rows: int) -> Iterator[Array]:
    """Views of an array, one after the other, each of at most `most_rows` rows of `width` items. Copies nothing.

    So the parts of a transposed or regrouped view are made contiguous one by one, by whoever encodes them.
    """
    if piece.ndim == 1:
        piece = piece.reshape(-1, width)
    rows_each = piece[:1].size // width
    if rows_each > most_rows:
        for part in piece:
            yield from cut(part, width, most_rows)
        return
    step = most_rows // max(1, rows_each)
    for start in range(0, len(piece), step):
        yield piece[start : start + step]


def write_all(file: FileIO, content: Array) -> None:
    """A write to a file without a buffer may take less than it is given."""
    rest = memoryview(content.data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]
