"""A checkpoint as it is published: a folder with weights in one file or many, seen as one set of tensors by name.

Files are chosen, checked against their index and against each other, and 8-bit weights become float32 on their way in;
whoever reads a tensor need not know how it is stored. Nothing is loaded by opening: a tensor is mapped when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.checkpoint_names import find_weights
from llmasos.formats.floats import Array
from llmasos.formats.fp8 import (
    FP8_TYPES,
    BlockSize,
    decode_fp8,
    dequantize,
    find_scales,
    find_unused,
    fits_blocks,
    fits_rows,
    parse_quantization,
)
from llmasos.formats.safetensors import read_safetensors_header
from llmasos.formats.stored import StoredTensor, map_tensor
from llmasos.formats.torch_archive import read_torch_archive

LONGEST_INDEX = 100_000_000  # in bytes
MOST_SHOWN_PROBLEMS = 10
FETCH_HINT = "fetch the checkpoint again; files are missing or damaged"


@dataclass(frozen=True, slots=True)
class Scale:
    """What a quantized weight is multiplied with: by rows, or by blocks of `block_size`."""

    tensor: StoredTensor
    block_size: BlockSize | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of a folder, by name. `size` is that of `files`, in bytes.

    Of weights in 8-bit floating point `tensors` says F32, as `read` gives them; their scales don't appear.
    """

    folder: Path
    files: tuple[Path, ...]
    size: int
    tensors: Mapping[str, StoredTensor]
    scales: Mapping[str, Scale]

    def read(self, name: str) -> Array:
        """One tensor, its slowest-running dimension first, contiguous and aligned; BF16 by its bits, as in `floats`.

        A read-only view of the file wherever that is possible; one new array for weights in 8-bit floating point and
        for the few that lie unaligned or transposed. Raises KeyError if there is no such tensor, BadInputError if its
        type can't be read or its file is gone.
        """
        tensor = self.tensors[name]
        stored = np.require(map_tensor(tensor), requirements=["C", "A"])
        if scale := self.scales.get(name):
            return dequantize(stored, tensor.stored_as, map_tensor(scale.tensor), scale.block_size)
        if tensor.stored_as in FP8_TYPES:
            return decode_fp8(stored, tensor.stored_as)
        return stored


def open_checkpoint(folder: Path, quantization: Mapping[str, object] | None = None) -> Checkpoint:
    """Opens a folder with weights; `quantization` is the `quantization_config` of its config.json.

    All headers are read and everything is checked that can be without reading weights. Raises BadInputError with all
    that is wrong, and CorruptModelError if that is one broken file.
    """
    block_size = parse_quantization(quantization)
    places = dict[str, str]()

    def files_in_index(name: str) -> Iterable[str]:
        places.update(_read_index(folder / name))
        return places.values()

    weights = find_weights(_list_files(folder), files_in_index)
    if not weights:
        raise BadInputError(
            f"{folder} holds no weights in safetensors or in PyTorch's format",
            hint="a checkpoint has a file `model.safetensors`, or parts of it with their index",
        )
    files = tuple(folder / name for name in weights.present)
    problems: list[BadInputError] = [
        CorruptModelError(f"{folder / name} is missing", hint=FETCH_HINT) for name in weights.missing
    ]
    expected = {name: folder / file for name, file in places.items()}
    stored = _merge(_read_headers(files, problems), expected, problems)
    tensors, scales = _pair_scales(stored, block_size, problems)
    _raise_all(problems, folder)
    return Checkpoint(folder, files, sum(file.stat().st_size for file in files), tensors, scales)


def _list_files(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise BadInputError(f"can't read {folder}: {error.strerror or error}") from error


def _read_index(path: Path) -> dict[str, str]:
    """The file of each tensor. Raises CorruptModelError for anything but names of files in the same folder."""
    try:
        if path.stat().st_size > LONGEST_INDEX:
            raise CorruptModelError(f"{path} is longer than {LONGEST_INDEX} bytes", hint=FETCH_HINT)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptModelError(f"{path} is not JSON", hint=FETCH_HINT) from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise CorruptModelError(f"{path} has no `weight_map`", hint=FETCH_HINT)
    for name, file in places.items():
        if not isinstance(file, str) or not file.isprintable() or file in ("", ".", "..") or re.search(r"[/\\:]", file):
            raise CorruptModelError(
                f"{path} puts {ascii(name)[:80]} into {ascii(file)[:80]}, which is no file beside it"
            )
    return places


def _read_headers(files: Sequence[Path], problems: list[BadInputError]) -> dict[Path, Mapping[str, StoredTensor]]:
    """The tensors of each file that can be read."""
    headers = {}
    for file in files:
        try:
            is_safetensors = file.suffix == ".safetensors"
            headers[file] = read_safetensors_header(file).tensors if is_safetensors else read_torch_archive(file)
        except BadInputError as error:
            problems.append(error)
    return headers


def _merge(
    headers: Mapping[Path, Mapping[str, StoredTensor]], places: Mapping[str, Path], problems: list[BadInputError]
) -> dict[str, StoredTensor]:
    """The tensors of all files. One that the index does not list is taken too, one that is twice there is not."""
    merged: dict[str, StoredTensor] = {}
    for file, tensors in headers.items():
        for name, tensor in tensors.items():
            if name in merged:
                problems.append(CorruptModelError(f"`{name}` is both in {merged[name].path} and in {file}"))
            merged[name] = tensor
    for name, file in places.items():
        if name not in headers.get(file, {name}):
            problems.append(CorruptModelError(f"`{ascii(name)[1:-1]}` is not in {file}, where the index puts it"))
    return merged


def _pair_scales(
    stored: Mapping[str, StoredTensor], block_size: BlockSize | None, problems: list[BadInputError]
) -> tuple[dict[str, StoredTensor], dict[str, Scale]]:
    """The tensors as a reader sees them, and the scales of those that have one."""
    scale_names = find_scales(stored)
    if block_size is None:
        if scaled := [name for name in scale_names if name in stored and stored[name].stored_as in FP8_TYPES]:
            where = _shown(stored[scaled[0]])
            problems.append(BadInputError(f"{where} has a scale, and config.json no quantization_config"))
        return {name: _as_read(tensor) for name, tensor in stored.items()}, {}
    scales = {}
    for name, scale_name in scale_names.items():
        try:
            scales[name] = _make_scale(name, stored.get(name), stored[scale_name], block_size)
        except BadInputError as error:
            problems.append(error)
    hidden = {*scale_names.values(), *find_unused(stored)}
    visible = {name: tensor for name, tensor in stored.items() if name not in hidden}
    for name, tensor in visible.items():
        if tensor.stored_as in FP8_TYPES and name not in scale_names:
            problems.append(CorruptModelError(f"{_shown(tensor)} is {tensor.stored_as} and has no scale"))
    return {name: _as_read(tensor, name in scales) for name, tensor in visible.items()}, scales


def _make_scale(name: str, weight: StoredTensor | None, scale: StoredTensor, block_size: BlockSize) -> Scale:
    if weight is None:
        raise CorruptModelError(f"{_shown(scale)} has no weight `{name}`")
    if weight.stored_as not in (*FP8_TYPES, "I8"):
        raise CorruptModelError(f"{_shown(weight)} is {weight.stored_as} and has a scale")
    if scale.stored_as not in ("F32", "F16", "BF16"):
        raise BadInputError(f"{_shown(scale)} is {scale.stored_as}; scales in F32, F16 and BF16 are read")
    if fits_rows(weight.shape, scale.shape):
        return Scale(scale, None)
    if fits_blocks(weight.shape, scale.shape, block_size):
        return Scale(scale, block_size)
    raise CorruptModelError(f"{_shown(scale)} has the shape {scale.shape}, which does not fit that of its weight")


def _shown(tensor: StoredTensor) -> str:
    return f"`{tensor.name}` in {tensor.path}"


def _as_read(tensor: StoredTensor, is_scaled: bool = False) -> StoredTensor:
    return replace(tensor, dtype="F32") if is_scaled or tensor.stored_as in FP8_TYPES else tensor


def _raise_all(problems: Sequence[BadInputError], folder: Path) -> None:
    """One problem as it is, many as a list."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        shown = [f"  {problem.message}" for problem in problems[:MOST_SHOWN_PROBLEMS]]
        if len(problems) > MOST_SHOWN_PROBLEMS:
            shown.append(f"  and {len(problems) - MOST_SHOWN_PROBLEMS} more")
        lines = "\n".join([f"the checkpoint in {folder} has {len(problems)} problems:", *shown])
        raise BadInputError(lines, hint=FETCH_HINT)
