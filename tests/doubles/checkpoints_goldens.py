"""What a GGUF holds, short enough to be kept and compared: goldens of llama.cpp's own converter for tiny checkpoints.

A value is written with its GGUF type. Strings and arrays that are long are written as length and sha256: of an array of
numbers over its bytes in the file, of an array of strings over the strings, each behind its length as the file has it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import gguf

FOLDER = Path(__file__).parents[1] / "goldens" / "conversion"
LONGEST_ARRAY = 16
LONGEST_STRING = 200
Description = dict[str, Any]


def describe(path: Path) -> Description:
    """`metadata` by key, in the file's order: [type, value]; `tensors` by name: [type, shape, sha256].

    A tensor's shape is GGML's, its first number the fastest; its sha256 is of its bytes.
    """
    reader = gguf.GGUFReader(path)
    metadata = {key: _value(field) for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    tensors = {
        tensor.name: [tensor.tensor_type.name, [int(length) for length in tensor.shape], _digest(tensor.data.tobytes())]
        for tensor in reader.tensors
    }
    return {"metadata": metadata, "tensors": tensors}


def golden(name: str) -> Description:
    """The golden of a checkpoint in F32, or of one in another type: `llama3-bf16`. FileNotFoundError if none is kept.

    Where llama.cpp's converter can't convert the checkpoint, it holds the reason as `failure` and nothing else.
    """
    data: Description = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return data


def golden_text(description: Description) -> str:
    """The description as the goldens are written: a line for each key and tensor."""
    lines = []
    for part, value in description.items():
        if not isinstance(value, dict):
            lines.append(f"{json.dumps(part)}: {json.dumps(value, ensure_ascii=False)}")
            continue
        inner = (f"  {json.dumps(key)}: {json.dumps(held, ensure_ascii=False)}" for key, held in value.items())
        lines.append(f"{json.dumps(part)}: {{\n" + ",\n".join(inner) + "\n }")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _value(field: gguf.ReaderField) -> list[Any]:
    kinds = [kind.name.lower() for kind in field.types]
    content = field.contents()
    if kinds[0] == "string":
        return ["string", content if len(content) <= LONGEST_STRING else _long(content.encode(), len(content))]
    if kinds[0] != "array":
        return [kinds[0], content]
    kind = f"array of {kinds[-1]}"
    if len(field.data) <= LONGEST_ARRAY:
        return [kind, content if isinstance(content, list) else list(content)]
    if kinds[-1] != "string":
        return [kind, _long(b"".join(field.parts[index].tobytes() for index in field.data), len(field.data))]
    texts = [bytes(field.parts[index]) for index in field.data]
    return [kind, _long(b"".join(struct.pack("<Q", len(text)) + text for text in texts), len(texts))]


def _long(data: bytes, length: int) -> dict[str, Any]:
    return {"length": length, "sha256": _digest(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
