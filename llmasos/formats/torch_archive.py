"""The tensors in a file that `torch.save` wrote (`pytorch_model.bin`), found without PyTorch and without running it.

Since PyTorch 1.6 such a file is a zip archive of uncompressed parts: `data.pkl` describes a dictionary of tensors, and
`data/<key>` holds the bytes of each storage, which tensors may share. `tensor_pickle` reads the description; here its
few names get their meaning and every tensor is checked against its storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.stored import BITS, StoredTensor, extent, is_possible_shape
from llmasos.formats.tensor_pickle import (
    MOST_BYTES,
    BrokenPickleError,
    Constructor,
    RefusedPickleError,
    read_pickle,
)
from llmasos.formats.zip_directory import MAGIC, BrokenZipError, ZipEntry, read_zip_directory

DESCRIPTION = "/data.pkl"
LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # before PyTorch 1.6: no zip
STATE_DICTS = ("state_dict", "model_state_dict", "model")  # where training scripts keep the tensors
CONVERT_HINT = (
    'with PyTorch, turn it into safetensors: python -c "import torch, safetensors.torch as s; s.save_file({name: '
    "tensor.clone().contiguous() for name, tensor in torch.load('pytorch_model.bin', map_location='cpu', "
    "weights_only=True).items()}, 'model.safetensors')\""
)


def read_torch_archive(path: Path) -> Mapping[str, StoredTensor]:
    """The tensors of one file by name, in its order.

    Raises CorruptModelError if it is broken or cut off; BadInputError if it can't be read at all, is of a format that
    isn't read, holds no tensors, or asks for anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
    except RefusedPickleError as error:
        raise BadInputError(
            f"{path} is refused: {error}, and nothing but tensors is read from such a file; none of it was run",
            hint="the same model in safetensors has no such thing",
        ) from error
    except (BrokenZipError, BrokenPickleError) as error:
        raise CorruptModelError(
            f"{path} is not a usable PyTorch file: {error}", hint="fetch it again; it may have been cut off or damaged"
        ) from error


@dataclass(frozen=True, slots=True)
class _StorageType:
    """What a pickle calls `torch.FloatStorage`; of the untyped one, whose tensors bring their type, `dtype` is None."""

    dtype: str | None


@dataclass(frozen=True, slots=True)
class _ElementType:
    """What a pickle calls `torch.float8_e4m3fn`."""

    dtype: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str | None
    count: int  # in elements; in bytes where there is no dtype


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor: offset, shape and strides are in elements of its storage."""

    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _read(file: BinaryIO, path: Path) -> Mapping[str, StoredTensor]:
    start = file.read(len(LEGACY_MAGIC))
    if start == LEGACY_MAGIC:
        raise BadInputError(f"{path} has the format of PyTorch before 1.6, which is not read", hint=CONVERT_HINT)
    if not start.startswith(MAGIC):
        raise BrokenZipError("it does not begin as one")
    entries = read_zip_directory(file)
    folder = _folder_of(entries)
    if _content(file, entries.get(f"{folder}/byteorder"), 16).strip() == b"big":
        raise BadInputError(f"{path} was written in big-endian order, which is not read", hint=CONVERT_HINT)
    description = _content(file, entries[folder + DESCRIPTION], MOST_BYTES)
    state = _state_dict(read_pickle(description, NAMES, _find_storage), path)
    largest = max(entry.size for entry in entries.values())
    return {
        name: _place(name, view, entries.get(f"{folder}/data/{view.storage.key}"), path, largest)
        for name, view in state.items()
    }


def _folder_of(entries: Mapping[str, ZipEntry]) -> str:
    folders = [name.removesuffix(DESCRIPTION) for name in entries if name.endswith(DESCRIPTION)]
    if len(folders) != 1:
        raise BrokenZipError(f"it holds {len(folders)} descriptions of tensors (`data.pkl`)")
    return folders[0]


def _content(file: BinaryIO, entry: ZipEntry | None, most_bytes: int) -> bytes:
    if entry is None:
        return b""
    if entry.size > most_bytes:
        raise BrokenZipError(f"a part of {entry.size} bytes stands where {most_bytes} are allowed")
    file.seek(entry.offset)
    return file.read(entry.size)


def _state_dict(value: Any, path: Path) -> dict[str, _View]:
    """The dictionary of tensors: the value itself, or what a training script wrapped. Plain values are dropped."""
    if isinstance(value, dict) and not _has_tensors(value):
        wrapped = [value[key] for key in STATE_DICTS if _has_tensors(value.get(key))]
        value = wrapped[0] if len(wrapped) == 1 else None
    if not _has_tensors(value):
        raise BadInputError(f"{path} holds no dictionary of tensors by name", hint=CONVERT_HINT)
    for name, each in value.items():
        if not isinstance(name, str) or not name.isprintable():
            raise BrokenPickleError(f"a tensor is called {ascii(name)[:80]}")
        if _has_tensors(each):
            raise BadInputError(f"{path} holds more tensors inside of `{name}`", hint=CONVERT_HINT)
    return {name: view for name, view in value.items() if isinstance(view, _View)}


def _has_tensors(value: Any) -> bool:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(isinstance(each, _View) for each in values)


def _place(name: str, view: _View, entry: ZipEntry | None, path: Path, most_bytes: int) -> StoredTensor:
    """Where the tensor's first element lies in the file, once the whole tensor is known to lie in its storage."""
    element_bytes = BITS[view.dtype] // 8
    if entry is None:
        raise BrokenPickleError(f"the bytes of `{name}` are missing")
    stored_bytes = view.storage.count * (BITS[view.storage.dtype] // 8 if view.storage.dtype else 1)
    if stored_bytes > entry.size:
        raise BrokenPickleError(f"the bytes of `{name}` are cut off: {entry.size} of {stored_bytes}")
    if len(view.shape) != len(view.strides) or not is_possible_shape(view.shape, view.dtype):
        raise BrokenPickleError(f"`{name}` has the shape {ascii(view.shape)[:80]}")
    end = view.offset + extent(view.shape, view.strides) if 0 not in view.shape else 0
    tensor = StoredTensor(
        name, view.dtype, view.shape, path, entry.offset + view.offset * element_bytes, view.dtype, view.strides
    )
    # A stride of zero repeats elements: harmless as a view, but somebody will copy it.
    if end * element_bytes > stored_bytes or tensor.weight_count * element_bytes > most_bytes:
        raise BrokenPickleError(f"`{name}` reaches beyond its bytes")
    return tensor


# What the names in a pickle mean.


def _find_storage(identity: Any) -> _Storage:
    match identity:
        case ("storage", _StorageType(dtype), str(key), str(), int(count)) if count >= 0:
            return _Storage(key, dtype, count)
    raise BrokenPickleError("its description of tensors names no storage where one is needed")


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments:
        raise BrokenPickleError("its description of tensors fills a dictionary in an unknown way")
    return {}


def _tensor(arguments: tuple[Any, ...]) -> _View:
    """Of a storage, an offset, the shape, the strides, and for autograd a flag and hooks; perhaps more metadata."""
    match arguments:
        case (_Storage(dtype=str(dtype)) as storage, offset, shape, strides, bool(), _, *metadata):
            return _view(storage, dtype, offset, shape, strides, metadata)
    raise BrokenPickleError("its description of tensors builds one in an unknown way")


def _tensor_with_type(arguments: tuple[Any, ...]) -> _View:
    """As `_tensor`, of an untyped storage and with the element's type behind the hooks."""
    match arguments:
        case (_Storage(dtype=None) as storage, offset, shape, strides, bool(), _, _ElementType(dtype), *metadata):
            return _view(storage, dtype, offset, shape, strides, metadata)
    raise BrokenPickleError("its description of tensors builds one in an unknown way")


def _view(storage: _Storage, dtype: str, offset: Any, shape: Any, strides: Any, metadata: list[Any]) -> _View:
    if any(metadata):  # a conjugate or a negative: the bytes are not the values
        raise BrokenPickleError("its description of tensors holds one whose bytes are not its values")
    for numbers in ((offset,), shape, strides):
        if not isinstance(numbers, tuple) or not all(type(number) is int and number >= 0 for number in numbers):
            raise BrokenPickleError("its description of tensors holds a place that can't be")
    return _View(storage, dtype, offset, shape, strides)


def _parameter(arguments: tuple[Any, ...]) -> _View:
    match arguments:
        case (_View() as view, *_):
            return view
    raise BrokenPickleError("its description of tensors makes a parameter of what is no tensor")


NAMES: Final[Mapping[str, Any]] = {
    "collections.OrderedDict": Constructor(_ordered_dict),
    "torch._utils._rebuild_tensor_v2": Constructor(_tensor),
    "torch._utils._rebuild_tensor_v3": Constructor(_tensor_with_type),
    "torch._utils._rebuild_parameter": Constructor(_parameter),
    "torch._utils._rebuild_parameter_with_state": Constructor(_parameter),
    "torch.DoubleStorage": _StorageType("F64"),
    "torch.FloatStorage": _StorageType("F32"),
    "torch.HalfStorage": _StorageType("F16"),
    "torch.BFloat16Storage": _StorageType("BF16"),
    "torch.LongStorage": _StorageType("I64"),
    "torch.IntStorage": _StorageType("I32"),
    "torch.ShortStorage": _StorageType("I16"),
    "torch.CharStorage": _StorageType("I8"),
    "torch.ByteStorage": _StorageType("U8"),
    "torch.BoolStorage": _StorageType("BOOL"),
    "torch.ComplexFloatStorage": _StorageType("C64"),
    "torch.storage.UntypedStorage": _StorageType(None),
    "torch.float8_e4m3fn": _ElementType("F8_E4M3"),
    "torch.float8_e5m2": _ElementType("F8_E5M2"),
    "torch.float8_e4m3fnuz": _ElementType("F8_E4M3FNUZ"),
    "torch.float8_e5m2fnuz": _ElementType("F8_E5M2FNUZ"),
    "torch.float8_e8m0fnu": _ElementType("F8_E8M0"),
    "torch.uint16": _ElementType("U16"),
    "torch.uint32": _ElementType("U32"),
    "torch.uint64": _ElementType("U64"),
}
