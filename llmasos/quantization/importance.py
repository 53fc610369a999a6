"""Importance matrices: how much errors in a column of a weight matter, by the mean squares of what it is multiplied by.

Files are those of llama.cpp's llama-imatrix: a GGUF with `NAME.in_sum2` and `NAME.counts` for the weight `NAME`, or,
to read only, the older form, which has no mark of its own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.files import replaced_whole
from llmasos.formats.gguf import is_gguf
from llmasos.formats.gguf_tensors import GgufModel, open_gguf_model
from llmasos.native import Floats
from llmasos.quantization.header import PlacedTensor, Value, header_bytes
from llmasos.quantization.types import TYPES

SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
KEY = "quantize.imatrix."  # of the metadata in models that were quantized with a matrix
LONGEST_KEPT = 127  # bytes of a text that llama-quantize keeps there
ALIGNMENT = 32
MOST_ENTRIES, LONGEST_NAME = 1 << 20, 1 << 10  # of the older form, which is believed nothing
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class Activations:
    """Of what one weight is multiplied with: sums of squares (matrices, width) over so many rows (matrices)."""

    sums: npt.NDArray[np.float32] | npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @property
    def means(self) -> Floats:
        """The mean squares, float32 (matrices, width). Columns of a matrix that met nothing all weigh the same."""
        counts = self.counts.astype(np.float32)[:, None]
        found = self.sums.astype(np.float32) / np.maximum(counts, 1)
        return np.where(counts > 0, found, np.float32(1))


@dataclass(frozen=True, slots=True)
class Importance:
    """What a model was seen to do with a text: `entries` by the names of weights, over `chunk_count` pieces of text.

    `file` is what a model made with it calls it; `datasets` are names of the texts.
    """

    entries: Mapping[str, Activations]
    file: str
    datasets: tuple[str, ...] = ()
    chunk_count: int = 0
    chunk_size: int = 0

    def weights(self, name: str, shape: Sequence[int]) -> Floats | None:
        """For a tensor's columns, float32 (matrices, width); None if nothing is known of it, or is no use.

        Raises BadInputError if what is known is of a tensor of another shape.
        """
        entry = self.entries.get(name)
        if entry is None:
            return None
        width, matrices = shape[-1], shape[-3] if len(shape) > 2 else 1
        if entry.sums.size == width * matrices:
            return entry.means.reshape(matrices, width)
        if name == EMBEDDING:
            return None
        raise BadInputError(
            f"{self.file} is of another model: it has {entry.sums.size} numbers for `{name}`,"
            f" which has {width * matrices} columns",
            hint="collect one of this very model: --imatrix auto",
        )

    def require_fitting(self, names: Iterable[str]) -> None:
        """Raises BadInputError if it is of a model with more layers, or with other tensors altogether."""
        known = set(names)
        strange = sorted(set(self.entries) - known)
        layers = set(map(_layer, known))
        beyond = [name for name in strange if _layer(name) not in layers]
        if beyond or len(strange) == len(self.entries):
            raise BadInputError(
                f"{self.file} is of another model: it tells of `{(beyond or strange)[0]}`, which this one doesn't have",
                hint="collect one of this very model: --imatrix auto",
            )

    @property
    def metadata(self) -> dict[str, str | int]:
        """The keys by which llama-quantize notes what a model was quantized with."""
        found: dict[str, str | int] = {f"{KEY}file": _shortened(self.file)}
        if self.datasets:
            found[f"{KEY}dataset"] = _shortened(self.datasets[0])
        found[f"{KEY}entries_count"] = len(self.entries)
        if self.chunk_count > 0:
            found[f"{KEY}chunks_count"] = self.chunk_count
        return found


def read_importance(path: Path, *, called: str | None = None) -> Importance:
    """Reads a file of llama-imatrix's, of either form; `called` is what models made with it call it.

    Raises BadInputError for what is none, and CorruptModelError for one that is damaged.
    """
    if not path.is_file():
        raise BadInputError(f"there is no file {path}", hint="give an importance matrix, or `auto` to have one made")
    importance = _read_gguf(path, called) if is_gguf(path) else _read_older(path, called)
    for name, entry in importance.entries.items():
        if not np.isfinite(entry.sums).all() or (entry.sums < 0).any() or (entry.counts < 0).any():
            raise _damaged(path, f"`{name}` has numbers that no squares add up to")
    return importance


def write_importance(path: Path, importance: Importance) -> None:
    """Writes a GGUF as llama-imatrix does; it appears whole or not at all."""
    arrays: dict[str, Floats] = {}
    for name, entry in sorted(importance.entries.items(), key=lambda item: item[0].encode()):
        sums, counts = entry.sums.astype(np.float32), entry.counts.astype(np.float32)
        is_single = len(counts) == 1  # then ggml leaves the dimension out
        arrays[f"{name}{SUMS}"] = sums.reshape(-1) if is_single else sums
        arrays[f"{name}{COUNTS}"] = counts if is_single else counts[:, None]
    metadata: dict[str, Value] = {
        "general.type": "imatrix",
        DATASETS: importance.datasets,
        CHUNK_COUNT: importance.chunk_count,
        CHUNK_SIZE: importance.chunk_size,
    }
    contents = [array.tobytes() + bytes(-array.nbytes % ALIGNMENT) for array in arrays.values()]
    with replaced_whole(path) as temporary, temporary.open("wb") as file:
        file.write(header_bytes(metadata, _places(arrays)))
        file.writelines(contents)


def _places(arrays: Mapping[str, Floats]) -> list[PlacedTensor]:
    places, offset = [], 0
    for name, array in arrays.items():
        places.append(PlacedTensor(name, array.shape, TYPES["F32"], offset))
        offset += array.nbytes + -array.nbytes % ALIGNMENT
    return places


def _read_gguf(path: Path, called: str | None) -> Importance:
    model = open_gguf_model([path], whole=(DATASETS,))
    metadata = model.header.metadata
    datasets, chunk_count, chunk_size = (metadata.get(key) for key in (DATASETS, CHUNK_COUNT, CHUNK_SIZE))
    if not isinstance(datasets, list) or not isinstance(chunk_count, int) or not isinstance(chunk_size, int):
        kind = metadata.get("general.type", model.header.architecture)
        raise BadInputError(
            f"{path} is no importance matrix: it says that it is `{kind}`", hint="llmasos quantize MODEL --imatrix-only"
        )
    names = {name.removesuffix(each) for name in model.tensors for each in (SUMS, COUNTS) if name.endswith(each)}
    if not names:
        raise _damaged(path, "it tells of no tensor")
    entries = {name: _entry(model, name, path) for name in sorted(names)}
    return Importance(entries, called or str(path), tuple(map(str, datasets)), chunk_count, chunk_size)


def _entry(model: GgufModel, name: str, path: Path) -> Activations:
    both = [model.tensors.get(f"{name}{each}") for each in (SUMS, COUNTS)]
    arrays = [each.rows().view(np.float32).reshape(-1) for each in both if each is not None and each.type == "F32"]
    if len(arrays) < 2:
        raise _damaged(path, f"of `{name}` sums or counts are missing, or not F32")
    sums, counts = arrays
    if not counts.size or sums.size % counts.size or not np.isfinite(counts).all() or (abs(counts) > 2**52).any():
        raise _damaged(path, f"the counts of `{name}` are none")
    return Activations(sums.reshape(counts.size, -1), np.rint(counts).astype(np.int64))


def _read_older(path: Path, called: str | None) -> Importance:
    """Entries of a name, a number of chunks and the means times that; then the number of chunks, and the text's name.

    The latter two may be missing.
    """
    reader = _Reader(path)
    count = reader.number()
    if not 0 < count < MOST_ENTRIES:
        raise BadInputError(f"{path} is no importance matrix", hint="llmasos quantize MODEL --imatrix-only makes one")
    entries = dict(reader.entry() for _ in range(count))
    chunk_count = reader.number() if reader.rest else 0
    datasets = (reader.text(reader.number()),) if reader.rest else ()
    return Importance(entries, called or str(path), tuple(filter(None, datasets)), max(0, chunk_count))


class _Reader:
    """Takes values off the beginning of a file of the older form, and believes no length."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.rest = memoryview(path.read_bytes())
        except OSError as error:
            raise BadInputError(f"can't read {path}: {error.strerror or error}") from error

    def number(self) -> int:
        (found,) = struct.unpack("<i", self._take(4))
        return int(found)

    def text(self, length: int) -> str:
        if not 0 <= length <= LONGEST_NAME:
            raise _damaged(self._path, "a name in it is too long")
        return bytes(self._take(length)).decode("utf-8", "replace")

    def entry(self) -> tuple[str, Activations]:
        name, chunks, length = self.text(self.number()), self.number(), self.number()
        if length < 1:
            raise _damaged(self._path, f"`{name}` has no numbers")
        sums = np.frombuffer(self._take(4 * length), "<f4")
        return name, Activations(sums[None], np.array([max(chunks, 1)], np.int64))

    def _take(self, length: int) -> memoryview:
        if length > len(self.rest):
            raise _damaged(self._path, "it is cut off, or no importance matrix at all")
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken


def _damaged(path: Path, how: str) -> CorruptModelError:
    return CorruptModelError(f"{path} is damaged: {how}", hint="fetch it again, or have one made: --imatrix auto")


def _layer(name: str) -> str | None:
    found = re.match(r"blk\.(\d+)\.", name)
    return found[1] if found else None


def _shortened(text: str) -> str:
    return text.encode()[:LONGEST_KEPT].decode("utf-8", "ignore")
