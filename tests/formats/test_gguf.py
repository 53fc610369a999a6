"""The header of a GGUF file: what is read of sound ones, and that nothing in an unsound one does harm.

The gguf package and ggml itself are the oracles for sound files and for the tables of types.
"""

from __future__ import annotations

import ctypes
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doubles.tiny import CHAT_TEMPLATE, TinyModel
from llmasos.engine.bindings import shared
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.gguf import (
    FILE_TYPES,
    LONGEST_KEPT_ARRAY,
    LONGEST_KEPT_TEXT,
    SCALARS,
    TENSOR_TYPES,
    GgufHeader,
    SkippedArray,
    SkippedText,
    is_gguf,
    parse_header,
    read_header,
)

unhurried = settings(deadline=None)

U32, STRING, ARRAY = 4, 8, 9
F32, Q4_0 = 0, 2


def string(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(content)) + content


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def array(kind: int, length: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, length) + content


def tensor(name: str = "a", shape: tuple[int, ...] = (32,), kind: int = F32, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf_bytes(
    *parts: bytes, tensors: int = 0, metadata: int = 0, version: int = 3, magic: bytes = b"GGUF", weights: int = 0
) -> bytes:
    content = magic + struct.pack("<IQQ", version, tensors, metadata) + b"".join(parts)
    return content + bytes(-len(content) % 32 + weights)


# Sound files, as the gguf package reads them.


def as_oracle_sees_it(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, SkippedArray):
        return ours.length == len(theirs)
    return ours == theirs


@pytest.mark.parametrize(
    "model",
    [TinyModel(), TinyModel(layer_count=1, template=None, license=None), TinyModel(embedding_length=32, seed=3)],
)
def test_metadata_and_tensors_are_those_that_the_gguf_package_reads(
    make_tiny: Callable[[TinyModel], Path], model: TinyModel
):
    path = make_tiny(model)
    header, oracle = read_header(path), gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in oracle.fields.items() if not name.startswith("GGUF.")}
    assert header.metadata.keys() == fields.keys()
    assert [key for key in fields if not as_oracle_sees_it(header.metadata[key], fields[key])] == []
    assert header.data_offset == oracle.data_offset
    assert [(each.name, each.shape, each.type_id, each.size) for each in header.tensors] == [
        (each.name, tuple(each.shape), each.tensor_type, each.n_bytes) for each in oracle.tensors
    ]
    assert [header.data_offset + each.offset for each in header.tensors] == [
        each.data_offset for each in oracle.tensors
    ]


def test_what_a_header_says_of_its_model(tiny_model: Path):
    header = read_header(tiny_model)
    assert (header.version, header.architecture, header.quantization) == (3, "llama", "F32")
    assert (header.number("context_length"), header.number("nothing"), header.number("nothing", 7)) == (256, None, 7)
    assert header.metadata["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert header.parameter_count == sum(each.size for each in header.tensors) // 4
    assert (header.shard_count, header.shard_index) == (1, 0)
    assert is_gguf(tiny_model)


def test_every_kind_of_value_is_read():
    codes = [(kind, code) for kind, code in SCALARS.items() if kind != 7]
    parts = [entry(f"k{kind}", kind, struct.pack(code, 1)) for kind, code in codes]
    lists = [entry(f"l{kind}", ARRAY, array(kind, 2, struct.pack(f"<2{code[1]}", 1, 0))) for kind, code in codes]
    rest = [
        entry("text", STRING, string("größe 中文")),
        entry("broken text", STRING, string(b"\xff")),
        entry("truth", 7, b"\x01"),
        entry("texts", ARRAY, array(STRING, 2, string("a") + string("b"))),
        entry("long", ARRAY, array(U32, LONGEST_KEPT_ARRAY + 1, bytes(4 * LONGEST_KEPT_ARRAY + 4))),
        entry("long text", STRING, string(bytes(LONGEST_KEPT_TEXT + 1))),
    ]
    metadata = parse_header(gguf_bytes(*parts, *lists, *rest, metadata=2 * len(codes) + len(rest))).metadata
    assert all(metadata[f"k{kind}"] == 1 and metadata[f"l{kind}"] == [1, 0] for kind, _ in codes)
    assert (metadata["text"], metadata["broken text"], metadata["truth"]) == ("größe 中文", "\ufffd", True)
    assert metadata["texts"] == SkippedArray(2)
    assert metadata["long"] == SkippedArray(LONGEST_KEPT_ARRAY + 1)
    assert metadata["long text"] == SkippedText(LONGEST_KEPT_TEXT + 1)


def test_a_number_that_differs_by_layer_is_its_largest_or_all_of_them():
    heads = entry("x.head_count_kv", ARRAY, array(U32, 3, struct.pack("<3I", 8, 0, 4)))
    odd = entry("x.odd", ARRAY, array(6, 3, struct.pack("<3f", 1, float("nan"), 2)))
    header = parse_header(
        gguf_bytes(entry("general.architecture", STRING, string("x")), heads, odd, metadata=3, weights=32)
    )
    assert header.number("head_count_kv") == 8
    assert header.numbers("head_count_kv", 3, 1) == (8, 0, 4)
    assert header.numbers("head_count_kv", 4, 1) == (1, 1, 1, 1)
    assert header.numbers("odd", 3, 1) == (1, 1, 1)


@pytest.mark.parametrize(
    ("parts", "metadata", "tensors", "quantization"),
    [
        ([entry("general.file_type", U32, struct.pack("<I", 15))], 1, 0, "Q4_K_M"),
        ([entry("general.file_type", U32, struct.pack("<I", 999)), tensor(kind=Q4_0)], 1, 1, "Q4_0"),
        ([entry("general.file_type", ARRAY, array(U32, 1, bytes(4))), tensor()], 1, 1, "F32"),
        ([tensor("a", (64,)), tensor("b", (64,), Q4_0, 256)], 0, 2, "F32"),
        ([], 0, 0, "unknown"),
    ],
)
def test_the_quantization_is_what_the_file_states_or_most_of_its_bytes_have(
    parts: list[bytes], metadata: int, tensors: int, quantization: str
):
    content = gguf_bytes(*parts, metadata=metadata, tensors=tensors, weights=512)
    assert parse_header(content).quantization == quantization


def test_parts_of_a_split_model_say_which_they_are():
    parts = [entry("split.no", 2, struct.pack("<H", 1)), entry("split.count", 2, struct.pack("<H", 3))]
    header = parse_header(gguf_bytes(*parts, metadata=2))
    assert (header.shard_index, header.shard_count) == (1, 3)


def test_a_header_can_be_read_from_the_beginning_of_a_file(tiny_model: Path):
    whole = read_header(tiny_model)
    begin = tiny_model.read_bytes()[: whole.data_offset]
    assert parse_header(begin, "it", whole.file_bytes).tensors == whole.tensors


# The tables.


@pytest.mark.parametrize("kind", list(gguf.GGMLQuantizationType), ids=lambda kind: kind.name)
def test_types_of_tensors_are_those_of_ggml(kind: gguf.GGMLQuantizationType):
    name, weights, size = TENSOR_TYPES[kind]
    shared.ggml_blck_size.restype, shared.ggml_type_size.restype = ctypes.c_int64, ctypes.c_size_t
    assert (name, weights, size) == (kind.name, shared.ggml_blck_size(kind.value), shared.ggml_type_size(kind.value))
    if kind.name != "Q8_1":  # of which the gguf package has the size of years ago
        assert (weights, size) == gguf.GGML_QUANT_SIZES[kind]


def test_types_of_files_are_those_of_the_gguf_package():
    theirs = {kind.value: kind.name.partition("_")[2] for kind in gguf.LlamaFileType if kind.name != "GUESSED"}
    assert {value: FILE_TYPES.get(value) for value in theirs} == theirs


# Unsound files.


HUGE = 2**60
UNSOUND = {
    "empty": b"",
    "another format": gguf_bytes(magic=b"GGML"),
    "version 1": gguf_bytes(version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(32),
    "too many tensors": gguf_bytes(tensors=HUGE),
    "too much metadata": gguf_bytes(metadata=HUGE),
    "more metadata than there is": gguf_bytes(metadata=1),
    "a key too long": gguf_bytes(struct.pack("<Q", HUGE), metadata=1),
    "a key that is no text": gguf_bytes(entry(b"\xff", U32, bytes(4)), metadata=1),
    "a key twice": gguf_bytes(entry("k", U32, bytes(4)), entry("k", U32, bytes(4)), metadata=2),
    "a text too long": gguf_bytes(entry("k", STRING, struct.pack("<Q", HUGE)), metadata=1),
    "a value of unknown type": gguf_bytes(entry("k", 99, bytes(8)), metadata=1),
    "an array too long": gguf_bytes(entry("k", ARRAY, array(U32, HUGE)), metadata=1),
    "an array whose length overflows": gguf_bytes(entry("k", ARRAY, array(10, 2**64 - 1)), metadata=1),
    "an array of strings too long": gguf_bytes(entry("k", ARRAY, array(STRING, HUGE)), metadata=1),
    "a string in an array too long": gguf_bytes(
        entry("k", ARRAY, array(STRING, 1, struct.pack("<Q", HUGE))), metadata=1
    ),
    "an array of arrays": gguf_bytes(entry("k", ARRAY, array(ARRAY, 1, array(U32, 1, bytes(4)))), metadata=1),
    "no alignment": gguf_bytes(entry("general.alignment", U32, bytes(4)), metadata=1),
    "a wrong alignment": gguf_bytes(entry("general.alignment", U32, struct.pack("<I", 24)), metadata=1),
    "an alignment that is a text": gguf_bytes(entry("general.alignment", STRING, string("32")), metadata=1),
    "five dimensions": gguf_bytes(tensor(shape=(1,) * 5), tensors=1, weights=32),
    "a dimension too wide": gguf_bytes(tensor(shape=(HUGE, HUGE)), tensors=1, weights=32),
    "a dimension of nothing": gguf_bytes(tensor(shape=(0, 4)), tensors=1, weights=32),
    "a tensor of unknown type": gguf_bytes(tensor(kind=31), tensors=1, weights=128),
    "rows that are no whole blocks": gguf_bytes(tensor(shape=(33,), kind=Q4_0), tensors=1, weights=128),
    "no row of blocks": gguf_bytes(tensor(shape=(), kind=Q4_0), tensors=1, weights=128),
    "an offset too far": gguf_bytes(tensor(offset=HUGE), tensors=1, weights=128),
    "an offset out of line": gguf_bytes(tensor(offset=4), tensors=1, weights=256),
    "weights cut off": gguf_bytes(tensor(), tensors=1, weights=127),
    "a name twice": gguf_bytes(tensor(), tensor(offset=128), tensors=2, weights=256),
    "weights that overlap": gguf_bytes(tensor("a"), tensor("b", offset=96), tensors=2, weights=256),
}


@pytest.mark.parametrize("content", UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_file_is_refused_with_its_name_and_a_reason(tmp_path: Path, content: bytes):
    path = tmp_path / "unsound.gguf"
    path.write_bytes(content)
    with pytest.raises(CorruptModelError, match=r"unsound\.gguf is (not a usable|no) GGUF file: \S+"):
        read_header(path)


def test_the_sound_twin_of_those_files_is_read():
    parts = [entry("general.alignment", U32, struct.pack("<I", 64)), tensor(), tensor("b", offset=128)]
    header = parse_header(gguf_bytes(*parts, metadata=1, tensors=2, weights=320))
    assert (len(header.tensors), header.data_offset % 64) == (2, 0)


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path):
    with pytest.raises(BadInputError, match="can't read .*: No such file"):
        read_header(tmp_path / "missing.gguf")
    with pytest.raises(BadInputError, match="can't read .*: Is a directory"):
        read_header(tmp_path)
    with pytest.raises(BadInputError, match="can't read .*: No such file"):
        is_gguf(tmp_path / "missing.gguf")


@pytest.mark.parametrize(
    "bomb",
    [
        gguf_bytes(*(entry(str(i), ARRAY, array(0, 1024, bytes(1024))) for i in range(20_000)), metadata=20_000),
        gguf_bytes(*(entry(str(i), STRING, string(bytes(2**20))) for i in range(20)), metadata=20),
        gguf_bytes(entry("k", ARRAY, array(STRING, 10_000_001, bytes(8 * 10_000_001))), metadata=1),
    ],
    ids=["many arrays", "many texts", "many strings"],
)
def test_a_file_that_would_fill_the_memory_is_refused_before_it_does(bomb: bytes):
    begun = time.process_time()
    with pytest.raises(CorruptModelError):
        parse_header(bomb)
    assert time.process_time() - begun < 5
    tracemalloc.start()
    with pytest.raises(CorruptModelError):
        parse_header(bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 150 * 2**20


# Properties.


def try_all_of(header: GgufHeader) -> None:
    """What the rest of llmasos asks of a header."""
    assert header.file_bytes >= header.data_offset + sum(each.size for each in header.tensors) or not header.tensors
    assert isinstance(header.quantization, str) and isinstance(header.architecture, str)
    assert header.shard_count > 0 and isinstance(header.shard_index, int)
    for key in header.metadata:
        header.number(key.partition(".")[2], 0)
        assert len(header.numbers(key.partition(".")[2], 3, 1)) == 3


def parses_or_is_corrupt(content: bytes) -> None:
    try:
        header = parse_header(content)
    except CorruptModelError:
        return
    try_all_of(header)


@unhurried
@given(st.binary(max_size=300))
@example(gguf_bytes(entry("general.file_type", ARRAY, array(6, 1, bytes(4))), metadata=1))
def test_any_bytes_parse_or_are_corrupt(content: bytes):
    parses_or_is_corrupt(content)
    parses_or_is_corrupt(gguf_bytes(content, metadata=2, tensors=1, weights=64))


kinds = st.sampled_from([*SCALARS, STRING, ARRAY, 99])
numbers = st.sampled_from([0, 1, 2, 31, 32, 1024, 1025, 2**31, 2**32 - 1])
scalar_entries = st.builds(
    lambda key, kind, value: entry(key, kind, value), st.text(max_size=9), kinds, st.binary(max_size=9)
)
array_entries = st.builds(
    lambda key, kind, length, content: entry(key, ARRAY, array(kind, length, content)),
    st.sampled_from(["general.file_type", "general.alignment", "split.count", "split.no", "x"]),
    kinds, numbers, st.binary(max_size=40),
)  # fmt: skip
tensors = st.builds(
    tensor, st.text(max_size=4), st.lists(numbers, max_size=5).map(tuple), st.integers(0, 43), numbers | st.just(64)
)


@unhurried
@given(st.lists(scalar_entries | array_entries, max_size=3), st.lists(tensors, max_size=3))
def test_anything_built_of_entries_and_tensors_parses_or_is_corrupt(entries: list[bytes], infos: list[bytes]):
    parses_or_is_corrupt(gguf_bytes(*entries, *infos, metadata=len(entries), tensors=len(infos), weights=4096))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_models_header_parses_or_is_corrupt(tiny_model: Path, data: st.DataObject):
    content = bytearray(tiny_model.read_bytes())
    end = read_header(tiny_model).data_offset
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, end - 8))
        piece = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, b"\0" * 8]))
        content[position : position + len(piece)] = piece
    parses_or_is_corrupt(bytes(content))


@unhurried
@given(st.data())
def test_a_model_that_is_cut_off_is_corrupt(tiny_model: Path, data: st.DataObject):
    content = tiny_model.read_bytes()
    header = read_header(tiny_model)
    end = header.data_offset + max(each.offset + each.size for each in header.tensors)
    length = data.draw(st.integers(0, end - 1) | st.integers(0, header.data_offset))
    with pytest.raises(CorruptModelError):
        parse_header(content[:length])
