"""Files of tensors, written without PyTorch: safetensors, PyTorch's pickles in a zip, and shards with their index."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SAFETENSORS_TYPES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "float64": "F64", "int64": "I64"}
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "uint16": "BFloat16Storage", "int64": "LongStorage"}


def write_safetensors(path: Path, arrays: dict[str, Array]) -> None:
    """Writes the arrays in their order; uint16 holds bfloat16's bits."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": SAFETENSORS_TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())


def write_shards(
    folder: Path,
    arrays: dict[str, Array],
    count: int,
    stem: str,
    ending: str,
    write: Callable[[Path, dict[str, Array]], None],
) -> None:
    """Writes `count` files with the arrays spread over them in turn, and the index that says where each one is."""
    names = [f"{stem}-{number:05d}-of-{count:05d}{ending}" for number in range(1, count + 1)]
    places = {name: names[number * count // len(arrays)] for number, name in enumerate(arrays)}
    for file in names:
        write(folder / file, {name: array for name, array in arrays.items() if places[name] == file})
    size = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / f"{stem}{ending}.index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")


@dataclass(frozen=True)
class _Named:
    """Something of a module that is not imported here, by its name."""

    module: str
    name: str


class _Storage(tuple[Any, ...]):
    """What a pickle says of a tensor's bytes: that they are a record of the zip beside it."""


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc] # the one in Python, whose steps can be replaced
    dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    def persistent_id(self, thing: Any) -> Any:
        return tuple(thing) if isinstance(thing, _Storage) else None

    def _save_named(self, thing: _Named) -> None:
        self.write(pickle.GLOBAL + f"{thing.module}\n{thing.name}\n".encode())

    def _save_tensor(self, tensor: _Tensor) -> None:
        self.save(_Named("torch._utils", "_rebuild_tensor_v2"))
        self.save((tensor.storage, 0, tensor.shape, tensor.strides, False, {}))
        self.write(pickle.REDUCE)

    dispatch[_Named] = _save_named


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in values, not in bytes


_Pickler.dispatch[_Tensor] = _Pickler._save_tensor


def write_pickled(path: Path, arrays: dict[str, Array]) -> None:
    """Writes what `torch.save` writes of a dictionary of tensors: a zip of a pickle and a record for each tensor."""
    described = {}
    for key, (name, array) in enumerate(arrays.items()):
        kind = _Named("torch", STORAGES[array.dtype.name])
        strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        described[name] = _Tensor(_Storage(("storage", kind, str(key), "cpu", array.size)), array.shape, strides)
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(described)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        archive.writestr("archive/version", "3\n")
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())
