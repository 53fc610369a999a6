"""Safetensors files to be written: the safetensors library reads them, and so does transformers' index."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy

from llmasos.formats.safetensors import read_safetensors_header
from llmasos.formats.safetensors_writer import FileToWrite, TensorToWrite, index_text, plan_files

ARRAYS = {
    "model.first": np.arange(6, dtype=np.float32).reshape(2, 3),
    "größe": np.array([1.5, -2, 3], np.float16),
    "one": np.array(7, np.float32),
}
TENSORS = tuple(
    TensorToWrite(name, {"float32": "F32", "float16": "F16"}[array.dtype.name], array.shape)
    for name, array in ARRAYS.items()
)


def test_the_library_reads_what_is_written(tmp_path):
    content = FileToWrite("any", TENSORS).header + b"".join(array.tobytes() for array in ARRAYS.values())
    (tmp_path / "model.safetensors").write_bytes(content)
    loaded = safetensors.numpy.load(content)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(loaded[name], array)
    assert read_safetensors_header(tmp_path / "model.safetensors").metadata == {"format": "pt"}


def test_the_size_is_known_before_anything_is_written():
    file = FileToWrite("any", TENSORS)
    assert file.byte_count == len(file.header) + 24 + 6 + 4


def test_tensors_begin_at_an_even_place():
    assert len(FileToWrite("any", TENSORS).header) % 8 == 0


def sized(*sizes: int) -> list[TensorToWrite]:
    return [TensorToWrite(f"tensor {number}", "BF16", (size // 2,)) for number, size in enumerate(sizes)]


def test_a_checkpoint_that_is_small_is_one_file():
    assert [file.name for file in plan_files(sized(10, 10), 20)] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((10, 10, 2), [2, 1]), ((30, 2), [1, 1]), ((2, 30, 2), [1, 1, 1]), ((12, 8, 12, 8), [2, 2])],
)
def test_a_larger_one_is_cut_between_tensors(sizes, expected):
    files = plan_files(sized(*sizes), 20)
    assert [len(file.tensors) for file in files] == expected
    assert [file.name for file in files] == [
        f"model-{number:05d}-of-{len(expected):05d}.safetensors" for number in range(1, len(expected) + 1)
    ]
    assert [tensor for file in files for tensor in file.tensors] == sized(*sizes)


def test_the_index_names_the_file_of_each_tensor():
    index = json.loads(index_text(plan_files(sized(10, 10, 2), 20)))
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    assert index == {
        "metadata": {"total_size": 22},
        "weight_map": {"tensor 0": first, "tensor 1": first, "tensor 2": second},
    }
