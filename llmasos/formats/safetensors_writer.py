"""The frame of safetensors files to be written: headers, how a checkpoint is cut into files, and its index.

The layout is that of the safetensors format: eight bytes with the length of the header, the header in JSON, then the
tensors' bytes, little-endian, without holes. Who writes appends the bytes, tensor by tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.formats.stored import BITS

ALIGNMENT = 8  # of the first tensor's bytes: the header is padded with spaces
METADATA = {"format": "pt"}  # transformers refuses files that don't name their framework
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class TensorToWrite:
    """A tensor's name, its type as safetensors calls it, and its shape, the slowest-running dimension first."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def byte_count(self) -> int:
        return math.prod(self.shape) * BITS[self.dtype] // 8


@dataclass(frozen=True, slots=True)
class FileToWrite:
    """One file of a checkpoint: its name, and its tensors in the order of their bytes."""

    name: str
    tensors: tuple[TensorToWrite, ...]

    @property
    def header(self) -> bytes:
        """All that stands before the first tensor's bytes."""
        entries: dict[str, object] = {"__metadata__": METADATA}
        offset = 0
        for tensor in self.tensors:
            end = offset + tensor.byte_count
            entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (offset, end)}
            offset = end
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        return len(text).to_bytes(8, "little") + text

    @property
    def byte_count(self) -> int:
        return len(self.header) + sum(tensor.byte_count for tensor in self.tensors)


def plan_files(tensors: Sequence[TensorToWrite], most_bytes: int) -> list[FileToWrite]:
    """The files of a checkpoint, named as transformers names them; none holds more bytes of tensors than `most_bytes`.

    A tensor that is larger has a file to itself. The order of the tensors is kept.
    """
    groups: list[list[TensorToWrite]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and size + tensor.byte_count > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.byte_count
    if len(groups) == 1:
        return [FileToWrite("model.safetensors", tuple(groups[0]))]
    return [
        FileToWrite(f"model-{number:05d}-of-{len(groups):05d}.safetensors", tuple(group))
        for number, group in enumerate(groups, 1)
    ]


def index_text(files: Sequence[FileToWrite]) -> str:
    """What the index of a checkpoint of several files says: in which of them each tensor is."""
    total = sum(tensor.byte_count for file in files for tensor in file.tensors)
    places = {tensor.name: file.name for file in files for tensor in file.tensors}
    return json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=2) + "\n"
