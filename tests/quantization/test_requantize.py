"""From a GGUF to one of another type: the very bytes of llama.cpp's quantizer, and what is refused."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from doubles.quantizer import llama_quantize
from doubles.tiny import TinyModel, write_tiny
from llmasos.errors import BadInputError, CorruptModelError, DiskFullError
from llmasos.formats.floats import Array
from llmasos.formats.gguf import read_header
from llmasos.formats.gguf_tensors import open_gguf_model
from llmasos.progress import Progress
from llmasos.quantization import pool, writer
from llmasos.quantization.choices import Choices
from llmasos.quantization.encode import encode
from llmasos.quantization.header import Typed, Value
from llmasos.quantization.importance import Activations, Importance
from llmasos.quantization.requantize import prepare_quantization
from llmasos.quantization.writer import TensorJob, write_gguf

WIDE = TinyModel(layer_count=4, embedding_length=256, feed_forward_length=512)
ROWS = np.random.default_rng(5).standard_normal((8, 256), np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In F32, with rows that every type can hold."""
    return write_tiny(tmp_path_factory.mktemp("model") / "model.gguf", WIDE)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same in several files."""
    folder = tmp_path_factory.mktemp("parts")
    write_tiny(folder / "model.gguf", WIDE, tensors_a_shard=10)
    return sorted(folder.glob("*.gguf"))


def quantize(source: Path, choices: Choices, output: Path) -> bytes:
    assert prepare_quantization([source], choices).write(output) == [output]
    return output.read_bytes()


def importance_for(model: Path) -> Importance:
    """Seeded, of every matrix in layers; some columns matter a thousand times as much as others."""
    entries = {}
    for name, tensor in open_gguf_model([model]).tensors.items():
        if name.startswith("blk.") and len(tensor.shape) > 1:
            matrices = tensor.shape[0] if len(tensor.shape) > 2 else 1
            random = np.random.default_rng([7, *name.encode()])
            sums = random.lognormal(0, 2, (matrices, tensor.shape[-1])).astype(np.float32) * 512
            entries[name] = Activations(sums, np.full(matrices, 512))
    return Importance(entries, "a file", ("a text", "another"), 3, 512)


def write_model(path: Path, tensors: dict[str, tuple[Array, str]], **more: Value) -> Path:
    """A model of two layers by its metadata; arrays of uint8 are rows of the type."""
    metadata: dict[str, Value] = {"general.architecture": "llama", "llama.block_count": 2}
    metadata |= {"llama.attention.head_count": 4, **more}
    jobs = []
    for name, (array, kind) in tensors.items():
        width = ROWS.shape[1] if array.dtype == np.uint8 else array.shape[-1]
        jobs.append(TensorJob(name, (*array.shape[:-1], width), kind, lambda array=array: [array]))  # type: ignore[misc]
    write_gguf(path, metadata, jobs, progress=Progress())
    return path


# The bytes.


@pytest.mark.parametrize(
    "choices",
    [
        *map(Choices, ("Q4_K_M", "Q5_K_S", "Q8_0", "Q3_K_L", "IQ4_XS", "Q4_0", "TQ1_0", "F16", "BF16", "F32")),
        Choices("Q4_K_M", pure=True),
        Choices("Q4_K_M", output_type="Q5_1"),
        Choices("Q4_K_M", embedding_type="Q8_0"),
        Choices("F16", output_type="Q8_0"),
        Choices("Q4_K_M", ((r"blk\.[01]\.attn_v", "F16"), ("attn_(v|k)", "Q8_0"), ("ffn_down", "IQ4_NL"))),
        Choices("Q3_K_M", pruned_layers=(0, 2)),
        Choices("Q4_K_M", (("attn_v", "F32"),), "Q5_K", "Q4_1", pure=True, pruned_layers=(3,)),
    ],
    ids=str,
)
def test_a_file_is_that_of_llama_quantize(model: Path, tmp_path: Path, choices: Choices):
    assert llama_quantize(model, tmp_path / "theirs.gguf", choices)
    assert quantize(model, choices, tmp_path / "ours.gguf") == (tmp_path / "theirs.gguf").read_bytes()


@pytest.mark.real  # ggml's tables take seconds to make
@pytest.mark.parametrize(
    "choices",
    [
        *map(Choices, ("Q4_K_M", "IQ4_XS", "Q4_0", "Q5_0", "Q2_K_S", "IQ3_XXS", "IQ2_XXS", "IQ2_M", "IQ1_S", "IQ1_M")),
        Choices("IQ2_XS", (("attn_v", "Q8_0"),), "Q6_K", "Q4_K", pure=True),
        Choices("IQ3_XXS", pruned_layers=(0, 2)),
    ],
    ids=str,
)
def test_by_importance_a_file_is_that_of_llama_quantize(model: Path, tmp_path: Path, choices: Choices):
    importance = importance_for(model)
    assert llama_quantize(model, tmp_path / "theirs.gguf", choices, importance)
    prepare_quantization([model], choices, importance).write(tmp_path / "ours.gguf")
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_importance_changes_the_bytes(model: Path, tmp_path: Path):
    prepare_quantization([model], Choices("Q4_K_M"), importance_for(model)).write(tmp_path / "weighed.gguf")
    weighed, plain = (tmp_path / "weighed.gguf"), quantize(model, Choices("Q4_K_M"), tmp_path / "plain.gguf")
    assert weighed.read_bytes()[-10_000:] != plain[-10_000:]


def test_each_expert_is_weighed_by_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """However the tensor is cut, over the bounds of experts too."""
    name, stack = "blk.0.ffn_up_exps.weight", np.stack([ROWS, ROWS, ROWS])
    model = write_model(tmp_path / "model.gguf", {name: (stack, "F32"), "blk.1.attn_q.weight": (ROWS, "F32")})
    importance = importance_for(model)
    monkeypatch.setattr(writer, "CHUNK_ITEMS", 5 * 256)
    prepare_quantization([model], Choices("Q4_K_M", pure=True), importance).write(tmp_path / "ours.gguf")
    found = open_gguf_model([tmp_path / "ours.gguf"]).tensors[name].rows()
    weights = importance.weights(name, stack.shape)
    assert weights is not None
    expected = [encode(ROWS, "Q4_K", name, each) for each in weights]
    assert np.array_equal(found, np.concatenate(expected))
    assert not np.array_equal(expected[0], expected[1])


def test_a_tensor_without_importance_is_told_or_refused(model: Path):
    importance = importance_for(model)
    entries = {name: entry for name, entry in importance.entries.items() if name != "blk.1.ffn_up.weight"}
    partial = Importance(entries, "partial.gguf")
    [note] = prepare_quantization([model], Choices("Q4_K_M"), partial).notes
    assert note == "partial.gguf tells nothing of 1 of the tensors, such as `blk.1.ffn_up.weight`"
    with pytest.raises(BadInputError, match="tells nothing of `blk.1.ffn_up.weight`, which can't be made IQ2_XXS"):
        prepare_quantization([model], Choices("IQ2_XXS"), partial)
    with pytest.raises(BadInputError, match="tells nothing of `token_embd.weight`, which can't be made IQ2_XS"):
        prepare_quantization([model], Choices("IQ2_XS", pure=True), importance)


@pytest.mark.parametrize("plain", ["F16", "BF16"])
def test_sixteen_bits_are_quantized_alike(model: Path, tmp_path: Path, plain: str):
    quantize(model, Choices(plain), tmp_path / "plain.gguf")
    for mix in ("Q4_K_M", "Q8_0", "F32", "F16", "BF16"):
        assert llama_quantize(tmp_path / "plain.gguf", tmp_path / "theirs.gguf", Choices(mix))
        ours = quantize(tmp_path / "plain.gguf", Choices(mix), tmp_path / "ours.gguf")
        assert ours == (tmp_path / "theirs.gguf").read_bytes(), mix


@pytest.mark.parametrize(
    ("before", "after"), [("Q4_1", "Q4_0"), ("Q8_0", "Q4_K_M"), ("Q4_K_M", "F16"), ("Q6_K", "Q8_0")]
)
def test_what_is_quantized_is_quantized_again_alike(model: Path, tmp_path: Path, before: str, after: str):
    quantize(model, Choices(before), tmp_path / "before.gguf")
    choices = Choices(after, allow_requantize=True)
    assert llama_quantize(tmp_path / "before.gguf", tmp_path / "theirs.gguf", choices)
    ours = quantize(tmp_path / "before.gguf", choices, tmp_path / "ours.gguf")
    assert ours == (tmp_path / "theirs.gguf").read_bytes()


def test_small_chunks_give_the_same_file(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    quantize(model, Choices("Q8_0"), tmp_path / "q8.gguf")
    again = Choices("Q4_K_M", allow_requantize=True)
    whole = quantize(tmp_path / "q8.gguf", again, tmp_path / "whole.gguf")
    monkeypatch.setattr(writer, "CHUNK_ITEMS", 3 * 256)
    assert pool.CHUNK_ITEMS != writer.CHUNK_ITEMS
    assert quantize(tmp_path / "q8.gguf", again, tmp_path / "chunks.gguf") == whole


def test_a_split_model_becomes_one_file(model: Path, parts: list[Path], tmp_path: Path):
    prepared = prepare_quantization(parts, Choices("Q4_K_M"))
    [path] = prepared.write(tmp_path / "one.gguf")
    assert path.read_bytes() == quantize(model, Choices("Q4_K_M"), tmp_path / "whole.gguf")
    assert path.stat().st_size == prepared.size


@pytest.mark.parametrize("choices", [Choices("Q4_K_M"), Choices("Q3_K_M", pruned_layers=(1,))], ids=str)
def test_parts_are_kept_as_llama_quantize_keeps_them(parts: list[Path], tmp_path: Path, choices: Choices):
    (tmp_path / "theirs").mkdir()
    assert llama_quantize(parts[0], tmp_path / "theirs" / "new", choices, keep_split=True)
    prepared = prepare_quantization(parts, choices, keep_split=True)
    paths = prepared.write(tmp_path / "new.gguf")
    assert [path.name for path in paths] == [
        f"new-{index:05}-of-{len(parts):05}.gguf" for index in range(1, len(parts) + 1)
    ]
    assert paths == prepared.paths(tmp_path / "new.gguf")
    assert sum(path.stat().st_size for path in paths) == prepared.size
    for path in paths:
        assert path.read_bytes() == (tmp_path / "theirs" / path.name).read_bytes(), path.name


def test_a_part_that_pruning_empties_is_dropped(parts: list[Path], tmp_path: Path):
    by_part = [{tensor.name.split(".")[1] for tensor in read_header(part).tensors} for part in parts]
    assert by_part[-1] == {"3"}
    paths = prepare_quantization(parts, Choices("Q8_0", pruned_layers=(3,)), keep_split=True).write(tmp_path / "m.gguf")
    assert len(paths) == len(parts) - 1
    assert read_header(paths[0]).metadata["split.count"] == len(paths)


# Metadata.


def test_metadata_is_copied_byte_for_byte_and_the_last_two_renewed(tmp_path: Path):
    odd: dict[str, Value] = {
        "odd.double": Typed(0.1, "FLOAT64"),
        "odd.small": Typed(-3, "INT8"),
        "general.file_type": 0,
        "odd.words": [b"\xff\xfe", "whole"],
        "odd.flags": [True, False],
        "general.quantization_version": 1,
        "odd.long": list(range(5000)),
        "llmasos.source": "hf:org/name@0123",
        "split.count": Typed(1, "UINT16"),
    }
    source = write_model(tmp_path / "odd.gguf", {"blk.0.attn_v.weight": (ROWS, "F32")}, **odd)
    quantize(source, Choices("Q8_0"), tmp_path / "new.gguf")
    header, before = read_header(tmp_path / "new.gguf"), source.read_bytes()
    assert list(header.metadata)[3:] == [
        *(key for key in odd if key.startswith(("odd", "llmasos"))),
        "general.quantization_version",
        "general.file_type",
    ]
    places, content = read_header(source).value_places, (tmp_path / "new.gguf").read_bytes()
    for key in odd:
        if key.startswith(("odd", "llmasos")):
            assert content[slice(*header.value_places[key])] == before[slice(*places[key])], key
    assert (header.metadata["general.quantization_version"], header.metadata["general.file_type"]) == (2, 7)


def test_an_alignment_is_kept(tmp_path: Path):
    source = write_model(tmp_path / "a.gguf", {"output_norm.weight": (ROWS[0], "F32")}, **{"general.alignment": 128})
    quantize(source, Choices("Q8_0"), tmp_path / "b.gguf")
    assert gguf.GGUFReader(tmp_path / "b.gguf").alignment == 128


def test_lists_by_layer_keep_their_type_when_layers_go(tmp_path: Path):
    by_layer = {"llama.attention.head_count_kv": Typed([4, 2], "UINT16"), "llama.flags": [True, False]}
    tensors = {f"blk.{layer}.attn_v.weight": (ROWS, "F32") for layer in range(2)}
    source = write_model(tmp_path / "a.gguf", tensors, **by_layer)
    content = quantize(source, Choices("Q8_0", pruned_layers=(0,)), tmp_path / "b.gguf")
    header = read_header(tmp_path / "b.gguf")
    assert header.metadata["llama.attention.head_count_kv"] == [2]
    assert header.metadata["llama.flags"] == [False]
    start, end = header.value_places["llama.attention.head_count_kv"]
    assert content[start:end] == bytes([9, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0])
    assert [tensor.name for tensor in header.tensors] == ["blk.0.attn_v.weight"]


# What is refused.


def test_what_is_quantized_is_quantized_again_only_if_that_is_allowed(model: Path, tmp_path: Path):
    quantize(model, Choices("Q8_0"), tmp_path / "q8.gguf")
    assert not llama_quantize(tmp_path / "q8.gguf", tmp_path / "theirs.gguf", Choices("Q4_0"))
    with pytest.raises(BadInputError, match=r"q8.gguf is quantized already \(Q8_0\)") as refusal:
        prepare_quantization([tmp_path / "q8.gguf"], Choices("Q4_0"))
    assert "--allow-requantize" in str(refusal.value.hint)
    same = quantize(tmp_path / "q8.gguf", Choices("Q8_0"), tmp_path / "same.gguf")
    assert same == (tmp_path / "q8.gguf").read_bytes()


@pytest.mark.parametrize("mix", ["Q8_0", "F16", "F32"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["blk.0.attn_v.weight", "blk.0.attn_norm.weight"])
def test_what_is_no_number_is_refused_with_the_tensors_name(tmp_path: Path, name: str, wrong: float, mix: str):
    rows = ROWS.copy()
    rows[3, 5] = wrong
    source = write_model(tmp_path / "bad.gguf", {name: (rows, "F32"), "blk.1.attn_v.weight": (ROWS, "F32")})
    with pytest.raises(BadInputError, match=f"the tensor `{name}`.* holds NaN or infinity"):
        quantize(source, Choices(mix), tmp_path / "out.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.gguf"]


@pytest.mark.parametrize("mix", ["Q4_0", "Q8_0"])
def test_a_quantized_block_whose_scale_is_no_number_is_refused(tmp_path: Path, mix: str):
    blocks = np.zeros((2, 8 * 34), np.uint8)
    blocks[1, 34:36] = (0x00, 0x7C)  # infinity
    source = write_model(tmp_path / "bad.gguf", {"blk.0.attn_v.weight": (blocks, "Q8_0")})
    with pytest.raises(BadInputError, match=r"the tensor `blk.0.attn_v.weight` \(Q8_0\) holds NaN or infinity"):
        quantize(source, Choices(mix, allow_requantize=True), tmp_path / "out.gguf")


def test_numbers_too_large_for_the_type_are_refused(tmp_path: Path):
    source = write_model(tmp_path / "bad.gguf", {"blk.0.attn_v.weight": (ROWS * np.float32(1e6), "F32")})
    with pytest.raises(BadInputError, match="holds values too large for F16"):
        quantize(source, Choices("F16"), tmp_path / "out.gguf")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("general.type", "adapter", "it says that it is `adapter`"),
        ("general.architecture", "clip", "it says that it is `clip`"),
        ("general.type", "imatrix", "it says that it is `imatrix`"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, key: str, value: str, told: str):
    source = write_model(tmp_path / "a.gguf", {"blk.0.attn_v.weight": (ROWS, "F32")}, **{key: value})
    with pytest.raises(BadInputError, match=told):
        prepare_quantization([source], Choices("Q8_0"))


@pytest.mark.parametrize("value", ["four", 1.5, ["a"]])
def test_metadata_that_is_no_number_is_told(tmp_path: Path, value: Value):
    tensors = {"blk.0.attn_v.weight": (ROWS, "F32")}
    source = write_model(tmp_path / "a.gguf", tensors, **{"llama.attention.head_count": value})
    with pytest.raises(CorruptModelError, match=r"its llama.attention.head_count is"):
        prepare_quantization([source], Choices("Q8_0"))


def test_a_layer_that_is_not_there_can_not_be_pruned(model: Path):
    with pytest.raises(BadInputError, match="there is no layer 4 to prune: the model has 4"):
        prepare_quantization([model], Choices("Q8_0", pruned_layers=(1, 4)))


def test_a_part_that_is_missing_is_told(parts: list[Path]):
    with pytest.raises(CorruptModelError, match="not all of them are there"):
        prepare_quantization(parts[1:], Choices("Q8_0"))


def test_a_disk_without_room_is_told_before_anything_is_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DiskFullError, match="out.gguf will take"):
        quantize(model, Choices("Q8_0"), tmp_path / "out.gguf")
    assert list(tmp_path.iterdir()) == []


# What is told beforehand.


def test_types_and_size_are_told_beforehand(model: Path, tmp_path: Path):
    prepared = prepare_quantization([model], Choices("Q4_K_M"))
    assert {name: share.tensor_count for name, share in prepared.shares.items()} == {"Q4_K": 25, "Q6_K": 5, "F32": 9}
    prepared.write(tmp_path / "out.gguf")
    assert prepared.size == (tmp_path / "out.gguf").stat().st_size
    written = read_header(tmp_path / "out.gguf").tensors
    assert sum(share.byte_count for share in prepared.shares.values()) == sum(tensor.size for tensor in written)
