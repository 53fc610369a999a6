"""The tensors of a GGUF model, of one file or several, and its vocabulary whole; the gguf package is the oracle."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from doubles.tiny import write_tiny
from llmasos.errors import CorruptModelError
from llmasos.formats.gguf import SkippedArray, read_header
from llmasos.formats.gguf_tensors import open_gguf_model

TOKENS, TYPES, MERGES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("split")
    write_tiny(folder / "tiny.gguf", tensors_a_shard=4)
    return sorted(folder.glob("*.gguf"))


def test_arrays_asked_for_are_whole_and_the_others_are_not(tiny_model):
    fields = gguf.GGUFReader(tiny_model).fields
    metadata = read_header(tiny_model, whole=(TOKENS, TYPES)).metadata
    assert metadata[TOKENS] == fields[TOKENS].contents()
    assert metadata[TYPES] == fields[TYPES].contents()
    assert metadata[MERGES] == SkippedArray(2)


def test_a_file_cut_off_within_a_whole_array_is_refused(tiny_model, tmp_path):
    content = tiny_model.read_bytes()
    cut = content.index(b"tokenizer.ggml.tokens") + 1200
    (tmp_path / "cut.gguf").write_bytes(content[:cut])
    with pytest.raises(CorruptModelError, match="an array of 262 strings stands at"):
        read_header(tmp_path / "cut.gguf", whole=(TOKENS,))


def test_a_token_that_is_no_utf_8_is_refused(tiny_model, tmp_path):
    broken = tiny_model.read_bytes().replace(b"\xc4\xa0a", b"\xff\xa0a")
    (tmp_path / "broken.gguf").write_bytes(broken)
    assert read_header(tmp_path / "broken.gguf").metadata[TOKENS] == read_header(tiny_model).metadata[TOKENS]
    with pytest.raises(CorruptModelError, match="not a usable GGUF file"):
        read_header(tmp_path / "broken.gguf", whole=(TOKENS,))


def test_rows_are_the_tensors_bytes(tiny_model):
    found = open_gguf_model([tiny_model]).tensors
    expected = {tensor.name: tensor for tensor in gguf.GGUFReader(tiny_model).tensors}
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert (tensor.type, tensor.shape) == (expected[name].tensor_type.name, expected[name].data.shape)
        assert np.array_equal(tensor.rows().reshape(-1), expected[name].data.view(np.uint8).reshape(-1))


def test_a_split_model_is_one(shards, tiny_model):
    split, whole = open_gguf_model(shards), open_gguf_model([tiny_model])
    assert len(shards) > 1
    assert split.header.metadata[MERGES] == whole.header.metadata[MERGES]
    assert {tensor.name for tensor in split.header.tensors} == set(split.tensors) == set(whole.tensors)
    for name, tensor in whole.tensors.items():
        assert np.array_equal(split.tensors[name].rows(), tensor.rows())


@pytest.mark.parametrize("chosen", [slice(1), slice(1, None), slice(None, None, -1)])
def test_a_model_of_which_parts_are_missing_or_out_of_order_is_refused(shards, chosen):
    with pytest.raises(CorruptModelError, match="not all of them are there"):
        open_gguf_model(shards[chosen])
