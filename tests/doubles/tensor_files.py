"""Files with tensors, written by hand: safetensors, and the archives of `torch.save`, sound or not as a test likes."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmasos.formats.floats import Array

SAFETENSORS_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def safetensors_bytes(header: Any, content: bytes = b"", length: int | None = None) -> bytes:
    """A file of any header: a value for JSON, or the header's bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def write_safetensors(path: Path, tensors: Mapping[str, Array], dtypes: Mapping[str, str] | None = None) -> Path:
    """A sound file; `dtypes` names types that NumPy's don't tell, such as F8_E4M3."""
    header, content = {}, b""
    for name, array in tensors.items():
        dtype = (dtypes or {}).get(name, SAFETENSORS_NAMES[array.dtype.name])
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        content += array.tobytes()
    path.write_bytes(safetensors_bytes(header, content))
    return path


# Pickles, instruction by instruction.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def integer(value: int) -> bytes:
    content = value.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + content if not -(2**63) <= value < 2**63 else b"\x8a\x08" + content[:8]


def group(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def integers(values: Sequence[int]) -> bytes:
    return group(*map(integer, values))


def storage(kind: str = "FloatStorage", key: str = "0", count: int = 6) -> bytes:
    return group(text("storage"), name("torch", kind), text(key), text("cpu"), integer(count)) + b"Q"


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def tensor(
    bytes_of: bytes = storage(), offset: int = 0, shape: Sequence[int] = (2, 3), strides: Sequence[int] = (3, 1)
) -> bytes:
    arguments = (bytes_of, integer(offset), integers(shape), integers(strides), b"\x89", ORDERED_DICT)
    return name("torch._utils", "_rebuild_tensor_v2") + group(*arguments) + b"R"


def state_dict(**values: bytes) -> bytes:
    """A whole pickle of a dictionary."""
    return b"\x80\x02" + mapping(**values) + b"."


def mapping(**values: bytes) -> bytes:
    return ORDERED_DICT + b"(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def archive_bytes(
    description: bytes,
    storages: Mapping[str, bytes] | None = None,
    byteorder: bytes | None = b"little",
    **zip_options: Any,
) -> bytes:
    """An archive with a description, and the bytes of storages by key: six floats under `0` if nothing is said."""
    file = io.BytesIO()
    parts = {"0": np.arange(6, dtype="<f4").tobytes()} if storages is None else storages
    with zipfile.ZipFile(file, "w", **zip_options) as archive:
        archive.writestr("archive/data.pkl", description)
        if byteorder is not None:
            archive.writestr("archive/byteorder", byteorder)
        for key, content in parts.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()
