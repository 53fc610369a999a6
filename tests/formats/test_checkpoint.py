"""Checkpoints in folders: which files are taken, what is found wrong with them, and what their tensors are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.tensor_files import archive_bytes, state_dict, storage, tensor, write_safetensors
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.checkpoint import MOST_SHOWN_PROBLEMS, open_checkpoint
from llmasos.formats.checkpoint_names import WeightFiles, find_weights

A, B, C = (np.full(2, number, np.float32) for number in (1, 2, 3))
CODES = np.ones(2, np.int8)
FILE = "model.safetensors"
FP8 = {"quant_method": "fp8", "weight_block_size": [2, 2]}
FIRST, SECOND, THIRD = (f"model-0000{part}-of-00003.safetensors" for part in (1, 2, 3))


def write_index(folder: Path, places: Any, name: str = "model.safetensors.index.json") -> None:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def write_parts(folder: Path) -> None:
    """`a` and `b` in one part each, and an index."""
    write_safetensors(folder / FIRST, {"a": A})
    write_safetensors(folder / SECOND, {"b": B})
    write_index(folder, {"a": FIRST, "b": SECOND})


def values(folder: Path, quantization: Mapping[str, object] | None = None) -> dict[str, Any]:
    checkpoint = open_checkpoint(folder, quantization)
    return {name: checkpoint.read(name).tolist() for name in checkpoint.tensors}


# Which files.


def test_one_file_is_a_checkpoint(tmp_path: Path):
    path = write_safetensors(tmp_path / FILE, {"a": A, "b": B})
    checkpoint = open_checkpoint(tmp_path)
    assert (checkpoint.files, checkpoint.size) == ((path,), path.stat().st_size)
    assert values(tmp_path) == {"a": [1, 1], "b": [2, 2]}


def test_parts_are_one_checkpoint(tmp_path: Path):
    write_parts(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert [file.name for file in checkpoint.files] == [FIRST, SECOND]
    assert checkpoint.size == sum(file.stat().st_size for file in checkpoint.files)
    assert values(tmp_path) == {"a": [1, 1], "b": [2, 2]}


def test_parts_need_no_index_if_their_names_count_them(tmp_path: Path):
    for name, array in (("a", A), ("b", B)):
        write_safetensors(tmp_path / f"model-0000{1 if name == 'a' else 2}-of-00002.safetensors", {name: array})
    assert values(tmp_path) == {"a": [1, 1], "b": [2, 2]}


def test_an_index_may_name_its_files_as_it_likes(tmp_path: Path):
    write_safetensors(tmp_path / "layers.safetensors", {"a": A})
    write_index(tmp_path, {"a": "layers.safetensors"}, "layers.safetensors.index.json")
    assert values(tmp_path) == {"a": [1, 1]}


def test_pytorchs_own_format_is_read_alike(tmp_path: Path):
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(archive_bytes(state_dict(a=tensor())))
    (tmp_path / "pytorch_model-00002-of-00002.bin").write_bytes(
        archive_bytes(state_dict(b=tensor(shape=[6], strides=[1])))
    )
    names = {name: f"pytorch_model-0000{part}-of-00002.bin" for name, part in (("a", 1), ("b", 2))}
    write_index(tmp_path, names, "pytorch_model.bin.index.json")
    assert values(tmp_path) == {"a": [[0, 1, 2], [3, 4, 5]], "b": [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model.safetensors", FIRST], ["model.safetensors"]),
        (["model.safetensors", "consolidated.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (["weights.safetensors", "adapter_model.safetensors"], ["weights.safetensors"]),
        (["pytorch_model.bin", "training_args.bin", "optimizer.bin"], ["pytorch_model.bin"]),
        (["pytorch_model-00001-of-00001.bin"], ["pytorch_model-00001-of-00001.bin"]),
    ],
)
def test_the_files_are_those_that_a_pull_chooses(tmp_path: Path, names: list[str], taken: list[str]):
    for name in names:
        if name.endswith(".bin"):
            (tmp_path / name).write_bytes(archive_bytes(state_dict(a=tensor())))
        else:
            write_safetensors(tmp_path / name, {"a": A})
    assert [file.name for file in open_checkpoint(tmp_path).files] == taken == [*find_weights(sorted(names)).present]


STALE = "model-00002-of-00002.safetensors"


def test_a_part_of_another_split_is_not_read_where_the_index_names_the_parts(tmp_path: Path):
    write_parts(tmp_path)
    write_safetensors(tmp_path / STALE, {"a": C})
    assert values(tmp_path) == {"a": [1, 1], "b": [2, 2]}


def test_a_part_of_another_split_is_not_read_where_names_count_the_parts(tmp_path: Path):
    for name, array in ((FIRST, A), (SECOND, B), (THIRD, C), (STALE, A)):
        write_safetensors(tmp_path / name, {name: array})
    assert list(values(tmp_path)) == [FIRST, SECOND, THIRD]


def test_of_two_complete_splits_the_index_knows_which_it_is():
    whole = "model-00001-of-00001.safetensors"
    names = [whole, FIRST, SECOND, THIRD, "model.safetensors.index.json"]
    assert find_weights(names).present == (FIRST, SECOND, THIRD)
    assert find_weights(names, lambda index: [whole]) == WeightFiles((whole,), (), "model.safetensors.index.json")


def test_of_incomplete_splits_the_one_that_lacks_least_is_told():
    assert find_weights([STALE, FIRST, THIRD]) == WeightFiles((FIRST, THIRD), (SECOND,))


def test_a_folder_of_links_is_read_as_the_files_they_mean(tmp_path: Path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    write_safetensors(tmp_path / "blobs" / "0123", {"a": A})
    (tmp_path / "snapshot" / FILE).symlink_to("../blobs/0123")
    assert values(tmp_path / "snapshot") == {"a": [1, 1]}


# What is wrong.


def refusal(folder: Path, quantization: Mapping[str, object] | None = None) -> BadInputError:
    with pytest.raises(BadInputError) as error:
        open_checkpoint(folder, quantization)
    return error.value


def test_a_folder_without_weights_says_so(tmp_path: Path):
    (tmp_path / "config.json").touch()
    assert refusal(tmp_path).message == f"{tmp_path} holds no weights in safetensors or in PyTorch's format"


def test_a_folder_that_is_not_there_says_so(tmp_path: Path):
    assert "No such file" in refusal(tmp_path / "missing").message


def test_a_missing_part_is_named(tmp_path: Path):
    write_parts(tmp_path)
    (tmp_path / SECOND).unlink()
    assert refusal(tmp_path).message == f"{tmp_path / SECOND} is missing"


def test_parts_that_are_missing_without_an_index_are_named(tmp_path: Path):
    write_safetensors(tmp_path / SECOND, {"b": B})
    message = refusal(tmp_path).message
    assert FIRST in message
    assert THIRD in message


def test_all_parts_may_be_missing(tmp_path: Path):
    write_index(tmp_path, {"a": FIRST})
    assert refusal(tmp_path).message == f"{tmp_path / FIRST} is missing"


def test_a_tensor_that_is_not_where_the_index_puts_it_is_named(tmp_path: Path):
    write_parts(tmp_path)
    write_index(tmp_path, {"a": SECOND, "b": SECOND, "c": FIRST})
    message = refusal(tmp_path).message
    assert f"`a` is not in {tmp_path / SECOND}, where the index puts it" in message
    assert f"`c` is not in {tmp_path / FIRST}, where the index puts it" in message


def test_a_tensor_that_is_twice_there_is_named(tmp_path: Path):
    write_parts(tmp_path)
    write_safetensors(tmp_path / SECOND, {"a": A, "b": B})
    assert refusal(tmp_path).message == f"`a` is both in {tmp_path / FIRST} and in {tmp_path / SECOND}"


def test_a_tensor_that_the_index_forgets_is_taken(tmp_path: Path):
    write_parts(tmp_path)
    write_safetensors(tmp_path / SECOND, {"b": B, "c": C})
    assert values(tmp_path) == {"a": [1, 1], "b": [2, 2], "c": [3, 3]}


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path):
    write_parts(tmp_path)
    (tmp_path / FIRST).write_bytes(b"damaged")
    write_index(tmp_path, {"a": FIRST, "b": SECOND, "c": THIRD, "d": SECOND})
    error = refusal(tmp_path)
    assert error.message.splitlines()[0] == f"the checkpoint in {tmp_path} has 3 problems:"
    assert f"  {tmp_path / THIRD} is missing" in error.message
    assert f"  {tmp_path / FIRST} is not a usable safetensors file" in error.message
    assert f"  `d` is not in {tmp_path / SECOND}" in error.message
    assert error.hint == "fetch the checkpoint again; files are missing or damaged"


def test_of_many_problems_the_first_are_shown_and_the_rest_counted(tmp_path: Path):
    write_parts(tmp_path)
    write_index(tmp_path, {f"x{number}": FIRST for number in range(50)})
    lines = refusal(tmp_path).message.splitlines()
    assert len(lines) == MOST_SHOWN_PROBLEMS + 2
    assert lines[-1] == "  and 40 more"


@pytest.mark.parametrize("file", ["../x", "/etc/passwd", "a/b.safetensors", "..", "", "C:\\x", "x\n", 3, None, ["x"]])
def test_an_index_may_only_name_files_beside_it(tmp_path: Path, file: Any):
    write_index(tmp_path, {"a": file})
    error = refusal(tmp_path)
    assert isinstance(error, CorruptModelError)
    assert "which is no file beside it" in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": []}', "[" * 100_000, "\udcff"]
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: str):
    (tmp_path / "model.safetensors.index.json").write_text(content, errors="surrogateescape")
    assert "model.safetensors.index.json" in refusal(tmp_path).message


# What tensors are.


def test_tensors_are_given_as_they_are_stored(tmp_path: Path):
    arrays = {
        "double": np.array([0.1]),
        "brain": np.array([0x3F80], np.uint16),
        "half": np.array([1], np.float16),
        "integers": np.array([[1, 2]]),
        "flags": np.array([True]),
        "empty": np.zeros((0, 2), np.float32),
    }
    write_safetensors(tmp_path / FILE, arrays)
    checkpoint = open_checkpoint(tmp_path)
    for name, array in arrays.items():
        found = checkpoint.read(name)
        assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())
    assert [each.dtype for each in checkpoint.tensors.values()] == ["F64", "BF16", "F16", "I64", "BOOL", "F32"]


def test_what_is_read_is_contiguous_and_aligned_however_it_lies(tmp_path: Path):
    write_safetensors(tmp_path / FILE, {"x": A, "byte": np.array([1], np.uint8), "y": A})
    torch_folder = tmp_path / "torch"
    torch_folder.mkdir()
    (torch_folder / "pytorch_model.bin").write_bytes(archive_bytes(state_dict(t=tensor(shape=[3, 2], strides=[1, 3]))))
    arrays = [open_checkpoint(tmp_path).read(name) for name in ("x", "y")] + [open_checkpoint(torch_folder).read("t")]
    assert all(array.flags.c_contiguous and array.flags.aligned for array in arrays)
    assert [array.tolist() for array in arrays] == [[1, 1], [1, 1], [[0, 3], [1, 4], [2, 5]]]


def test_an_unknown_tensor_is_a_key_error(tmp_path: Path):
    write_safetensors(tmp_path / FILE, {"a": A})
    with pytest.raises(KeyError, match="nothing"):
        open_checkpoint(tmp_path).read("nothing")


def write_fp8(folder: Path, **more: np.ndarray) -> None:
    """A weight of ones, 3 × 2, with scales for blocks of 2 × 2."""
    arrays = {
        "a.weight": np.full((3, 2), 0x38, np.uint8),
        "a.weight_scale_inv": np.array([[2], [3]], np.float32),
        **more,
    }
    dtypes = {name: "F8_E4M3" for name, array in arrays.items() if array.dtype == np.uint8}
    write_safetensors(folder / FILE, arrays, dtypes)


def test_eight_bit_weights_are_dequantized_and_their_scales_hidden(tmp_path: Path):
    write_fp8(tmp_path, **{"a.input_scale": A, "norm.weight": B})
    tensors = open_checkpoint(tmp_path, FP8).tensors
    assert {name: (each.dtype, each.shape) for name, each in tensors.items()} == {
        "a.weight": ("F32", (3, 2)), "norm.weight": ("F32", (2,)),
    }  # fmt: skip
    assert values(tmp_path, FP8) == {"a.weight": [[2, 2], [2, 2], [3, 3]], "norm.weight": [2, 2]}


def test_scales_of_rows_need_no_block_size(tmp_path: Path):
    scale = np.array([[1], [2], [3]], np.float32)
    write_safetensors(
        tmp_path / FILE,
        {"a.weight": np.full((3, 2), 0x38, np.uint8), "a.weight_scale": scale},
        {"a.weight": "F8_E4M3"},
    )
    assert values(tmp_path, {"quant_method": "fbgemm_fp8"}) == {"a.weight": [[1, 1], [2, 2], [3, 3]]}


def test_eight_bit_weights_without_scales_are_plain_values(tmp_path: Path):
    write_safetensors(tmp_path / FILE, {"a": np.array([0x38, 0xB8], np.uint8)}, {"a": "F8_E4M3"})
    assert open_checkpoint(tmp_path).tensors["a"].dtype == "F32"
    assert values(tmp_path) == {"a": [1, -1]}


def test_a_quantized_checkpoint_in_pytorchs_format_is_dequantized_alike(tmp_path: Path):
    description = state_dict(**{
        "a.weight": tensor(storage("CharStorage", count=6)),
        "a.weight_scale": tensor(storage("FloatStorage", "1", 1), shape=(1,), strides=(1,)),
    })  # fmt: skip
    content = archive_bytes(description, {"0": bytes(range(6)), "1": np.array([0.5], "<f4").tobytes()})
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    assert values(tmp_path, {"quant_method": "fp8"}) == {"a.weight": [[0, 0.5, 1], [1.5, 2, 2.5]]}


@pytest.mark.parametrize(
    ("more", "name", "problem"),
    [
        ({"b.weight": np.zeros((2, 2), np.uint8)}, "b.weight", "is F8_E4M3 and has no scale"),
        ({"b.weight_scale_inv": A}, "b.weight_scale_inv", "has no weight `b.weight`"),
        ({"b.weight": A, "b.weight_scale": A}, "b.weight", "is F32 and has a scale"),
        ({"b.weight": CODES, "b.weight_scale": CODES}, "b.weight_scale", "is I8; scales in F32, F16 and BF16 are read"),
        (
            {"b.weight": CODES, "b.weight_scale": np.zeros(3, np.float32)},
            "b.weight_scale",
            "has the shape (3,), which does not fit that of its weight",
        ),
    ],
)
def test_scales_that_do_not_match_their_weights_are_problems(
    tmp_path: Path, more: dict[str, Any], name: str, problem: str
):
    write_fp8(tmp_path, **more)
    assert refusal(tmp_path, FP8).message == f"`{name}` in {tmp_path / FILE} {problem}"


def test_scales_without_a_word_in_the_configuration_are_a_problem(tmp_path: Path):
    write_fp8(tmp_path)
    assert (
        refusal(tmp_path).message
        == f"`a.weight` in {tmp_path / FILE} has a scale, and config.json no quantization_config"
    )


def test_another_quantization_is_refused_before_any_file_is_read(tmp_path: Path):
    assert "is quantized by gptq" in refusal(tmp_path, {"quant_method": "gptq"}).message
