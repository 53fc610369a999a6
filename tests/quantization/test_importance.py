"""Files with importance matrices: both forms, what is made of them, and damaged ones."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from doubles.importance import GOLDENS
from llmasos.errors import BadInputError, CorruptModelError, LlmasosError
from llmasos.quantization.importance import Activations, Importance, read_importance, write_importance

MATRIX = Importance(
    {
        "blk.0.ffn_down.weight": Activations(np.array([[2.0, 4.0, 0.0, 1.0]], np.float32), np.array([4])),
        "blk.0.ffn_up_exps.weight": Activations(np.array([[2.0, 4.0], [0.0, 0.0]], np.float32), np.array([2, 0])),
    },
    "file",
    ("text.txt",),
    3,
    512,
)


def older(entries: dict[str, tuple[int, list[float]]], *tail: bytes) -> bytes:
    """The form without a mark: each entry's chunks, and its means times that."""
    content = struct.pack("<i", len(entries))
    for name, (chunks, sums) in entries.items():
        content += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", chunks, len(sums))
        content += np.array(sums, "<f4").tobytes()
    return content + b"".join(tail)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "some.imatrix"
    path.write_bytes(content)
    return path


def test_what_is_written_is_read_again(tmp_path: Path):
    write_importance(tmp_path / "m.gguf", MATRIX)
    found = read_importance(tmp_path / "m.gguf", called="file")
    assert (found.file, found.datasets, found.chunk_count, found.chunk_size) == ("file", ("text.txt",), 3, 512)
    for name, entry in MATRIX.entries.items():
        assert np.array_equal(found.entries[name].sums, entry.sums)
        assert np.array_equal(found.entries[name].counts, entry.counts)


@pytest.mark.parametrize("golden", sorted(GOLDENS.glob("*.imatrix")), ids=lambda path: path.stem)
def test_what_llama_imatrix_wrote_is_written_byte_for_byte(tmp_path: Path, golden: Path):
    write_importance(tmp_path / "again.gguf", read_importance(golden))
    assert (tmp_path / "again.gguf").read_bytes() == golden.read_bytes()


def test_the_gguf_package_reads_it(tmp_path: Path):
    write_importance(tmp_path / "m.gguf", MATRIX)
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert [(tensor.name, tensor.shape.tolist()) for tensor in reader.tensors] == [
        ("blk.0.ffn_down.weight.in_sum2", [4]),
        ("blk.0.ffn_down.weight.counts", [1]),
        ("blk.0.ffn_up_exps.weight.in_sum2", [2, 2]),
        ("blk.0.ffn_up_exps.weight.counts", [1, 2]),
    ]
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.chunk_count"].contents() == 3


def test_weights_are_means_and_experts_that_were_not_chosen_weigh_alike():
    assert MATRIX.weights("blk.0.ffn_down.weight", (8, 4)) == pytest.approx(np.array([[0.5, 1, 0, 0.25]]))
    assert MATRIX.weights("blk.0.ffn_up_exps.weight", (2, 8, 2)) == pytest.approx(np.array([[1, 2], [1, 1]]))
    assert MATRIX.weights("blk.0.ffn_up.weight", (8, 4)) is None


def test_another_shape_is_another_model():
    with pytest.raises(BadInputError, match="it has 4 numbers for `blk.0.ffn_down.weight`, which has 8 columns"):
        MATRIX.weights("blk.0.ffn_down.weight", (4, 8))
    with pytest.raises(BadInputError, match="file is of another model: it tells of `blk.0.ffn_down.weight`"):
        MATRIX.require_fitting(["token_embd.weight", "blk.1.ffn_down.weight"])
    MATRIX.require_fitting(["blk.0.ffn_down.weight"])


def test_the_older_form_is_read(tmp_path: Path):
    tail = struct.pack("<i", 7), struct.pack("<i", 4) + b"text"
    found = read_importance(written(tmp_path, older({"blk.0.attn_q.weight": (2, [1, 3])}, *tail)))
    assert (found.chunk_count, found.datasets) == (7, ("text",))
    assert found.weights("blk.0.attn_q.weight", (4, 2)) == pytest.approx(np.array([[0.5, 1.5]]))
    short = read_importance(written(tmp_path, older({"blk.0.attn_q.weight": (2, [1, 3])})))
    assert (short.chunk_count, short.datasets) == (0, ())


def test_metadata_is_cut_as_llama_quantize_cuts_it():
    importance = Importance(MATRIX.entries, "ä" * 100, (), 0)
    assert importance.metadata == {"quantize.imatrix.file": "ä" * 63, "quantize.imatrix.entries_count": 2}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut off"),
        (b"not at all an importance matrix, but long enough", "no importance matrix"),
        (older({"a": (1, [1.0])})[:-2], "cut off"),
        (older({"a": (1, [])}), "has no numbers"),
        (older({"a": (1, [float("nan")])}), "no squares"),
        (older({"a": (1, [-1.0])}), "no squares"),
        (struct.pack("<ii", 1, 1 << 30), "too long"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, content: bytes, reason: str):
    with pytest.raises(BadInputError, match=reason):
        read_importance(written(tmp_path, content))


def test_a_model_is_no_importance_matrix(tiny_model: Path, tmp_path: Path):
    with pytest.raises(BadInputError, match="is no importance matrix: it says that it is `model`"):
        read_importance(tiny_model)
    with pytest.raises(BadInputError, match="there is no file"):
        read_importance(tmp_path / "nothing")


def test_sums_without_counts_are_refused(tmp_path: Path):
    write_importance(tmp_path / "m.gguf", MATRIX)
    content = (tmp_path / "m.gguf").read_bytes().replace(b"down.weight.counts", b"down.weight.other_", 1)
    with pytest.raises(CorruptModelError, match="sums or counts are missing"):
        read_importance(written(tmp_path, content))


def test_damaged_files_are_refused_or_read(tmp_path: Path):
    """Whatever a few bytes of noise make of a file, nothing else than one of our errors comes of it."""
    write_importance(tmp_path / "m.gguf", MATRIX)
    whole, noise = (tmp_path / "m.gguf").read_bytes(), random.Random(1)
    for form in (whole, older({"blk.0.attn_q.weight": (2, [1, 3])}, struct.pack("<ii", 7, 0))):
        for _ in range(600):
            damaged = bytearray(form[: noise.randint(1, len(form))] if noise.random() < 0.3 else form)
            for _ in range(noise.randint(1, 4)):
                damaged[noise.randrange(len(damaged))] = noise.randrange(256)
            try:
                importance = read_importance(written(tmp_path, bytes(damaged)))
                assert all(np.isfinite(entry.means).all() for entry in importance.entries.values())
            except LlmasosError:
                pass
