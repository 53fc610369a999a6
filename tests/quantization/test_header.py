"""The header's bytes: those of the gguf package's writer, for all kinds of values."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from llmasos.formats.gguf import SkippedArray, parse_header
from llmasos.quantization.header import PlacedTensor, Typed, header_bytes
from llmasos.quantization.types import TYPES

METADATA = {
    "general.architecture": "llama",
    "general.name": "Größe",
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000.0,
    "llama.causal": True,
    "tokenizer.ggml.tokens": ["<s>", "é", ""],
    "tokenizer.ggml.merges": [b"a b", b"\xff c"],
    "tokenizer.ggml.scores": [-1.5, 0.0, 2.0],
    "tokenizer.ggml.token_type": [1, -3, 6],
    "llama.pattern": [True, False],
    "tokenizer.charsmap": b"\x00\x01\xff",
}


def written_by_gguf(path: Path) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "Größe")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_bool("llama.causal", True)
    for key in ("tokens", "merges", "scores", "token_type"):
        writer.add_array(f"tokenizer.ggml.{key}", METADATA[f"tokenizer.ggml.{key}"])
    writer.add_array("llama.pattern", [True, False])
    writer.add_array("tokenizer.charsmap", b"\x00\x01\xff")
    writer.add_tensor_info("a", (3, 64), None, 108, gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor_info("b", (5,), None, 20, gguf.GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return path.read_bytes()


def test_it_is_what_the_gguf_package_writes(tmp_path):
    tensors = [PlacedTensor("a", (3, 64), TYPES["Q4_0"], 0), PlacedTensor("b", (5,), TYPES["F32"], 128)]
    expected = written_by_gguf(tmp_path / "a.gguf")
    assert header_bytes(METADATA, tensors) == expected + bytes(-len(expected) % 32)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(5, 4), (2**32 - 1, 4), (-1, 5), (2**32, 10), (2**63, 10), (-(2**40), 11), (1.5, 6), (False, 7), ("", 8),
     (Typed(5, "UINT16"), 2), (Typed(1.5, "FLOAT64"), 12), (Typed(1, "INT32"), 5)],
)  # fmt: skip
def test_a_value_takes_the_type_that_holds_it(value, kind):
    header = header_bytes({"k": value}, [])
    assert int.from_bytes(header[24 + 8 + 1 :][:4], "little") == kind


@pytest.mark.parametrize(
    ("items", "kind"), [([1, 2**31], 11), ([1, 2.5], 6), (Typed([1, 2], "UINT8"), 0), (("a",), 8), (b"ab", 0)]
)
def test_an_array_takes_the_type_that_holds_its_items(items, kind):
    header = header_bytes({"k": items}, [])
    assert int.from_bytes(header[24 + 8 + 1 + 4 :][:4], "little") == kind


def test_a_large_vocabulary_is_read_back():
    tokens = [f"token{number}" for number in range(300_000)]
    metadata = parse_header(header_bytes({"tokens": tokens, "empty": [], "last": 1}, [])).metadata
    assert metadata == {"tokens": SkippedArray(300_000), "last": 1}


@pytest.mark.parametrize("value", [2**64, [1, "a"], [None]])
def test_what_no_type_holds_is_our_own_mistake(value):
    with pytest.raises((ValueError, TypeError)):
        header_bytes({"k": value}, [])


def test_the_alignment_is_kept_and_must_be_a_power_of_two():
    assert len(header_bytes({"general.alignment": 256}, [])) == 256
    with pytest.raises(ValueError, match="general.alignment"):
        header_bytes({"general.alignment": 24}, [])
