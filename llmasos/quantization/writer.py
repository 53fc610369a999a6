"""One pass from arrays to a GGUF file: read, made float32, encoded by all cores, written; a few megabytes at a time.

Whoever converts or quantizes a model says what tensors there will be and how to read each; the file's size is known
before the first is read. The thread that calls is the one that reads and writes, so that Ctrl-C is noticed at once.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmasos.files import disk_full_is_an_error, replaceable, require_room
from llmasos.formats.floats import Array
from llmasos.hardware.machine import usable_cores
from llmasos.native import Floats
from llmasos.progress import Progress
from llmasos.quantization.encode import encode
from llmasos.quantization.header import ALIGNMENT_KEY, PlacedTensor, Typed, Value, alignment_of, header_bytes
from llmasos.quantization.mixes import layer_then_name
from llmasos.quantization.pool import CHUNK_ITEMS, CHUNKS_IN_FLIGHT, cut, in_order, worker_pool, write_all
from llmasos.quantization.reencode import reencode
from llmasos.quantization.types import TYPES
from llmasos.quantization.unfinished import written_whole


@dataclass(frozen=True)
class TensorJob:
    """A tensor to write. The shape's slowest-running dimension stands first, as in NumPy; `type` is a tensor type.

    `pieces` yields arrays one after the other that together are the tensor, flattened: float32, float16, float64,
    uint16 for BF16 (`formats.floats`), or uint8 for rows that are encoded already: in the type itself, or else in the
    one that `stored_as` names, and then they are looked at too. A piece may be a view of a mapped file of any size, and
    need not be contiguous; what lies at each index of its first dimension are whole rows, unless it has but one
    dimension. `importance`, float32 (matrices, width), weighs the columns of each of the matrices that the rows are.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    pieces: Callable[[], Iterable[Array]]
    stored_as: str | None = None
    importance: Floats | None = None

    @property
    def width(self) -> int:
        """Weights in a row."""
        return self.shape[-1]

    @property
    def row_count(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def row_bytes(self) -> int:
        return TYPES[self.type].row_bytes(self.width)

    @property
    def byte_count(self) -> int:
        return self.row_count * self.row_bytes


@dataclass(frozen=True, slots=True)
class _Shard:
    """One file to be written: header, then the tensors' data, each padded to the alignment."""

    header: bytes
    jobs: tuple[TensorJob, ...]
    alignment: int

    @property
    def size(self) -> int:
        return len(self.header) + sum(_padded(job.byte_count, self.alignment) for job in self.jobs)


def write_gguf(
    path: Path,
    metadata: Mapping[str, Value],
    jobs: Iterable[TensorJob],
    *,
    progress: Progress,
    split_max_bytes: int = 0,
    part_lengths: Sequence[int] = (),
    workers: int = 0,
) -> list[Path]:
    """Writes a model and returns its files: `path`, or `NAME-00001-of-00003.gguf` and so on beside it if it is split.

    Tensors are written in llama.cpp's order, keys in that of `metadata`. With `split_max_bytes` a file takes no more
    bytes of tensors than that, a larger tensor a file alone; the first file has all metadata. With `part_lengths`, the
    numbers of tensors in each file, they are written as they come. `workers` threads encode, as many as there are cores
    if 0. Until all is written nothing has its final name; if it fails, nothing stays.

    Raises DiskFullError before anything is read if there is no room, BusyError if another process writes the same file,
    BadInputError for weights that a type can't hold, and what `pieces` raises.
    """
    path = replaceable(path)
    shards = _plan(metadata, jobs, split_max_bytes, part_lengths)
    paths = part_paths(path, len(shards))
    total = sum(shard.size for shard in shards)
    workers = workers or usable_cores()
    done = 0
    with (
        disk_full_is_an_error(path),
        progress.work(f"writing {path.name}", total),
        written_whole(paths) as files,
        worker_pool(workers) as pool,
    ):
        require_room(path.parent, total, path.name)
        for shard, file in zip(shards, files, strict=True):
            for content in _contents(shard, pool, CHUNKS_IN_FLIGHT * workers):
                write_all(file, content)
                done += content.nbytes
                progress.update(done)
    return paths


def planned_size(
    metadata: Mapping[str, Value],
    jobs: Iterable[TensorJob],
    *,
    split_max_bytes: int = 0,
    part_lengths: Sequence[int] = (),
) -> int:
    """The exact size in bytes, of all files together, of what `write_gguf` will write. Reads no tensor."""
    return sum(shard.size for shard in _plan(metadata, jobs, split_max_bytes, part_lengths))


def _plan(
    metadata: Mapping[str, Value], jobs: Iterable[TensorJob], split_max_bytes: int, part_lengths: Sequence[int]
) -> list[_Shard]:
    listed = list(jobs)
    if len({job.name for job in listed}) < len(listed):
        raise ValueError("two tensors have the same name")
    groups, alignment = _groups(listed, split_max_bytes, part_lengths), alignment_of(metadata)
    shards = []
    for index, group in enumerate(groups):
        own = _shard_metadata(metadata, index, len(groups), len(listed))
        shards.append(_Shard(header_bytes(own, _places(group, alignment)), tuple(group), alignment))
    return shards


def _groups(jobs: list[TensorJob], split_max_bytes: int, part_lengths: Sequence[int]) -> list[list[TensorJob]]:
    """The tensors of each file."""
    if not part_lengths:
        return _split(sorted(jobs, key=lambda job: layer_then_name(job.name)), split_max_bytes)
    if sum(part_lengths) != len(jobs):
        raise ValueError(f"parts of {sum(part_lengths)} tensors can't hold {len(jobs)}")
    ends = itertools.accumulate(part_lengths)
    return [jobs[end - length : end] for length, end in zip(part_lengths, ends, strict=True)]


def _split(jobs: Sequence[TensorJob], most_bytes: int) -> list[list[TensorJob]]:
    groups: list[list[TensorJob]] = [[]]
    size = 0
    for job in jobs:
        if most_bytes and groups[-1] and size + job.byte_count > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(job)
        size += job.byte_count
    return groups


def _shard_metadata(metadata: Mapping[str, Value], index: int, count: int, tensor_count: int) -> Mapping[str, Value]:
    """A shard's own metadata; the alignment is needed in each, since each is read by itself."""
    if count == 1:
        return metadata
    shared = metadata if index == 0 else {key: metadata[key] for key in (ALIGNMENT_KEY,) if key in metadata}
    return {
        **shared,
        "split.no": Typed(index, "UINT16"),
        "split.count": Typed(count, "UINT16"),
        "split.tensors.count": Typed(tensor_count, "INT32"),
    }


def part_paths(path: Path, count: int) -> list[Path]:
    """The files of a model in so many parts that is to be written to a path."""
    if count == 1:
        return [path]
    stem = path.name.removesuffix(".gguf")
    return [path.with_name(f"{stem}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]


def _places(jobs: Iterable[TensorJob], alignment: int) -> list[PlacedTensor]:
    places, offset = [], 0
    for job in jobs:
        if not TYPES[job.type].divides(job.width):
            raise ValueError(f"{job.type} does not divide the rows of `{job.name}`, which are {job.width} wide")
        places.append(PlacedTensor(job.name, job.shape, TYPES[job.type], offset))
        offset += _padded(job.byte_count, alignment)
    return places


def _contents(shard: _Shard, pool: ThreadPoolExecutor, most: int) -> Iterator[Array]:
    """The bytes of a shard, part by part."""
    yield np.frombuffer(shard.header, np.uint8)
    yield from in_order(pool, _tasks(shard), most)


def _tasks(shard: _Shard) -> Iterator[Callable[[], Array]]:
    """The work of a shard in the order of its bytes: chunks to encode, and what pads a tensor."""
    for job in shard.jobs:
        rows = 0
        for piece in job.pieces():
            length = TYPES[job.stored_as or job.type].row_bytes(job.width) if piece.dtype == np.uint8 else job.width
            for chunk in cut(piece, length, max(1, CHUNK_ITEMS // max(length, job.width))):
                yield functools.partial(_encode, chunk, length, job, rows)
                rows += chunk.size // length
        if rows != job.row_count:
            raise ValueError(f"the pieces of `{job.name}` hold {rows} rows; its shape has {job.row_count}")
        if padding := -job.byte_count % shard.alignment:
            yield functools.partial(np.zeros, padding, np.uint8)


def _encode(chunk: Array, length: int, job: TensorJob, first_row: int) -> Array:
    """The rows of a chunk, encoded; `first_row` is the place of its first in the tensor."""
    rows = np.ascontiguousarray(chunk).reshape(-1, length)
    if job.importance is None:
        return _encode_rows(rows, job, None)
    each = job.row_count // len(job.importance)
    starts = [0, *range(each - first_row % each, len(rows), each)]
    parts = zip(starts, np.split(rows, starts[1:]), strict=True)
    encoded = [_encode_rows(part, job, job.importance[(first_row + start) // each]) for start, part in parts]
    return encoded[0] if len(encoded) == 1 else np.concatenate(encoded)


def _encode_rows(rows: Array, job: TensorJob, importance: Floats | None) -> Array:
    if rows.dtype != np.uint8:
        return encode(rows, job.type, job.name, importance)
    return rows if job.stored_as is None else reencode(rows, job.stored_as, job.type, job.name, importance)


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
