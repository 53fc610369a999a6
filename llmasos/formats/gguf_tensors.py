"""The tensors of a GGUF model, over one file or several, as rows of bytes; its metadata with the vocabulary whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.floats import Array
from llmasos.formats.gguf import TENSOR_TYPES, GgufHeader, TensorInfo, read_header
from llmasos.formats.stored import StoredTensor, map_tensor

VOCABULARY = tuple(f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores", "merges"))


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor of a GGUF. The shape's slowest-running dimension stands first, as in NumPy; `type` is a tensor type."""

    name: str
    type: str
    shape: tuple[int, ...]
    place: StoredTensor  # its bytes (rows, bytes of a row)

    def rows(self) -> Array:
        """The bytes (rows, bytes of a row), mapped for as long as the array lives. Raises as `map_tensor` does."""
        return map_tensor(self.place)


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A model of one or several files: `header` is the first one's with the tensors of all, offsets as they were."""

    header: GgufHeader
    tensors: Mapping[str, GgufTensor]


def open_gguf_model(paths: Sequence[Path], *, whole: Collection[str] = VOCABULARY) -> GgufModel:
    """Reads the headers of a model's files, given in order, with the arrays under the keys `whole` in full length.

    Raises what `read_header` does, and CorruptModelError if the files are not all the parts of one model.
    """
    headers = [read_header(path, whole=whole) for path in paths]
    first = headers[0]
    if first.shard_count != len(paths) or [header.shard_index for header in headers] != list(range(len(paths))):
        raise CorruptModelError(
            f"{paths[0]} is one of {first.shard_count} parts, and not all of them are there",
            hint="fetch the missing parts into the same folder, without renaming them",
        )
    found = [
        _tensor(info, header, path) for header, path in zip(headers, paths, strict=True) for info in header.tensors
    ]
    tensors = {tensor.name: tensor for tensor in found}
    if len(tensors) < len(found):
        raise CorruptModelError(f"the parts of {paths[0]} hold a tensor twice", hint="fetch the model again")
    return GgufModel(replace(first, tensors=tuple(info for header in headers for info in header.tensors)), tensors)


def _tensor(info: TensorInfo, header: GgufHeader, path: Path) -> GgufTensor:
    _, block_weights, block_bytes = TENSOR_TYPES[info.type_id]
    shape = info.shape[::-1]
    if not shape:
        raise BadInputError(f"the tensor `{info.name}` in {path} has no dimensions")
    rows = (math.prod(shape[:-1]), shape[-1] // block_weights * block_bytes)
    place = StoredTensor(info.name, "U8", rows, path, header.data_offset + info.offset, "U8")
    return GgufTensor(info.name, info.type_name, shape, place)
