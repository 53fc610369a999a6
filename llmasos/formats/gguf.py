"""The header of a GGUF file: its metadata and its tensors' places, without the weights.

Written for files that nobody vouches for: every length is checked against the file before it is believed, long arrays
and texts are walked over and not kept, what is kept has a limit, and nothing but `CorruptModelError` comes out. The
layout is that of ggml's `docs/gguf.md`, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmasos.errors import BadInputError, CorruptModelError

MAGIC = b"GGUF"
STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
SCALAR_BYTES = {kind: struct.calcsize(code) for kind, code in SCALARS.items()}

LONGEST_KEPT_ARRAY = 1024  # per-layer numbers are kept, vocabularies are not
LONGEST_KEPT_TEXT = 1024**2  # chat templates are kept, whole tokenizer files are not
MOST_KEPT_BYTES = 8 * 1024**2  # of names, texts and arrays together
MOST_STRINGS = 10_000_000  # in arrays; walking over so many takes a second
LONGEST_KEY = 65535
MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
MOST_TENSORS = 100_000
MOST_METADATA = 100_000
WIDEST_DIMENSION = 2**48

# name, weights in one quantization block, bytes of that block; from ggml's type traits
TENSOR_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}

# general.file_type -> the mix's name; from llama.h's llama_ftype
FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0", 41: "Q2_0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """Stands in the metadata for an array that was too long to keep, or of strings."""

    length: int


@dataclass(frozen=True, slots=True)
class SkippedText:
    """Stands in the metadata for a text that was too long to keep."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    name: str
    shape: tuple[int, ...]  # the fastest-running dimension first, as in ggml
    type_id: int
    offset: int  # in bytes, from the start of the data section

    @property
    def type_name(self) -> str:
        return TENSOR_TYPES[self.type_id][0]

    @property
    def weight_count(self) -> int:
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count

    @property
    def size(self) -> int:
        """In bytes."""
        _, block_weights, block_bytes = TENSOR_TYPES[self.type_id]
        return self.weight_count // block_weights * block_bytes


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself. `data_offset` and `file_bytes` count from the start of the file.

    `value_places` are where the metadata's values begin, with their types, and where they end: kept or skipped.
    """

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    file_bytes: int
    value_places: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", "unknown"))

    def number(self, key: str, default: int | None = None) -> int | None:
        """The integer under `<architecture>.<key>`; of an array, its largest."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
            return int(max(value))
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def numbers(self, key: str, count: int, default: int) -> tuple[int, ...]:
        """`count` integers under `<architecture>.<key>`: an array as it is, a single number repeated."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list) and len(value) >= count and all(isinstance(each, int) for each in value):
            return tuple(int(each) for each in value[:count])
        return (int(value) if isinstance(value, int) else default,) * count

    @property
    def parameter_count(self) -> int:
        return sum(tensor.weight_count for tensor in self.tensors)

    @property
    def quantization(self) -> str:
        """The mix that the file names, or the type that most of its bytes have."""
        stated = self.metadata.get("general.file_type")
        if isinstance(stated, int) and stated in FILE_TYPES:
            return FILE_TYPES[stated]
        totals: dict[str, int] = {}
        for tensor in self.tensors:
            totals[tensor.type_name] = totals.get(tensor.type_name, 0) + tensor.size
        return max(totals, key=lambda name: totals[name], default="unknown")

    @property
    def shard_count(self) -> int:
        """How many files the model is split over: 1 for a whole one."""
        count = self.metadata.get("split.count", 1)
        return count if isinstance(count, int) and count > 0 else 1

    @property
    def shard_index(self) -> int:
        """Which of them this is, from 0."""
        index = self.metadata.get("split.no", 0)
        return index if isinstance(index, int) else 0


def read_header(path: Path, *, whole: Collection[str] = ()) -> GgufHeader:
    """Reads and checks the header of one GGUF file. Arrays under the keys `whole` are kept, however long they are.

    Raises CorruptModelError if it is none, or is broken or cut off; BadInputError if it can't be read at all.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 24:
                raise CorruptModelError(f"{path} is no GGUF file: it has only {size} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _parse(content, size, str(path), whole)
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error


def parse_header(content: bytes, name: str = "the file", file_bytes: int | None = None) -> GgufHeader:
    """As `read_header`, from the first bytes of a file that is `file_bytes` long in all."""
    return _parse(content, len(content) if file_bytes is None else file_bytes, name)


def is_gguf(path: Path) -> bool:
    """True if the file begins as a GGUF file does. Raises BadInputError if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error


def _parse(content: bytes | mmap.mmap, file_bytes: int, name: str, whole: Collection[str] = ()) -> GgufHeader:
    reader = _Reader(content)
    try:
        header = _parse_parts(reader, file_bytes, whole)
    except (struct.error, _BrokenError, UnicodeDecodeError, OverflowError) as error:
        reason = str(error) if isinstance(error, _BrokenError) else f"it ends or breaks at byte {reader.position}"
        raise CorruptModelError(
            f"{name} is not a usable GGUF file: {reason}", hint="fetch it again; it may have been cut off or damaged"
        ) from error
    return header


def _parse_parts(reader: _Reader, file_bytes: int, whole: Collection[str]) -> GgufHeader:
    if reader.take(4) != MAGIC:
        raise _BrokenError("it does not begin with `GGUF`")
    version = reader.scalar("<I")
    if version not in (2, 3):
        raise _BrokenError(f"its version is {version}; versions 2 and 3 in little-endian order are known")
    tensor_count, metadata_count = reader.scalar("<Q"), reader.scalar("<Q")
    if tensor_count > MOST_TENSORS or metadata_count > MOST_METADATA:
        raise _BrokenError(f"it claims {tensor_count} tensors and {metadata_count} metadata entries")
    metadata, places = _read_metadata(reader, metadata_count, whole)
    tensors = _read_tensors(reader, tensor_count)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise _BrokenError(f"its alignment is {alignment!r}")
    data_offset = -(-reader.position // alignment) * alignment
    _check_tensors(tensors, alignment, data_offset, file_bytes)
    return GgufHeader(version, metadata, tensors, data_offset, file_bytes, places)


class _BrokenError(Exception):
    """The reason that a header is refused."""


class _Reader:
    """A position in the header; every read is checked against the end."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self.content = content
        self.end = len(content)
        self.position = 0
        self._kept = self._strings = 0

    def take(self, count: int) -> bytes:
        start = self.position
        self._move(count)
        self._kept += count
        if self._kept > MOST_KEPT_BYTES:
            raise _BrokenError(f"its names and texts are longer than {MOST_KEPT_BYTES} bytes")
        return self.content[start : self.position]

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(code, self.content, self.position)
        self.position += struct.calcsize(code)
        return value

    def name(self) -> str:
        length = self.scalar("<Q")
        if length > LONGEST_KEY:
            raise _BrokenError(f"a name of {length} bytes stands at byte {self.position}")
        return self.take(length).decode("utf-8")

    def text(self) -> str | SkippedText:
        length = self.scalar("<Q")
        if length > LONGEST_KEPT_TEXT:
            self.skip(length)
            return SkippedText(length)
        return self.take(length).decode("utf-8", "replace")

    def scalars(self, code: str, count: int, *, limited: bool = True) -> list[Any]:
        start, size = self.position, count * struct.calcsize(code)
        content = self.take(size) if limited else self.content[start : start + size]
        self.position = start + size
        return list(struct.unpack(f"<{count}{code[1]}", content))

    def strings(self, count: int) -> list[str]:
        """`count` strings, of any length together."""
        start = self.position
        self.skip_strings(count)
        unpack, content, position, found = struct.Struct("<Q").unpack_from, self.content, start, []
        for _ in range(count):
            begin = position + 8
            position = begin + unpack(content, position)[0]
            found.append(content[begin:position].decode("utf-8"))
        return found

    def skip_strings(self, count: int) -> None:
        """Walks over `count` strings: vocabularies have 260,000, so this loop is kept bare."""
        self._strings += count
        if self._strings > MOST_STRINGS:
            raise _BrokenError(f"its arrays hold {self._strings} strings")
        unpack, content, position, end = struct.Struct("<Q").unpack_from, self.content, self.position, self.end
        for _ in range(count):
            position += 8 + unpack(content, position)[0]
            if position > end:
                raise _BrokenError(f"a string reaches beyond the end of the header, near byte {self.position}")
        self.position = position

    def skip(self, count: int) -> None:
        self._move(count)

    def _move(self, count: int) -> None:
        if count > self.end - self.position:
            raise _BrokenError(f"{count} bytes are missing after byte {self.position}")
        self.position += count


def _read_metadata(
    reader: _Reader, count: int, whole: Collection[str]
) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    metadata: dict[str, Any] = {}
    places: dict[str, tuple[int, int]] = {}
    for _ in range(count):
        key = reader.name()
        if key in metadata:
            raise _BrokenError(f"the metadata names `{key}` twice")
        start = reader.position
        metadata[key] = _read_value(reader, reader.scalar("<I"), key in whole)
        places[key] = (start, reader.position)
    return metadata, places


def _read_value(reader: _Reader, kind: int, is_whole: bool) -> Any:
    if kind in SCALARS:
        return reader.scalar(SCALARS[kind])
    if kind == STRING:
        return reader.text()
    if kind == ARRAY:
        return _read_array(reader, is_whole)
    raise _BrokenError(f"a value of the unknown type {kind} stands at byte {reader.position}")


def _read_array(reader: _Reader, is_whole: bool) -> list[Any] | SkippedArray:
    kind, length = reader.scalar("<I"), reader.scalar("<Q")
    if kind == STRING:
        if length > (reader.end - reader.position) // 8:
            raise _BrokenError(f"an array of {length} strings stands at byte {reader.position}")
        if is_whole:
            return reader.strings(length)
        reader.skip_strings(length)
        return SkippedArray(length)
    if kind not in SCALARS:
        raise _BrokenError(f"an array of the unknown type {kind} stands at byte {reader.position}")
    if length > LONGEST_KEPT_ARRAY and not is_whole:
        reader.skip(length * SCALAR_BYTES[kind])
        return SkippedArray(length)
    return reader.scalars(SCALARS[kind], length, limited=not is_whole)


def _read_tensors(reader: _Reader, count: int) -> tuple[TensorInfo, ...]:
    tensors = []
    for _ in range(count):
        name = reader.name()
        dimensions = reader.scalar("<I")
        if dimensions > MOST_DIMENSIONS:
            raise _BrokenError(f"the tensor `{name}` has {dimensions} dimensions")
        shape = tuple(reader.scalar("<Q") for _ in range(dimensions))
        type_id, offset = reader.scalar("<I"), reader.scalar("<Q")
        if type_id not in TENSOR_TYPES:
            raise _BrokenError(f"the tensor `{name}` has the unknown type {type_id}")
        tensors.append(TensorInfo(name, shape, type_id, offset))
    return tuple(tensors)


def _check_tensors(tensors: tuple[TensorInfo, ...], alignment: int, data_offset: int, file_bytes: int) -> None:
    names, end = set(), 0
    for tensor in sorted(tensors, key=lambda each: each.offset):
        if tensor.name in names:
            raise _BrokenError(f"the tensor `{tensor.name}` stands in it twice")
        names.add(tensor.name)
        if any(not 0 < dimension < WIDEST_DIMENSION for dimension in tensor.shape):
            raise _BrokenError(f"the tensor `{tensor.name}` has the shape {tensor.shape}")
        if (tensor.shape or (1,))[0] % TENSOR_TYPES[tensor.type_id][1]:
            raise _BrokenError(f"the tensor `{tensor.name}` has rows that {tensor.type_name} can't divide")
        if tensor.offset % alignment:
            raise _BrokenError(f"the tensor `{tensor.name}` is not aligned to {alignment} bytes")
        if data_offset + tensor.offset + tensor.size > file_bytes:
            raise _BrokenError(f"the tensor `{tensor.name}` reaches beyond the end of the file")
        if tensor.offset < end:
            raise _BrokenError(f"the tensor `{tensor.name}` overlaps another one")
        end = tensor.offset + tensor.size
