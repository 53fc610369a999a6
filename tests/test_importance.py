"""Importance matrices that models make of texts: llama-imatrix's own, kept, and refused where they can't be made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from doubles.checkpoints import write_checkpoint
from doubles.importance import GOLDENS, NAMES, TEXT, write_model
from doubles.rerankers import write_bert_reranker, write_qwen3_reranker
from doubles.tiny import TinyModel, write_tiny
from llmasos import importance as joint
from llmasos.conversion.convert import convert
from llmasos.errors import BadInputError, UsageError
from llmasos.formats.gguf import read_header
from llmasos.importance import Calibration, collect, find_importance, own_calibration, read_calibration
from llmasos.paths import find_home
from llmasos.progress import Progress
from llmasos.pull import pull
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import read_importance, write_importance
from llmasos.quantize import collect_to_file, plan_quantization, quantize_to_file, quantize_to_store
from llmasos.store.store import ModelStore

WIDE = TinyModel(embedding_length=256, feed_forward_length=512)


@pytest.fixture
def short_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the long one, which takes these models some seconds."""
    monkeypatch.setattr(joint, "own_calibration", lambda: Calibration(TEXT, joint.OWN_NAME))


def text_file(folder: Path, text: str) -> Path:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_collected_is_what_llama_imatrix_collects(tmp_path: Path, name: str):
    model = write_model(name, tmp_path)
    found = collect([model], read_calibration(text_file(tmp_path, TEXT)), find_home(), Progress())
    theirs = read_importance(GOLDENS / f"{name}.imatrix")
    assert (found.chunk_count, found.chunk_size) == (theirs.chunk_count, theirs.chunk_size)
    assert found.entries.keys() == theirs.entries.keys()
    for key, entry in theirs.entries.items():
        assert np.array_equal(found.entries[key].counts, entry.counts), key
        np.testing.assert_allclose(found.entries[key].sums, entry.sums, rtol=1e-4, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", ["bert", "reranker", "qwen3"])
def test_models_for_vectors_and_ranks_read_too(tmp_path: Path, name: str):
    if name == "bert":
        [path] = convert(write_checkpoint(tmp_path / "bert", "bert"), tmp_path / "bert.gguf", "F32")
    else:
        path = write_bert_reranker(tmp_path) if name == "reranker" else write_qwen3_reranker(tmp_path)
    found = collect([path], Calibration(TEXT, "text"), find_home(), Progress())
    assert "blk.0.ffn_down.weight" in found.entries
    assert all(entry.counts[0] == found.chunk_count * found.chunk_size for entry in found.entries.values())


def test_a_text_shorter_than_a_pass_is_refused(tiny_model: Path):
    with pytest.raises(BadInputError, match="the text has 5 tokens, and 256 at least are needed"):
        collect([tiny_model], Calibration("a cat", "text"), find_home(), Progress())


@pytest.mark.parametrize(("content", "reason"), [(b" \n", "is empty"), (b"\xff\xfe\x00", "no text in UTF-8")])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=reason):
        read_calibration(path)


def test_a_text_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(BadInputError, match="No such file"):
        read_calibration(tmp_path / "nothing.txt")


def test_the_own_text_is_long_and_of_many_languages():
    text = own_calibration().text
    assert 50_000 <= len(text.encode()) <= 100_000
    for letters in ("ñ", "é", "ß", "茶", "ч", "ع", "क", "の", "한", "ş", "def ", "#include"):
        assert letters in text


@pytest.mark.usefixtures("short_own_text")
def test_auto_is_collected_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = write_tiny(tmp_path / "model.gguf", WIDE)
    [first] = quantize_to_file(str(model), tmp_path / "first.gguf", Choices("IQ2_XXS"), imatrix="auto")
    metadata = read_header(first).metadata
    assert (metadata["quantize.imatrix.file"], metadata["quantize.imatrix.dataset"]) == ("auto", joint.OWN_NAME)
    monkeypatch.setattr(joint, "collect", None)
    [second] = quantize_to_file(str(model), tmp_path / "second.gguf", Choices("IQ2_XXS"), imatrix="auto")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("short_own_text")
def test_a_kept_one_that_is_damaged_is_made_anew(tmp_path: Path):
    model = write_tiny(tmp_path / "model.gguf", WIDE)
    first = quantize_to_file(str(model), tmp_path / "first.gguf", Choices("Q4_K_M"), imatrix="auto")[0].read_bytes()
    [kept] = find_home().importance.glob("*.gguf")
    kept.write_bytes(kept.read_bytes()[:500])
    [second] = quantize_to_file(str(model), tmp_path / "second.gguf", Choices("Q4_K_M"), imatrix="auto")
    assert second.read_bytes() == first


@pytest.mark.usefixtures("short_own_text")
def test_a_checkpoint_makes_its_own_and_leaves_nothing_behind(tmp_path: Path):
    folder = write_checkpoint(tmp_path / "checkpoint", "qwen3-moe")
    [path] = quantize_to_file(str(folder), tmp_path / "small.gguf", Choices("Q4_0"), imatrix="auto")
    assert read_header(path).metadata["quantize.imatrix.file"] == "auto"
    assert not list(find_home().incoming.iterdir())


@pytest.mark.usefixtures("short_own_text")
def test_one_pass_gives_the_bytes_of_two(tmp_path: Path):
    """A checkpoint quantized by importance is the quantized GGUF of it, experts included."""
    folder = write_checkpoint(tmp_path / "checkpoint", "qwen3-moe")
    [plain] = convert(folder, tmp_path / "plain.gguf", "F32")
    matrix = tmp_path / "matrix.gguf"
    collect_to_file(str(plain), matrix, Calibration(TEXT, "text"))
    one, two = (
        quantize_to_file(str(source), tmp_path / f"{number}.gguf", Choices("Q4_0"), imatrix=str(matrix))[0].read_bytes()
        for number, source in enumerate((folder, plain))
    )
    assert one == two


@pytest.mark.usefixtures("short_own_text")
def test_a_stored_model_is_known_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = pull(str(write_tiny(tmp_path / "model.gguf", WIDE)), name="mine")
    manifest = quantize_to_store("mine", Choices("IQ3_XXS"), imatrix="auto")
    assert manifest.facts.quantization == "IQ3_XXS"
    digest = model.weights[0].digest
    assert find_importance("auto", digest, ModelStore().home) is not None
    assert find_importance("auto", "another", ModelStore().home) is None


def test_a_matrix_is_of_no_use_for_floats(tiny_model: Path, tmp_path: Path):
    for mix in ("F16", "BF16", "F32"):
        with pytest.raises(UsageError, match=f"of no use for {mix}"):
            quantize_to_file(str(tiny_model), tmp_path / "out.gguf", Choices(mix), imatrix="auto")
    folder = write_checkpoint(tmp_path / "checkpoint", "gpt2")
    with pytest.raises(UsageError, match="of no use for BF16"):
        quantize_to_file(str(folder), tmp_path / "out.gguf", Choices("BF16"), imatrix="auto")


def test_what_is_in_the_way_is_told_before_the_model_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joint, "collect", None)
    model, small = write_tiny(tmp_path / "model.gguf", WIDE), tmp_path / "small.gguf"
    quantize_to_file(str(model), small, Choices("Q8_0"))
    with pytest.raises(BadInputError, match="is quantized already"):
        quantize_to_file(str(small), tmp_path / "out.gguf", Choices("Q4_K_M"), imatrix="auto")
    folder = write_checkpoint(tmp_path / "checkpoint", "qwen3-moe")
    with pytest.raises(BadInputError, match="there is no layer 99 to prune"):
        quantize_to_file(str(folder), tmp_path / "out.gguf", Choices("Q4_0", pruned_layers=(99,)), imatrix="auto")


def test_a_plan_does_not_wait_for_a_matrix(tmp_path: Path):
    model = write_tiny(tmp_path / "model.gguf", WIDE)
    planned = plan_quantization(str(model), Choices("IQ2_XXS"), imatrix="auto")
    [found] = quantize_to_file(str(model), tmp_path / "out.gguf", Choices("IQ2_XXS"), imatrix=_matrix(model, tmp_path))
    types = [tensor.type_name for tensor in read_header(found).tensors]
    assert {name: share.tensor_count for name, share in planned.shares.items()} == Counter(types)
    assert abs(planned.size - found.stat().st_size) < 256  # texts of other lengths in the metadata


def _matrix(model: Path, folder: Path) -> str:
    importance = collect([model], Calibration(TEXT, "text"), find_home(), Progress())
    write_importance(folder / "matrix.gguf", importance)
    return str(folder / "matrix.gguf")


def test_a_matrix_of_another_model_is_refused(tmp_path: Path):
    model = write_tiny(tmp_path / "model.gguf", WIDE)
    others = [TinyModel(layer_count=3, embedding_length=256, feed_forward_length=512), TinyModel()]
    for number, other in enumerate(others):
        matrix = _matrix(write_tiny(tmp_path / f"{number}.gguf", other), tmp_path)
        with pytest.raises(BadInputError, match="is of another model"):
            quantize_to_file(str(model), tmp_path / "out.gguf", Choices("Q4_K_M"), imatrix=matrix)
    assert not (tmp_path / "out.gguf").exists()
