"""The pickles inside of PyTorch's files: none, however made, runs anything or takes the time or the memory."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.tensor_files import (
    ORDERED_DICT,
    archive_bytes,
    group,
    integer,
    integers,
    name,
    state_dict,
    storage,
    tensor,
    text,
)
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats import tensor_pickle
from llmasos.formats.stored import StoredTensor, map_tensor
from llmasos.formats.torch_archive import read_torch_archive

unhurried = settings(deadline=None)
ReadPickle = Callable[[bytes], "dict[str, StoredTensor]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


@pytest.fixture
def read_pickle(folder: Path) -> ReadPickle:
    """The tensors of an archive, given the pickle in it."""

    def read(description: bytes) -> dict[str, StoredTensor]:
        path = folder / "pytorch_model.bin"
        path.write_bytes(archive_bytes(description))
        return dict(read_torch_archive(path))

    return read


# Malicious pickles. Each would make the marker, did anything run it.


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def evil_pickles(marker: Path) -> dict[str, bytes]:
    path = text(str(marker))
    call = group(path, b"\x8c\x02wb") + b"R"
    opened = name("io", "open") + call
    return {
        "reduce": name("os", "system") + group(text(f"touch {marker}")) + b"R.",
        "reduce, opened": opened + b".",
        "stack global": b"\x8c\x02io\x8c\x04open\x93" + call + b".",
        "memo": name("io", "open") + b"q\x050(h\x050h\x05" + call + b".",
        "build": opened + b"}b.",
        "newobj": name("io", "FileIO") + group(path, text("w")) + b"\x81.",
        "inst": b"(" + path + text("w") + b"iio\nFileIO\n.",
        "obj": b"(" + name("io", "FileIO") + path + text("w") + b"o.",
        "copyreg": name("copyreg", "_reconstructor") + group(name("io", "FileIO"), name("io", "FileIO"), path) + b"R.",
        "in a persistent id": group(text("storage"), opened, text("0"), text("cpu"), integer(6)) + b"Q.",
        "in an argument": name("torch._utils", "_rebuild_parameter") + group(opened, b"\x88", ORDERED_DICT) + b"R.",
        "in a key": ORDERED_DICT + opened + integer(1) + b"s.",
        "as attributes": ORDERED_DICT + opened + b"b.",
        "behind a tensor": state_dict(a=tensor(), b=opened),
        "by getattr": name("builtins", "getattr") + group(name("io", "x"), text("open")) + b"R.",
        "by a dotted name": b"\x80\x04\x8c\x11collections.abc.sys\x8c\x0cmodules.keys\x93.",
        "by an extension": b"\x82\x01.",
        **{f"protocol {number}": pickle.dumps(Evil(marker), number) for number in range(pickle.HIGHEST_PROTOCOL + 1)},
    }


EVIL = list(evil_pickles(Path("marker")))


@pytest.mark.parametrize("kind", EVIL)
def test_a_malicious_pickle_is_refused_and_never_runs(read_pickle: ReadPickle, tmp_path: Path, kind: str):
    marker = tmp_path / "marker"
    with pytest.raises(BadInputError):
        read_pickle(evil_pickles(marker)[kind])
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["reduce", "stack global", "memo", "inst", "obj", "protocol 0", "protocol 4"])
def test_a_reader_that_runs_pickles_would_be_harmed(tmp_path: Path, kind: str):
    marker = tmp_path / "marker"
    opened = pickle.loads(evil_pickles(marker)[kind])
    if isinstance(opened, io.IOBase):
        opened.close()
    assert marker.exists()


def test_what_is_refused_is_named(read_pickle: ReadPickle):
    with pytest.raises(BadInputError) as error:
        read_pickle(name("os", "system") + group(text("true")) + b"R.")
    assert "it asks for `os.system`, and nothing but tensors is read from such a file" in error.value.message
    assert "safetensors" in (error.value.hint or "")


def test_names_of_strangers_are_harmless_in_messages(read_pickle: ReadPickle):
    with pytest.raises(BadInputError) as error:
        read_pickle(name("\x1b[2J", "x" * 900) + b".")
    assert error.value.message.isprintable()
    assert len(error.value.message) < 400


# Pickles that take long.


def test_a_description_has_a_limit_of_steps(read_pickle: ReadPickle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensor_pickle, "MOST_INSTRUCTIONS", 1000)  # five million take seconds
    with pytest.raises(CorruptModelError, match="more than 1000 steps"):
        read_pickle(b"N0" * 500 + b"N.")


def test_depth_and_shared_parts_cost_nothing(read_pickle: ReadPickle):
    doubled = b")" + b"q\1h\1\x86" * 10_000  # a tuple of twice the tuple before: 2^10000 parts, were they counted
    with pytest.raises(BadInputError, match="holds no dictionary of tensors"):
        read_pickle(doubled + b".")
    with pytest.raises(CorruptModelError, match="sets what can't be set"):
        read_pickle(b"}" + doubled + b"Ns.")


PIECES = [
    b"(", b"t", b"}", b"]", b")", b"u", b"s", b"e", b"a", b"b", b"R", b"Q", b"q\1", b"h\1", b"0", b"\x94", b"\x93",
    b"N", integer(2), text("a"), storage(), tensor(), ORDERED_DICT, name("torch._utils", "_rebuild_tensor_v2"),
    name("collections", "OrderedDict"), group(integer(1)), integers((1, 2)), b".",
]  # fmt: skip


@unhurried
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30))
def test_any_sequence_of_instructions_is_refused_or_readable(folder: Path, pieces: list[bytes]):
    path = folder / "pieces.bin"
    path.write_bytes(archive_bytes(b"".join(pieces) + b"."))
    try:
        tensors = read_torch_archive(path)
    except BadInputError:
        return
    assert all(map_tensor(each).nbytes < 1_000_000 for each in tensors.values())
