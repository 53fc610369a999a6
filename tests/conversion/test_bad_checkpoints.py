"""Checkpoints that are broken, lie, or set traps: one clear error of exit code 5, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors, write_checkpoint
from doubles.checkpoints_files import write_safetensors
from doubles.permissions import bound_by_permissions
from doubles.tensor_files import archive_bytes, group, name, safetensors_bytes, text
from llmasos.conversion.convert import PROBLEMS_SHOWN, convert, prepare
from llmasos.convert import convert_to_file
from llmasos.errors import BadInputError, LlmasosError, ModelNotFoundError
from llmasos.formats.gguf import read_header
from llmasos.store.store import ModelStore

WEIGHTS = "model.safetensors"
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
Refused = Callable[..., BadInputError]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "llama3", "llama3")


@pytest.fixture
def refused(llama: Path, tmp_path: Path) -> Refused:
    """Converts the checkpoint as the command line does, and gives the error after looking for what it left."""

    def convert_it(type_name: str = "auto", *, folder: Path = llama) -> BadInputError:
        before = files_below(tmp_path)
        with pytest.raises(LlmasosError) as caught:
            convert_to_file(str(folder), tmp_path / "out.gguf", type_name)
        assert isinstance(caught.value, BadInputError)
        assert caught.value.exit_code == 5
        assert files_below(tmp_path) == before
        return caught.value

    return convert_it


def files_below(place: Path) -> set[Path]:
    """All files and links but the home's locks; folders that are left in `incoming` count too."""
    home = ModelStore().home
    left = set(home.incoming.rglob("*")) if home.incoming.exists() else set()
    return left | {path for path in place.rglob("*") if not path.is_dir() and home.root not in path.parents}


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, changes: dict[str, np.ndarray | None], name: str = "llama3") -> None:
    """Writes the weights again: with other tensors for some, or without them."""
    arrays = {**tensors(CHECKPOINTS[name]), **changes}
    write_safetensors(folder / WEIGHTS, {key: array for key, array in arrays.items() if array is not None})


# Weights.


def test_a_header_of_2_to_the_60_bytes_is_not_read(llama: Path, refused: Refused):
    (llama / WEIGHTS).write_bytes(safetensors_bytes({}, length=2**60))
    assert f"{llama / WEIGHTS} is not a usable safetensors file" in refused().message


def test_overlapping_tensors_are_named(llama: Path, refused: Refused):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    (llama / WEIGHTS).write_bytes(safetensors_bytes({"a": entry, "b": entry}, bytes(4)))
    assert "`b` overlaps another tensor" in refused().message


def test_an_unknown_type_is_named(llama: Path, refused: Refused):
    header = {"a": {"dtype": "F128", "shape": [1], "data_offsets": [0, 16]}}
    (llama / WEIGHTS).write_bytes(safetensors_bytes(header, bytes(16)))
    assert "`a` has the unknown type 'F128'" in refused().message


def test_a_missing_part_is_named(tmp_path: Path, refused: Refused):
    folder = write_checkpoint(tmp_path / "parts", "llama3", layout="shards")
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "it lacks model-00002-of-00003.safetensors" in refused(folder=folder).message


def test_a_missing_tensor_is_named(llama: Path, refused: Refused):
    change_weights(llama, {Q_PROJ: None})
    assert refused().message == f"the checkpoint lacks {Q_PROJ}"


def test_a_wrong_shape_is_named_with_both_shapes(llama: Path, refused: Refused):
    change_weights(llama, {Q_PROJ: np.zeros((256, 32), np.uint16)})
    assert refused().message == f"{Q_PROJ} is 256 x 32, and config.json makes it 256 x 256"


def test_a_tensor_that_nobody_knows_is_named(llama: Path, refused: Refused):
    change_weights(llama, {"model.layers.0.self_attn.q_norm.weight": np.zeros(16, np.uint16)})
    assert refused().message == "there is no place for model.layers.0.self_attn.q_norm.weight"


def test_integers_are_no_weights(llama: Path, refused: Refused):
    change_weights(llama, {Q_PROJ: np.zeros((256, 256), np.int64)})
    assert refused().message == f"{Q_PROJ} holds I64, which are no weights"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_0"])
def test_what_is_no_number_is_not_quantized(llama: Path, refused: Refused, value: float, type_name: str):
    array = np.zeros((256, 256), np.float32)
    array[3, 5] = value
    change_weights(llama, {Q_PROJ: array})
    error = refused(type_name)
    assert re.fullmatch(rf"the tensor `blk.0.attn_q.weight` holds NaN or infinity .* {type_name}", error.message)


def test_what_is_no_number_is_kept_by_floating_point(llama: Path, tmp_path: Path):
    change_weights(llama, {Q_PROJ: np.full((256, 256), np.nan, np.float32)})
    assert convert(llama, tmp_path / "out.gguf", "F16") == [tmp_path / "out.gguf"]


@pytest.mark.parametrize(
    ("array", "type_name"),
    [
        (np.full((256, 256), 70000, np.float32), "F16"),
        (np.full((256, 256), 0x47FF, np.uint16), "F16"),  # 130560 in bfloat16
        (np.full((256, 256), 1e39, np.float64), "F16"),
        (np.full((256, 256), 1e39, np.float64), "F32"),
        (np.full((256, 256), 1e39, np.float64), "BF16"),
        (np.full((256, 256), 1e39, np.float64), "Q8_0"),
    ],
)
def test_numbers_beyond_the_range_of_a_type_never_become_infinite(
    llama: Path, refused: Refused, array: np.ndarray, type_name: str
):
    change_weights(llama, {Q_PROJ: array})
    error = refused(type_name)
    assert error.message == f"the tensor `blk.0.attn_q.weight` holds values too large for {type_name}"
    assert ("BF16" in str(error.hint)) == (type_name not in ("F32", "BF16"))


def test_a_checkpoint_of_large_numbers_becomes_bf16_unasked(tmp_path: Path):
    folder = write_checkpoint(tmp_path / "gpt2", "gpt2")
    change_weights(folder, {"h.0.mlp.c_fc.weight": np.full((64, 256), 1e6, np.float32)}, "gpt2")
    [path] = convert(folder, tmp_path / "large.gguf")
    assert read_header(path).quantization == "BF16"
    assert [each.name for each in tmp_path.iterdir() if each.name != "gpt2"] == ["large.gguf"]
    assert convert(folder, tmp_path / "out.gguf", "BF16")


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(llama: Path, tmp_path: Path, refused: Refused):
    marker = tmp_path / "marker"
    (llama / WEIGHTS).unlink()
    evil = name("os", "system") + group(text(f"touch {marker}")) + b"R."
    (llama / "pytorch_model.bin").write_bytes(archive_bytes(evil))
    assert "pytorch_model.bin" in refused().message
    assert not marker.exists()


@pytest.mark.parametrize(
    ("quantization", "named"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
    ],
)
def test_the_method_of_a_quantized_checkpoint_is_named(
    llama: Path, refused: Refused, quantization: dict[str, Any], named: str
):
    change_config(llama, quantization_config=quantization)
    error = refused()
    assert f"quantized by {named}" in error.message
    assert "unquantized" in str(error.hint)


# Configuration.


def test_an_architecture_that_is_not_there_is_named_with_all_that_are(llama: Path, refused: Refused):
    change_config(llama, architectures=["MambaForCausalLM"])
    error = refused()
    assert "no conversion for MambaForCausalLM; there are: " in error.message
    assert "LlamaForCausalLM" in error.message
    assert "GPT2LMHeadModel" in error.message
    assert "llmasos/conversion/architectures/" in str(error.hint)


@pytest.mark.parametrize("listed", [None, [], "LlamaForCausalLM", {}, 5])
def test_a_configuration_without_an_architecture_says_so(llama: Path, refused: Refused, listed: Any):
    change_config(llama, architectures=listed)
    assert refused().message == "config.json names no architecture"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe{}", b'{"a": "\xe9"}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000],
    ids=["empty", "cut off", "UTF-16", "Latin-1", "deep lists", "deep objects", "a long number"],
)
def test_a_configuration_that_is_no_json_is_named(llama: Path, refused: Refused, content: bytes):
    (llama / "config.json").write_bytes(content)
    assert f"{llama / 'config.json'} is no JSON" in refused().message


@pytest.mark.parametrize("content", ["[]", "3", "null", '"LlamaForCausalLM"'])
def test_a_configuration_that_is_no_object_is_named(llama: Path, refused: Refused, content: str):
    (llama / "config.json").write_text(content)
    assert refused().message == f"{llama / 'config.json'} holds no JSON object"


@pytest.mark.parametrize(
    ("name", "number", "told"),
    [
        ("vocab_size", 10**12, "vocab_size"),
        ("vocab_size", 2**31 - 1, "vocab_size"),
        ("num_hidden_layers", 10**9, "1000000000 layers, and llama.cpp computes at most 512"),
        ("hidden_size", 10**30, "`hidden_size` = 10000"),
        ("max_position_embeddings", 2**70, "too large for llama.cpp"),
        ("num_attention_heads", 10**12, "too large for llama.cpp"),
        ("head_dim", 2**31 - 1, "config.json makes it"),
        ("rms_norm_eps", float("nan"), "no number"),
        ("rms_norm_eps", 1e300, "no number"),
    ],
)
@pytest.mark.timeout(10)
def test_huge_numbers_cost_nothing(llama: Path, refused: Refused, name: str, number: float, told: str):
    change_config(llama, **{name: number})
    assert told in refused().message


@pytest.mark.parametrize("name", ["mixtral", "qwen2-moe", "qwen3-moe"])
@pytest.mark.timeout(10)
def test_huge_numbers_of_experts_cost_nothing(tmp_path: Path, refused: Refused, name: str):
    folder = write_checkpoint(tmp_path / name, name)
    change_config(folder, num_local_experts=10**9, num_experts=10**9)
    assert "1000000000 experts, and llama.cpp computes at most 1024" in refused(folder=folder).message


def test_sizes_that_lie_are_told_with_the_tensors_that_show_it(llama: Path, refused: Refused):
    change_config(llama, intermediate_size=513, num_hidden_layers=3)
    lines = refused().message.splitlines()
    assert lines[0] == f"{llama} can't be converted:"
    assert "  - model.layers.0.mlp.gate_proj.weight is 512 x 256, and config.json makes it 513 x 256" in lines
    assert any(line.startswith("  - the checkpoint lacks model.layers.2.") for line in lines)


def test_all_problems_are_told_at_once(llama: Path, refused: Refused):
    change_config(llama, hidden_act="relu", rope_scaling={"rope_type": "odd"})
    (llama / "tokenizer.json").write_text("{")
    (llama / WEIGHTS).write_bytes(b"")
    message = refused().message
    assert message.startswith(f"{llama} can't be converted:\n  - ")
    for named in ("hidden_act", "`odd`", "tokenizer.json", WEIGHTS):
        assert named in message


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted(llama: Path, refused: Refused):
    change_config(llama, hidden_size=128, head_dim=16, num_hidden_layers=5, intermediate_size=100)
    lines = refused().message.splitlines()
    assert len(lines) == 1 + PROBLEMS_SHOWN + 1
    assert re.fullmatch(r"  and \d+ more", lines[-1])


# Tokenizers.


def test_a_checkpoint_without_a_tokenizer_says_what_one_is(llama: Path, refused: Refused):
    for path in llama.glob("tokenizer*"):
        path.unlink()
    error = refused()
    assert error.message == f"{llama} has no tokenizer"
    assert "tokenizer.json" in str(error.hint)


def test_an_unknown_rule_of_cutting_texts_is_shown(llama: Path, refused: Refused):
    path = llama / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    rule = {"type": "Split", "pattern": {"Regex": "[xyz]{1,7}|."}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"]["pretokenizers"][0] = rule
    path.write_text(json.dumps(tokenizer))
    error = refused()
    assert "by a rule that llama.cpp has no name for: [xyz]{1,7}|." in error.message
    assert "pre_tokenizers.py" in str(error.hint)


def nest_pre_tokenizer(path: Path, depth: int) -> None:
    tokenizer = json.loads(path.read_text())
    inner = json.dumps(tokenizer["pre_tokenizer"])
    deep = '{"type": "Sequence", "pretokenizers": [' * depth + inner + "]}" * depth
    path.write_text(json.dumps({**tokenizer, "pre_tokenizer": "HERE"}).replace('"HERE"', deep))


def test_a_tokenizer_nested_beyond_reason_is_refused(llama: Path, refused: Refused):
    nest_pre_tokenizer(llama / "tokenizer.json", 10_000)
    assert str(llama) in refused().message


@pytest.mark.parametrize("depth", [100, 300, 350, 400, 425, 450, 475])
def test_a_nested_tokenizer_is_refused_or_read(llama: Path, depth: int):
    nest_pre_tokenizer(llama / "tokenizer.json", depth)
    with contextlib.suppress(BadInputError):
        assert prepare(llama).metadata["tokenizer.ggml.pre"] == "llama-bpe"


# Folders.


def test_an_empty_folder_says_that_it_is_empty(tmp_path: Path, refused: Refused):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "it holds no files" in refused(folder=folder).message


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path):
    with pytest.raises(ModelNotFoundError, match="there is no file"):
        convert_to_file(str(tmp_path / "nowhere"), tmp_path / "out.gguf")


def test_links_that_lead_in_circles_are_no_files(llama: Path, refused: Refused):
    (llama / WEIGHTS).unlink()
    (llama / WEIGHTS).symlink_to(llama / "other.safetensors")
    (llama / "other.safetensors").symlink_to(llama / WEIGHTS)
    assert "has neither GGUF files nor a checkpoint" in refused().message


def test_a_folder_linked_into_itself_is_read_once(llama: Path, tmp_path: Path):
    (llama / "again").symlink_to(llama)
    assert convert_to_file(str(llama), tmp_path / "out.gguf") == [tmp_path / "out.gguf"]


@pytest.mark.parametrize("part", ["", "config.json", "tokenizer.json", WEIGHTS])
def test_what_may_not_be_read_is_named(llama: Path, refused: Refused, part: str):
    (llama / part).chmod(0)
    try:
        with bound_by_permissions():
            assert str(llama / part) in refused().message
    finally:
        (llama / part).chmod(0o700)
