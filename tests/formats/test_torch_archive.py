"""Files of `torch.save`: tensors are found where they lie, and what is broken is refused with the reason.

The files are written by hand, pickle instruction by instruction; `tests/real` reads those of PyTorch itself.
"""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.tensor_files import (
    ORDERED_DICT,
    archive_bytes,
    group,
    integer,
    integers,
    mapping,
    name,
    state_dict,
    storage,
    tensor,
    text,
)
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.stored import StoredTensor, map_tensor
from llmasos.formats.tensor_pickle import MOST_BYTES
from llmasos.formats.torch_archive import read_torch_archive
from llmasos.formats.zip_directory import LONGEST_DIRECTORY

unhurried = settings(deadline=None)
Read = Callable[[bytes], "dict[str, StoredTensor]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


@pytest.fixture
def read(folder: Path) -> Read:
    """The tensors of an archive, given its bytes."""

    def read_content(content: bytes) -> dict[str, StoredTensor]:
        path = folder / "pytorch_model.bin"
        path.write_bytes(content)
        return dict(read_torch_archive(path))

    return read_content


def read_pickle_of(read: Read, description: bytes) -> dict[str, StoredTensor]:
    return read(archive_bytes(description))


# Sound files. Their only storage is 0 1 2 3 4 5, as float32.


def test_a_tensor_is_a_read_only_view_of_the_file(read: Read):
    tensors = read_pickle_of(read, state_dict(weight=tensor()))
    assert [(each.name, each.dtype, each.shape) for each in tensors.values()] == [("weight", "F32", (2, 3))]
    array = map_tensor(tensors["weight"])
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not array.flags.writeable


def test_strides_offsets_and_shared_storages_are_honoured(read: Read):
    tensors = read_pickle_of(
        read,
        state_dict(
            whole=tensor(),
            tied=tensor(),
            transposed=tensor(shape=(3, 2), strides=(1, 3)),
            column=tensor(offset=1, shape=(2,), strides=(3,)),
            repeated=tensor(offset=5, shape=(2, 2), strides=(0, 0)),
            scalar=tensor(offset=4, shape=(), strides=()),
            empty=tensor(shape=(0, 3), strides=(3, 1)),
        ),
    )
    assert {name: map_tensor(each).tolist() for name, each in tensors.items()} == {
        "whole": [[0, 1, 2], [3, 4, 5]],
        "tied": [[0, 1, 2], [3, 4, 5]],
        "transposed": [[0, 3], [1, 4], [2, 5]],
        "column": [1, 4],
        "repeated": [[5, 5], [5, 5]],
        "scalar": 4,
        "empty": [],
    }


@pytest.mark.parametrize(
    ("kind", "dtype", "array"),
    [
        ("DoubleStorage", "F64", np.array([0.1, 2])),
        ("HalfStorage", "F16", np.array([0.5, 2], np.float16)),
        ("BFloat16Storage", "BF16", np.array([0x3F80, 0xC000], np.uint16)),
        ("LongStorage", "I64", np.array([-1, 2**40])),
        ("IntStorage", "I32", np.array([-1, 2**30], np.int32)),
        ("ShortStorage", "I16", np.array([-1, 2**14], np.int16)),
        ("CharStorage", "I8", np.array([-1, 127], np.int8)),
        ("ByteStorage", "U8", np.array([1, 255], np.uint8)),
        ("BoolStorage", "BOOL", np.array([True, False])),
    ],
)
def test_every_kind_of_storage_is_read(read: Read, kind: str, dtype: str, array: np.ndarray):
    description = state_dict(a=tensor(storage(kind, count=2), shape=(2,), strides=(1,)))
    found = read(archive_bytes(description, {"0": array.tobytes()}))["a"]
    assert found.dtype == dtype
    assert np.array_equal(map_tensor(found), array)


def test_types_without_a_storage_of_their_own_are_named_beside_the_storage(read: Read):
    bytes_of = (
        group(text("storage"), name("torch.storage", "UntypedStorage"), text("0"), text("cpu"), integer(3)) + b"Q"
    )
    arguments = group(
        bytes_of, integer(1), integers([2]), integers([1]), b"\x89", ORDERED_DICT, name("torch", "float8_e4m3fn")
    )
    description = state_dict(a=name("torch._utils", "_rebuild_tensor_v3") + arguments + b"R")
    found = read(archive_bytes(description, {"0": b"\x01\x02\x03"}))["a"]
    assert (found.dtype, map_tensor(found).tolist()) == ("F8_E4M3", [2, 3])


def test_a_parameter_is_its_tensor(read: Read):
    parameter = name("torch._utils", "_rebuild_parameter") + group(tensor(), b"\x88", ORDERED_DICT) + b"R"
    assert read_pickle_of(read, state_dict(a=parameter))["a"].shape == (2, 3)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_tensors_that_a_training_script_wrapped_are_found(read: Read, key: str):
    tensors = read_pickle_of(read, state_dict(**{key: mapping(a=tensor()), "epoch": integer(3)}))
    assert list(tensors) == ["a"]


def test_plain_values_beside_tensors_are_left_out(read: Read):
    assert list(read_pickle_of(read, state_dict(version=integer(3), a=tensor(), note=text("x")))) == ["a"]


def test_a_state_dicts_own_attributes_are_left_out(read: Read):
    description = b"\x80\x02" + mapping(a=tensor()) + b"}" + text("_metadata") + ORDERED_DICT + b"sb."
    assert list(read_pickle_of(read, description)) == ["a"]


def test_an_archive_in_zip64_is_read(read: Read, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    content = archive_bytes(state_dict(a=tensor()))
    assert b"PK\x06\x06" in content  # the record that only zip64 has
    assert map_tensor(read(content)["a"]).tolist() == [[0, 1, 2], [3, 4, 5]]


# Broken pickles.


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (b"", "breaks off"),
        (b"\x80\x02", "breaks off"),
        (b"X\xff\xff\xff\xff", "breaks off"),
        (b"\x8d" + b"\xff" * 8, "breaks off"),
        (b"t.", "breaks off"),
        (b"ctorch\nFloatStorage", "breaks off"),
        (b"h\x01.", "refers to what is not there"),
        (b"\x8a\xff" + b"\1" * 255 + b".", "an integer that no tensor has"),
        (b"K\1K\2a.", "appends to what is no list"),
        (b"K\1K\2K\3s.", "sets what can't be set"),
        (b"})K\1s.", "sets what can't be set"),
        (b"}(K\1u.", "sets what can't be set"),
        (b"K\1}b.", "changes what is no dictionary"),
        (b"K\1)R.", "calls what can't be called"),
        (name("collections", "OrderedDict") + b"K\1R.", "calls what can't be called"),
        (name("collections", "OrderedDict") + b"K\1\x85R.", "fills a dictionary in an unknown way"),
        (b"K\1Q.", "names no storage"),
        (storage(count=-1) + b".", "names no storage"),
        (name("torch._utils", "_rebuild_tensor_v2") + b")R.", "builds one in an unknown way"),
        (name("torch._utils", "_rebuild_parameter") + b"K\1\x85R.", "a parameter of what is no tensor"),
        (state_dict(a=tensor(offset=-1)), "a place that can't be"),
        (state_dict(a=tensor(shape=(-2, 3))), "a place that can't be"),
        (state_dict(a=tensor(strides=(3, -1))), "a place that can't be"),
        (state_dict(a=tensor(offset=1)), "`a` reaches beyond its bytes"),
        (state_dict(a=tensor(shape=(3, 3))), "`a` reaches beyond its bytes"),
        (state_dict(a=tensor(strides=(4, 1))), "`a` reaches beyond its bytes"),
        (state_dict(a=tensor(offset=2**62, shape=(1,), strides=(1,))), "`a` reaches beyond its bytes"),
        (state_dict(a=tensor(shape=(2**40,), strides=(0,))), "`a` reaches beyond its bytes"),
        (state_dict(a=tensor(shape=(2**40, 2**40), strides=(0, 0))), "has the shape"),
        (state_dict(a=tensor(shape=(2**62, 0), strides=(1, 1))), "has the shape"),
        (state_dict(a=tensor(shape=(6,), strides=(1, 1))), "has the shape"),
        (state_dict(a=tensor(shape=[1] * 33, strides=[1] * 33)), "has the shape"),
        (state_dict(a=tensor(storage(key="1"))), "the bytes of `a` are missing"),
        (state_dict(a=tensor(storage(key="../version"))), "the bytes of `a` are missing"),
        (state_dict(a=tensor(storage(count=7))), "the bytes of `a` are cut off: 24 of 28"),
        (state_dict(**{"a\n": tensor()}), r"a tensor is called 'a\\n'"),
        (b"}" + integer(1) + tensor() + b"s.", "a tensor is called 1"),
    ],
)
def test_a_broken_description_is_refused_with_the_reason(read: Read, description: bytes, reason: str):
    with pytest.raises(CorruptModelError, match=reason) as error:
        read_pickle_of(read, description)
    assert error.value.message.isprintable()


@pytest.mark.parametrize(
    "description", [b"K\1.", b"}.", state_dict(a=integer(1)), state_dict(optimizer=mapping(a=tensor()))]
)
def test_a_file_without_a_dictionary_of_tensors_is_refused(read: Read, description: bytes):
    with pytest.raises(BadInputError, match="holds no dictionary of tensors"):
        read_pickle_of(read, description)


def test_tensors_are_never_left_out_silently(read: Read):
    with pytest.raises(BadInputError, match="holds more tensors inside of `more`"):
        read_pickle_of(read, state_dict(a=tensor(), more=mapping(b=tensor())))


def test_a_long_description_is_refused_before_it_is_read(folder: Path):
    path = folder / "long.bin"
    path.write_bytes(archive_bytes(bytes(MOST_BYTES + 1)))
    tracemalloc.start()
    with pytest.raises(CorruptModelError, match="67108865 bytes"):
        read_torch_archive(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


# Archives that are none.


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (b"", CorruptModelError, "does not begin as one"),
        (b"version https://git-lfs.github.com/spec/v1", CorruptModelError, "does not begin as one"),
        (b"PK\x03\x04", CorruptModelError, "its end is missing"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", BadInputError, "the format of PyTorch before 1.6"),
        (archive_bytes(state_dict(a=tensor()), byteorder=b"big"), BadInputError, "big-endian"),
        (archive_bytes(state_dict(a=tensor()), compression=zipfile.ZIP_DEFLATED), CorruptModelError, "is compressed"),
        (archive_bytes(state_dict(a=tensor()))[:-30], CorruptModelError, "its end is missing"),
        (archive_bytes(state_dict(a=tensor()), {"0": bytes(24), "0/data.pkl": b""}), CorruptModelError, "holds 2 desc"),
    ],
)
def test_other_files_are_refused_with_the_reason(read: Read, content: bytes, error: type[BadInputError], reason: str):
    with pytest.raises(error, match=reason):
        read(content)


def test_an_old_format_comes_with_the_way_out(read: Read):
    with pytest.raises(BadInputError) as error:
        read(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    assert "save_file" in (error.value.hint or "")


def test_a_part_that_is_there_twice_is_refused(read: Read):
    file = io.BytesIO(archive_bytes(state_dict(a=tensor())))
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data/0", bytes(24))
    with pytest.raises(CorruptModelError, match="holds 'archive/data/0' twice"):
        read(file.getvalue())


def test_a_directory_that_claims_too_much_is_not_read(folder: Path):
    path = folder / "claims.bin"
    content = bytearray(archive_bytes(state_dict(a=tensor())))
    struct.pack_into("<II", content, len(content) - 10, LONGEST_DIRECTORY + 1, 0)
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.seek(LONGEST_DIRECTORY * 2)  # sparse
        file.write(content)
    tracemalloc.start()
    with pytest.raises(CorruptModelError, match="can't be"):
        read_torch_archive(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path):
    with pytest.raises(BadInputError, match="can't read .*missing.bin: No such file"):
        read_torch_archive(tmp_path / "missing.bin")


SOUND = archive_bytes(state_dict(a=tensor(), b=tensor(offset=1, shape=(2,), strides=(3,))))


def assert_refused_or_readable(path: Path) -> None:
    try:
        tensors = read_torch_archive(path)
    except BadInputError:
        return
    assert all(map_tensor(each).nbytes < 1_000_000 for each in tensors.values())


@unhurried
@given(position=st.integers(0, len(SOUND)), replacement=st.binary(min_size=1, max_size=8), cut=st.integers(0, 9000))
def test_a_damaged_archive_is_refused_or_readable(folder: Path, position: int, replacement: bytes, cut: int):
    content = bytearray(SOUND)
    content[position : position + len(replacement)] = replacement
    path = folder / "damaged.bin"
    path.write_bytes(bytes(content[:cut] if cut < 2000 else content))
    assert_refused_or_readable(path)
