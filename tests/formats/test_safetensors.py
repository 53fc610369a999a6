"""Safetensors files: what is read of sound ones, and that nothing in an unsound one does harm.

The safetensors library is the oracle.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doubles.tensor_files import safetensors_bytes, write_safetensors
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.safetensors import LONGEST_HEADER, SafetensorsHeader, read_safetensors_header
from llmasos.formats.stored import READABLE, map_tensor

unhurried = settings(deadline=None)

SOUND = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "wide": np.array([[0.1]]),
    "flags": np.array([True, False, True]),
    "counts": np.array([2**40, -1]),
    "small": np.array([[-128, 127]], np.int8),
    "scalar": np.array(7, np.int32),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors")


@pytest.fixture
def read(folder: Path) -> Callable[[bytes], SafetensorsHeader]:
    def read_content(content: bytes) -> SafetensorsHeader:
        path = folder / "any.safetensors"
        path.write_bytes(content)
        return read_safetensors_header(path)

    return read_content


def entry(dtype: Any = "F32", shape: Any = (2,), begin: Any = 0, end: Any = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


# Sound files.


def test_tensors_are_what_the_library_wrote(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(SOUND, path, metadata={"format": "pt"})
    header = read_safetensors_header(path)
    assert header.metadata == {"format": "pt"}
    assert header.tensors.keys() == SOUND.keys()
    for name, expected in SOUND.items():
        array = map_tensor(header.tensors[name])
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(array, expected)


def test_bfloat16_and_eight_bit_floats_are_read_by_their_bits(tmp_path: Path):
    arrays = {"a": np.array([0x3F80, 0xC000], np.uint16), "b": np.array([0x38], np.uint8), "c": np.array([1], np.uint8)}
    path = write_safetensors(tmp_path / "model.safetensors", arrays, {"b": "F8_E4M3", "c": "F8_E5M2"})
    tensors = read_safetensors_header(path).tensors
    assert {name: (tensor.dtype, map_tensor(tensor).tolist()) for name, tensor in tensors.items()} == {
        "a": ("BF16", [0x3F80, 0xC000]), "b": ("F8_E4M3", [0x38]), "c": ("F8_E5M2", [1]),
    }  # fmt: skip


def test_tensors_may_lie_at_any_byte(tmp_path: Path):
    # One of the two doubles is not aligned, wherever the header ends.
    arrays = {"one": np.array([1.5, 2.5]), "byte": np.array([1], np.uint8), "two": np.array([3.5, 4.5])}
    tensors = read_safetensors_header(write_safetensors(tmp_path / "model.safetensors", arrays)).tensors
    for name, expected in arrays.items():
        assert np.array_equal(map_tensor(tensors[name]) + 0, expected)


def test_a_view_can_not_be_written_to_and_outlives_its_file(tmp_path: Path):
    path = write_safetensors(tmp_path / "model.safetensors", SOUND)
    tensors = read_safetensors_header(path).tensors
    view, empty = map_tensor(tensors["weight"])[1], map_tensor(tensors["empty"])
    path.unlink()
    gc.collect()
    assert view.tolist() == [3, 4, 5]
    for array in (view, empty):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_view_copies_nothing(tmp_path: Path):
    path = write_safetensors(tmp_path / "model.safetensors", {"big": np.zeros((1024, 1024))})
    tensor = read_safetensors_header(path).tensors["big"]
    tracemalloc.start()
    array = map_tensor(tensor)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array.nbytes == 8 * 1024**2
    assert peak < 100_000


def test_types_that_are_not_read_may_stand_in_the_file(tmp_path: Path):
    header = {"good": entry(), "odd": entry("U16", [4], 8, 16), "tiny": entry("F4", [2, 2], 16, 18)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(18)))
    tensors = read_safetensors_header(path).tensors
    assert map_tensor(tensors["good"]).tolist() == [0, 0]
    with pytest.raises(BadInputError, match="`odd` in .* has the type U16, which can't be converted"):
        map_tensor(tensors["odd"])


def test_a_file_that_became_shorter_is_an_error_and_no_crash(tmp_path: Path):
    path = write_safetensors(tmp_path / "model.safetensors", {"big": np.zeros(100_000)})
    tensor = read_safetensors_header(path).tensors["big"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptModelError, match="has become shorter"):
        map_tensor(tensor)


# Unsound files.


UNSOUND = [
    (b"", "its header is 0 bytes long and the file 0"),
    (b"\x02\0\0", "its header is 2 bytes long and the file 3"),
    (safetensors_bytes({}, length=2**60), f"its header is {2**60} bytes long"),
    (safetensors_bytes({}, length=3), "its header is 3 bytes long and the file 10"),
    (safetensors_bytes(b"{"), "is not JSON"),
    (safetensors_bytes(b'{"\xff": 1}'), "is not JSON"),
    (safetensors_bytes(b'{"a":' + b"[" * 200_000), "is not JSON"),
    (safetensors_bytes(b'{"a": ' + b"9" * 5000 + b"}"), "a number of 5000 digits"),
    (safetensors_bytes(b'{"a": NaN}'), "NaN stands in its header"),
    (safetensors_bytes({"__metadata__": {"a": 1}}), "metadata are not texts"),
    (safetensors_bytes({"__metadata__": []}), "metadata are not texts"),
    (safetensors_bytes({"a": 1}), "not just a dtype, a shape and data_offsets"),
    (safetensors_bytes({"a": entry("Q4_0")}, bytes(8)), "the unknown type 'Q4_0'"),
    (safetensors_bytes({"a": entry([])}, bytes(8)), r"the unknown type \[\]"),
    (safetensors_bytes({"a": entry(shape=[-2])}, bytes(8)), r"the shape \[-2\]"),
    (safetensors_bytes({"a": entry(shape=[2.0])}, bytes(8)), "the shape"),
    (safetensors_bytes({"a": entry(shape=2)}, bytes(8)), "the shape 2"),
    (safetensors_bytes({"a": entry(begin=8, end=0)}, bytes(8)), r"lies at \[8, 0\]"),
    (safetensors_bytes({"a": entry(begin=-8, end=0)}, bytes(8)), "lies at"),
    (safetensors_bytes({"a": entry(end="8")}, bytes(8)), "lies at"),
    (safetensors_bytes({"a": entry(end=7)}, bytes(8)), "has 7 bytes; F32 of shape .2. takes 8"),
    (safetensors_bytes({"a": entry("F4", [3], 0, 1)}, bytes(1)), "has 1 bytes"),
    (safetensors_bytes({"a": entry()}, bytes(7)), "reaches beyond the end"),
    (safetensors_bytes({"a": entry(begin=2**63, end=2**63 + 8)}, bytes(8)), "reaches beyond the end"),
    (safetensors_bytes({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)), "`b` overlaps"),
    (safetensors_bytes({"a": entry(), "b": entry()}, bytes(8)), "`b` overlaps"),
    (safetensors_bytes({"a": entry(begin=4, end=12)}, bytes(12)), "4 bytes before `a` belong to no tensor"),
    (safetensors_bytes({"a": entry()}, bytes(9)), "its last 1 bytes belong to no tensor"),
]
# What the library puts up with.
STRICTER = [
    (safetensors_bytes({"a": entry(shape=[0, 2**63], end=0)}), "the shape"),
    (safetensors_bytes(b" {}"), "does not begin with `{`"),
    (safetensors_bytes(b'{"a": 1, "a": 2}'), "names 'a' twice"),
    (safetensors_bytes(b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "names 'dtype' twice"),
    (safetensors_bytes({"a\x1b[2J": entry()}, bytes(8)), r"a tensor is called 'a\\x1b"),
    (safetensors_bytes(b'{"\\ud800": 1}'), "a tensor is called"),
    (safetensors_bytes({"a": {**entry(), "more": 1}}, bytes(8)), "not just a dtype, a shape and data_offsets"),
    (safetensors_bytes({"a": entry(shape=[True, 2])}, bytes(8)), "the shape"),
    (safetensors_bytes({"a": entry(shape=[1] * 33 + [2])}, bytes(8)), "the shape"),
]


@pytest.mark.parametrize(
    ("content", "reason"), [*UNSOUND, *STRICTER], ids=lambda value: value if type(value) is str else ""
)
def test_an_unsound_file_is_refused_with_the_reason(
    read: Callable[[bytes], SafetensorsHeader], content: bytes, reason: str
):
    with pytest.raises(CorruptModelError, match=reason) as error:
        read(content)
    assert "is not a usable safetensors file" in error.value.message
    assert error.value.message.isprintable()


@pytest.mark.parametrize("content", [content for content, _ in UNSOUND], ids=[reason for _, reason in UNSOUND])
def test_the_library_refuses_the_same(content: bytes):
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(content)


def test_a_header_longer_than_the_format_allows_is_not_read(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(safetensors_bytes({}, length=LONGEST_HEADER + 1))
        file.truncate(LONGEST_HEADER + 100)  # sparse
    tracemalloc.start()
    with pytest.raises(CorruptModelError, match="100000000 are allowed"):
        read_safetensors_header(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path):
    with pytest.raises(BadInputError, match="can't read .*missing: No such file"):
        read_safetensors_header(tmp_path / "missing")


names = st.sampled_from(["a", "b", "__metadata__", "c.weight"])
numbers = st.integers(-2, 40) | st.sampled_from([2**31, 2**60, 2**63, 2**64]) | st.floats() | st.booleans()
values = st.recursive(
    numbers | st.none() | st.text(max_size=3) | st.sampled_from(sorted(READABLE)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from([*READABLE, "F4"]) | values, "shape": st.lists(numbers, max_size=3) | values,
     "data_offsets": st.tuples(st.integers(0, 40), st.integers(0, 40)) | values},
)  # fmt: skip
headers = st.dictionaries(names, entries | values, max_size=3)


@unhurried
@given(
    header=headers.map(lambda header: json.dumps(header).encode()) | st.binary(max_size=40),
    content=st.binary(max_size=40),
)
@example(header=json.dumps({"a": entry()}).encode(), content=bytes(8))
def test_whatever_stands_in_a_header_is_refused_or_readable(folder: Path, header: bytes, content: bytes):
    path = folder / "fuzz.safetensors"
    path.write_bytes(safetensors_bytes(header, content))
    try:
        tensors = read_safetensors_header(path).tensors
    except CorruptModelError:
        return
    theirs = dict(safetensors.deserialize(path.read_bytes()))
    assert tensors.keys() == theirs.keys()
    for name, tensor in tensors.items():
        assert list(tensor.shape) == theirs[name]["shape"]
        if tensor.dtype in READABLE:
            assert map_tensor(tensor).tobytes() == bytes(theirs[name]["data"])


@unhurried
@given(position=st.integers(0, 300), replacement=st.binary(min_size=1, max_size=8), cut=st.none() | st.integers(0, 300))
def test_a_damaged_file_is_refused_or_readable(folder: Path, position: int, replacement: bytes, cut: int | None):
    path = write_safetensors(folder / "damaged.safetensors", {"a": SOUND["weight"], "b": SOUND["half"]})
    content = bytearray(path.read_bytes())
    content[position : position + len(replacement)] = replacement
    path.write_bytes(bytes(content[:cut]))
    try:
        tensors = read_safetensors_header(path).tensors
    except CorruptModelError:
        return
    assert all(map_tensor(tensor).size >= 0 for tensor in tensors.values() if tensor.dtype in READABLE)
