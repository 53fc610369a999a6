"""The header of a safetensors file: names, types, shapes and places of its tensors, without the weights.

Written for files that nobody vouches for: the header's length is checked before it is read, and nothing in it is
believed before it fits the file. The layout is that of the safetensors format: eight bytes with the length of the
header, the header in JSON, then the tensors' bytes, little-endian, without holes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.stored import BITS, StoredTensor, is_possible_shape

LFS_POINTER = b"version https://git-lfs"
LONGEST_HEADER = 100_000_000  # the format's own limit
MOST_TENSORS = 200_000
MOST_DIGITS = 20  # those of 2^64


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What a safetensors file says of itself; `tensors` by name, in the order of their bytes."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, StoredTensor]
    file_bytes: int


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """Reads and checks the header of one safetensors file.

    Raises CorruptModelError if it is none, or is broken or cut off; BadInputError if it can't be read at all.
    """
    try:
        with path.open("rb") as file:
            file_bytes = file.seek(0, 2)
            file.seek(0)
            start = file.read(8)
            if start == LFS_POINTER[:8]:
                raise _BrokenError("it is what git keeps in place of a large file")
            length = int.from_bytes(start, "little")
            _check_length(length, file_bytes)
            return _parse(file.read(length), path, file_bytes)
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
    except _BrokenError as error:
        raise CorruptModelError(
            f"{path} is not a usable safetensors file: {error}",
            hint="fetch it again (in a clone, by `git lfs pull`); it may have been cut off or damaged",
        ) from error


class _BrokenError(Exception):
    """The reason that a header is refused."""


def _check_length(length: int, file_bytes: int) -> None:
    if file_bytes < 8 or length > file_bytes - 8:
        raise _BrokenError(f"its header is {length} bytes long and the file {file_bytes}")
    if length > LONGEST_HEADER:
        raise _BrokenError(f"its header is {length} bytes long; {LONGEST_HEADER} are allowed")


def _parse(header: bytes, path: Path, file_bytes: int) -> SafetensorsHeader:
    entries = _parse_json(header)
    metadata = _check_metadata(entries.pop("__metadata__", {}))
    data_offset = 8 + len(header)
    tensors = [_parse_tensor(name, entry, path, data_offset) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, _size(tensor)))
    _check_places(tensors, data_offset, file_bytes)
    return SafetensorsHeader(metadata, {tensor.name: tensor for tensor in tensors}, file_bytes)


def _parse_json(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise _BrokenError("its header does not begin with `{`")
    try:
        entries = json.loads(
            header.decode("utf-8"), object_pairs_hook=_unique_names, parse_int=_parse_int, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested beyond reason
        raise _BrokenError("its header is not JSON") from error
    if not isinstance(entries, dict):
        raise _BrokenError("its header is not a JSON object")
    return entries


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_TENSORS:
        raise _BrokenError(f"its header has {len(pairs)} entries")
    entries = dict(pairs)
    if len(entries) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise _BrokenError(f"its header names {_shown(name)} twice")
    return entries


def _parse_int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise _BrokenError(f"a number of {len(digits)} digits stands in its header")
    return int(digits)


def _refuse(constant: str) -> NoReturn:
    raise _BrokenError(f"{constant} stands in its header")


def _check_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _BrokenError("its metadata are not texts by name")
    return metadata


def _parse_tensor(name: str, entry: Any, path: Path, data_offset: int) -> StoredTensor:
    if not name.isprintable():
        raise _BrokenError(f"a tensor is called {_shown(name)}")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _BrokenError(f"`{name}` has not just a dtype, a shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _BrokenError(f"`{name}` has the unknown type {_shown(dtype)}")
    if not _are_counts(shape) or not is_possible_shape(tuple(shape), dtype):
        raise _BrokenError(f"`{name}` has the shape {_shown(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _BrokenError(f"`{name}` lies at {_shown(offsets)}")
    begin, end = offsets
    tensor = StoredTensor(name, dtype, tuple(shape), path, data_offset + begin, dtype)
    if math.prod(shape) * BITS[dtype] % 8 or end - begin != _size(tensor):
        raise _BrokenError(f"`{name}` has {end - begin} bytes; {dtype} of shape {shape} takes {_size(tensor)}")
    return tensor


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


def _check_places(tensors: list[StoredTensor], data_offset: int, file_bytes: int) -> None:
    """Refuses overlaps, and the holes in which another file could hide: the format has none."""
    end = data_offset
    for tensor in tensors:
        if tensor.offset + _size(tensor) > file_bytes:
            raise _BrokenError(f"`{tensor.name}` reaches beyond the end of the file")
        if tensor.offset < end:
            raise _BrokenError(f"`{tensor.name}` overlaps another tensor")
        if tensor.offset > end:
            raise _BrokenError(f"{tensor.offset - end} bytes before `{tensor.name}` belong to no tensor")
        end += _size(tensor)
    if end < file_bytes:
        raise _BrokenError(f"its last {file_bytes - end} bytes belong to no tensor")


def _size(tensor: StoredTensor) -> int:
    """In bytes."""
    return tensor.weight_count * BITS[tensor.stored_as] // 8


def _shown(value: Any) -> str:
    """A stranger's value for a message: on one line, and not a long one."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
