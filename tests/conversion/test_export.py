"""The way back: what a GGUF of a checkpoint exports to is that checkpoint again, and what it converts to is that GGUF.

What a GGUF does not hold can't come back: Gemma's vision half, GPT-2's masks, a merged vocabulary's `tokenizer.model`.
tests/real/test_export.py loads what is written here with transformers.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors, write_checkpoint
from doubles.checkpoints_goldens import describe
from llmasos.conversion import export as export_module
from llmasos.conversion.architecture import find_architecture
from llmasos.conversion.config import read_config
from llmasos.conversion.convert import convert
from llmasos.conversion.export import export, prepare_export
from llmasos.errors import BadInputError, DiskFullError
from llmasos.formats.checkpoint import open_checkpoint
from llmasos.formats.floats import Array, as_float32
from llmasos.formats.gguf_tensors import open_gguf_model
from llmasos.progress import Progress
from llmasos.quantization.header import Typed
from llmasos.quantization.writer import TensorJob, write_gguf

EXPORTED = (
    "gpt2", "gpt2-saved", "llama2", "llama2-json", "llama3", "smollm2", "mistral", "mistral-nemo", "qwen2",
    "qwen2-untied", "qwen3", "gemma3", "gemma3-vision",
)  # fmt: skip
REFUSED = ("mixtral", "phi2", "gemma2", "qwen3-moe", "falcon-40b")
ORIGINS = ("general.name", "llmasos.source")
Change = Callable[[dict[str, Any], dict[str, Array]], None]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """A tiny checkpoint and the GGUF of it, each made once."""
    folder, made = tmp_path_factory.mktemp("converted"), dict[tuple[str, str], tuple[Path, Path]]()

    def convert_once(name: str, type_name: str = "F32") -> tuple[Path, Path]:
        if (name, type_name) not in made:
            checkpoint = write_checkpoint(folder / type_name / name, name)
            [path] = convert(checkpoint, folder / f"{name}-{type_name}.gguf", type_name)
            made[name, type_name] = checkpoint, path
        return made[name, type_name]

    return convert_once


@pytest.fixture
def changed(tmp_path: Path, converted) -> Callable[..., Path]:
    """The GGUF of a tiny checkpoint with other metadata or tensors; a value of None takes a key away."""

    def change(name: str, metadata: Mapping[str, Any] | None = None, *, without: tuple[str, ...] = (), **more: Array):
        model = open_gguf_model([converted(name)[1]])
        arrays = {
            tensor.name: tensor.rows().view(np.float32).reshape(tensor.shape) for tensor in model.tensors.values()
        }
        arrays = {key: array for key, array in arrays.items() if key not in without} | {
            key.replace("__", "."): array for key, array in more.items()
        }
        values = {**model.header.metadata, **(metadata or {})}
        values["tokenizer.ggml.token_type"] = Typed(values["tokenizer.ggml.token_type"], "INT32")
        jobs = [
            TensorJob(key, array.shape, "F32", lambda array=array: iter((array.astype(np.float32),)))
            for key, array in arrays.items()
        ]
        kept = {key: value for key, value in values.items() if value is not None}
        [path] = write_gguf(tmp_path / f"{name}.gguf", kept, jobs, progress=Progress())
        return path

    return change


def exported_tensors(folder: Path) -> dict[str, Array]:
    checkpoint = open_checkpoint(folder, None)
    return {name: checkpoint.read(name) for name in checkpoint.tensors}


def config_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text("utf-8"))


# There and back again.


@pytest.mark.parametrize("name", EXPORTED)
def test_every_tensor_is_the_original_bit_for_bit(name, converted, tmp_path):
    checkpoint, path = converted(name)
    export([path], tmp_path / "back", "F32")
    canonical = find_architecture(read_config(checkpoint)).canonical
    original = {canonical(key): as_float32(array) for key, array in tensors(CHECKPOINTS[name]).items()}
    found = exported_tensors(tmp_path / "back")
    assert {key.split(".")[0] for key in original.keys() - found.keys()} <= {
        "transformer", "vision_tower", "multi_modal_projector",
    }  # fmt: skip
    assert not [
        key for key in original.keys() - found.keys() if key.startswith("transformer") and "attn.bias" not in key
    ]
    for key, array in found.items():
        assert np.array_equal(array.view(np.uint32), original[key].view(np.uint32)), key


@pytest.mark.parametrize("name", EXPORTED)
def test_converted_again_it_is_the_same_gguf(name, converted, tmp_path):
    _, path = converted(name)
    export([path], tmp_path / "back", "F32")
    [again] = convert(tmp_path / "back", tmp_path / "again.gguf", "F32")
    ours, theirs = describe(again), describe(path)
    assert ours["tensors"] == theirs["tensors"]
    assert {key: ours["metadata"].get(key) for key in theirs["metadata"] if key not in ORIGINS} == {
        key: value for key, value in theirs["metadata"].items() if key not in ORIGINS
    }
    assert ours["metadata"].keys() == theirs["metadata"].keys()


@pytest.mark.parametrize("name", EXPORTED)
def test_what_config_json_says_is_what_the_original_says_or_takes_for_granted(name, converted, tmp_path):
    checkpoint, path = converted(name)
    export([path], tmp_path / "back")
    architecture = find_architecture(read_config(checkpoint))
    original = read_config(checkpoint).with_defaults(architecture.defaults)
    found = config_in(tmp_path / "back")
    meant = {"n_ctx", "n_inner", "head_dim", "architectures", "model_type", "torch_dtype", "tie_word_embeddings"}
    for key in found.keys() - meant:
        expected = original.get(key)
        if expected is not None and not (key == "eos_token_id" and isinstance(expected, list)):
            assert found[key] == expected, key
    assert found["tie_word_embeddings"] == ("lm_head.weight" not in CHECKPOINTS[name].shapes)
    assert found["torch_dtype"] == "bfloat16"


@pytest.mark.parametrize("name", ["llama3", "gemma3", "qwen2"])
def test_a_bf16_checkpoint_comes_back_from_bf16(name, converted, tmp_path):
    """Gemma's norms too: 1 was added in float32, and taking it away again leaves less than half a step of bfloat16."""
    _, path = converted(name, "BF16")
    export([path], tmp_path / "back")
    for key, array in exported_tensors(tmp_path / "back").items():
        assert np.array_equal(array, tensors(CHECKPOINTS[name])[key]), key


def test_a_norm_of_gemma_that_float32_can_not_hold_beside_1_comes_back_rounded(changed, tmp_path):
    tiny = np.full(64, np.float32(1) + np.float32(1e-8))
    export([changed("gemma3", **{"output_norm__weight": tiny})], tmp_path / "back", "F32")
    assert not exported_tensors(tmp_path / "back")["model.norm.weight"].any()


@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_K_M"])
def test_quantized_weights_are_what_llama_cpp_computes_with(type_name, converted, tmp_path):
    _, path = converted("llama3", type_name)
    export([path], tmp_path / "back", "F32")
    found, name = exported_tensors(tmp_path / "back"), "model.layers.1.mlp.down_proj.weight"
    [stored] = [each for each in gguf.GGUFReader(path).tensors if each.name == "blk.1.ffn_down.weight"]
    assert stored.tensor_type.name not in ("F32", "F16", "BF16")
    assert np.array_equal(found[name], gguf.quants.dequantize(stored.data, stored.tensor_type))


def test_a_split_model_is_exported_as_a_whole_one(converted, tmp_path):
    checkpoint, path = converted("qwen3")
    parts = convert(checkpoint, tmp_path / "parts.gguf", "F32", split_max_bytes=200_000)
    export([path], tmp_path / "whole")
    export(parts, tmp_path / "split")
    assert len(parts) > 2
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "split" / file.name).read_bytes() == file.read_bytes()


def test_a_large_checkpoint_is_cut_into_files_with_an_index(converted, tmp_path, monkeypatch):
    _, path = converted("qwen3")
    export([path], tmp_path / "whole")
    monkeypatch.setattr(export_module, "MOST_FILE_BYTES", 200_000)
    written = export([path], tmp_path / "cut")
    index = json.loads((tmp_path / "cut" / "model.safetensors.index.json").read_text())
    assert len([file for file in written if file.suffix == ".safetensors"]) > 2
    assert index["weight_map"].keys() == exported_tensors(tmp_path / "whole").keys()
    for key, array in exported_tensors(tmp_path / "cut").items():
        assert np.array_equal(array, exported_tensors(tmp_path / "whole")[key])


def test_the_size_is_known_before_anything_is_written(converted, tmp_path):
    prepared = prepare_export([converted("gpt2")[1]], "F16")
    assert sum(file.stat().st_size for file in prepared.write(tmp_path / "back")) == prepared.size


# What config.json says of the rotary embedding, windows and heads.


@pytest.mark.parametrize(
    "scaling",
    [
        {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192},
        {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192},
        {"factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 4096},
    ],
)
def test_llama_3_s_factors_are_recognized(scaling, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "llama3", "llama3")
    stated = config_in(checkpoint) | {"rope_scaling": {**scaling, "rope_type": "llama3"}, "head_dim": 32}
    (checkpoint / "config.json").write_text(json.dumps(stated))
    export(convert(checkpoint, tmp_path / "model.gguf", "F32"), tmp_path / "back")
    [again] = convert(tmp_path / "back", tmp_path / "again.gguf", "F32")
    found = config_in(tmp_path / "back")["rope_scaling"]
    assert {key: found[key] for key in scaling} == scaling
    assert (
        describe(again)["tensors"]["rope_freqs.weight"]
        == describe(tmp_path / "model.gguf")["tensors"]["rope_freqs.weight"]
    )


def test_factors_that_no_known_parameters_give_are_refused(changed):
    with pytest.raises(BadInputError, match="no known parameters"):
        prepare_export([changed("llama3", rope_freqs__weight=np.linspace(1, 7, 16))])


def test_factors_of_1_stretch_nothing(changed, tmp_path):
    export([changed("llama3", rope_freqs__weight=np.ones(16))], tmp_path / "back")
    assert "rope_scaling" not in config_in(tmp_path / "back")


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192},
        {
            "rope_type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 4096,
            "beta_fast": 16.0,
            "beta_slow": 2.0,
        },
    ],
)
def test_linear_and_yarn_stretching_come_back(scaling, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "qwen2", "qwen2")
    (checkpoint / "config.json").write_text(json.dumps(config_in(checkpoint) | {"rope_scaling": scaling}))
    export(convert(checkpoint, tmp_path / "model.gguf", "F32"), tmp_path / "back")
    assert config_in(tmp_path / "back")["rope_scaling"] == scaling


def test_longrope_is_refused(changed):
    with pytest.raises(BadInputError, match="stretched by `longrope`, which can't be exported"):
        prepare_export([changed("llama2", {"llama.rope.scaling.type": "longrope"})])


def test_gemma_without_a_window_attends_to_everything(changed, tmp_path):
    path = changed("gemma3", {"gemma3.attention.sliding_window": None})
    export([path], tmp_path / "back")
    assert set(config_in(tmp_path / "back")["layer_types"]) == {"full_attention"}
    [again] = convert(tmp_path / "back", tmp_path / "again.gguf", "F32")
    assert "gemma3.attention.sliding_window" not in describe(again)["metadata"]


def test_attention_with_biases_is_named(changed, tmp_path):
    sizes = {"attn_q": 64, "attn_k": 64, "attn_v": 64, "attn_output": 64}
    biases = {f"blk__{layer}__{part}__bias": np.arange(size) for layer in (0, 1) for part, size in sizes.items()}
    export([changed("llama2", **biases)], tmp_path / "back")
    assert (config_in(tmp_path / "back")["attention_bias"], config_in(tmp_path / "back")["mlp_bias"]) == (True, False)


def test_a_bias_here_and_there_is_refused(changed):
    with pytest.raises(BadInputError, match="some of attn_q, attn_k, attn_v, attn_output have a bias"):
        prepare_export([changed("llama2", blk__0__attn_q__bias=np.zeros(64))])


def test_sampling_and_ends_go_to_generation_config(converted, tmp_path):
    export([converted("qwen2")[1]], tmp_path / "back")
    found = json.loads((tmp_path / "back" / "generation_config.json").read_text())
    original = CHECKPOINTS["qwen2"].generation_config
    assert {key: found[key] for key in ("temperature", "top_k", "top_p", "repetition_penalty", "do_sample")} == {
        key: original[key] for key in ("temperature", "top_k", "top_p", "repetition_penalty", "do_sample")
    }
    assert found["eos_token_id"] == original["eos_token_id"][0]


def test_chat_templates_come_back_as_files(changed, tmp_path):
    path = changed("llama2", {"tokenizer.chat_template": "{{ a }}\n", "tokenizer.chat_template.tool_use": "{{ b }}"})
    export([path], tmp_path / "back")
    assert (tmp_path / "back" / "chat_template.jinja").read_text() == "{{ a }}\n"
    assert (tmp_path / "back" / "additional_chat_templates" / "tool_use.jinja").read_text() == "{{ b }}"


def test_a_key_that_has_no_place_is_told(changed, tmp_path):
    notes: list[str] = []
    progress = Progress()
    progress.note = notes.append  # type: ignore[method-assign]
    export([changed("llama2", {"llama.attention.clamp_kqv": 8.0})], tmp_path / "back", progress=progress)
    assert notes == ["a checkpoint has no place for llama.attention.clamp_kqv, which is left out"]


# What can't be exported.


@pytest.mark.parametrize("name", REFUSED)
def test_other_architectures_are_refused_with_those_there_are(name, converted, tmp_path):
    with pytest.raises(BadInputError, match="can't be exported"):
        export([converted(name)[1]], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_everything_that_is_in_the_way_is_told_at_once(changed):
    path = changed(
        "llama2",
        {"tokenizer.ggml.model": "rwkv"},
        without=("blk.1.attn_q.weight", "output_norm.weight"),
        blk__0__odd__weight=np.zeros((2, 2)),
    )
    with pytest.raises(BadInputError) as caught:
        prepare_export([path])
    assert caught.value.message == (
        f"{path} can't be exported:"
        "\n  - the tokenizer is of the kind `rwkv`; gpt2 and llama can be exported"
        "\n  - the file lacks output_norm.weight, blk.1.attn_q.weight"
        "\n  - a checkpoint has no place for blk.0.odd.weight"
    )


def test_a_missing_embedding_is_only_missing(changed):
    with pytest.raises(BadInputError, match="^the file lacks token_embd.weight$"):
        prepare_export([changed("llama2", without=("token_embd.weight",))])


def test_an_unknown_rule_of_cutting_text_is_refused(changed):
    with pytest.raises(BadInputError, match="cuts texts by a rule of the name `default`, which can't be exported"):
        prepare_export([changed("gpt2", {"tokenizer.ggml.pre": "default"})])


def test_weights_beyond_float16_are_refused_and_nothing_stays(changed, tmp_path):
    path = changed("llama2", output_norm__weight=np.full(64, 1e6))
    with pytest.raises(BadInputError, match="`output_norm.weight` holds values too large for F16"):
        export([path], tmp_path / "back", "F16")
    assert not (tmp_path / "back").exists()


def test_a_type_that_a_checkpoint_can_not_have_is_refused(converted):
    with pytest.raises(BadInputError, match="a checkpoint can't be `Q8_0`"):
        prepare_export([converted("gpt2")[1]], "Q8_0")


# The folder.


def test_a_folder_with_anything_in_it_is_refused(converted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match="is not empty"):
        export([converted("gpt2")[1]], tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


class Failing(Progress):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def update(self, done: int) -> None:
        raise self.error


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "full"), DiskFullError)]
)
def test_what_fails_halfway_leaves_nothing_behind(error, raised, exists, converted, tmp_path):
    if exists:
        (tmp_path / "back").mkdir()
    with pytest.raises(raised):
        export([converted("llama2")[1]], tmp_path / "back", progress=Failing(error))
    assert [each.name for each in tmp_path.iterdir() if each.name == "back"] == ["back"] * exists
    assert not exists or not list((tmp_path / "back").iterdir())


def test_a_disk_without_room_is_told_before_anything_is_read(converted, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DiskFullError, match="the checkpoint will take .* more, and 1"):
        export([converted("gpt2")[1]], tmp_path / "back")
    assert not (tmp_path / "back").exists()
