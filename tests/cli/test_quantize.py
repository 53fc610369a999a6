"""`llmasos quantize`: where its output goes, what it is called, what it says, and how it fails."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import PROJECT, Result, command
from doubles.blocks import needs_kernels
from doubles.checkpoints import write_checkpoint
from doubles.hub import StandInHub
from doubles.importance import GOLDENS, TEXT
from doubles.quantizer import llama_quantize
from doubles.stored import stored
from doubles.tiny import TinyModel, write_tiny
from llmasos import kernels
from llmasos.conversion.convert import convert
from llmasos.convert import convert_to_store
from llmasos.errors import NameTakenError
from llmasos.formats.gguf import read_header
from llmasos.pull import pull
from llmasos.quantization.choices import Choices
from llmasos.quantize import quantize_to_store
from llmasos.store.blobs import digest_of
from llmasos.store.manifests import Manifest, StoredFile
from llmasos.store.references import parse_name
from llmasos.store.store import ModelStore
from llmasos_cli.commands.quantize_command import quantize_command

Run = Callable[..., Result]
WIDE = TinyModel(embedding_length=256, feed_forward_length=512)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("wide") / "Wide.gguf", WIDE)


def left_behind() -> list[Path]:
    incoming = ModelStore().home.incoming
    return list(incoming.rglob("*")) if incoming.exists() else []


def model(name: str) -> Manifest:
    return ModelStore().get(name)


# The store.


def test_a_file_becomes_a_model_of_its_name_and_type_that_runs(llmasos: Run, wide: Path):
    result = llmasos("quantize", wide, "-t", "q4-k-m")
    assert (result.exit_code, result.stdout) == (0, "")
    assert 'wide:q4_k_m is ready: llmasos run wide:q4_k_m "Hello"\n' in result.stderr
    assert stored() == {"wide:q4_k_m": "Q4_K_M"}
    made = model("wide:q4_k_m")
    assert (made.source, made.license) == (f"file:{wide}", "apache-2.0")
    assert made.lineage == (f"quantized to Q4_K_M from file:{wide} (F32)",)
    answer = llmasos("run", "wide:q4_k_m", "Hello", "--max-tokens", "2", "--ignore-eos", "--json")
    assert json.loads(answer.stdout)["tokens"]["completion"] == 2
    assert left_behind() == []


def test_a_stored_model_keeps_its_source_and_what_came_with_it(llmasos: Run, wide: Path, tmp_path: Path):
    original = pull(str(wide))
    (tmp_path / "system").write_text("Be brief.")
    system = StoredFile("system", digest_of(tmp_path / "system"), 9, "system")
    store = ModelStore()
    with store.changing():
        store.blobs.adopt(tmp_path / "system", system.digest)
        store.add(replace(original, files=(*original.files, system), lineage=("made by hand",)), replace=True)
    result = llmasos("quantize", "wide", "-t", "Q8_0", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["name"] == "wide:q8_0"
    made = model("wide:q8_0")
    assert made.source == original.source
    assert made.lineage == ("made by hand", f"quantized to Q8_0 from wide (F32, {original.digest[:19]})")
    assert store.text(made, "system") == "Be brief."
    assert original.digest == model("wide").digest


def test_a_folder_with_a_checkpoint_is_converted_in_the_same_pass(llmasos: Run, tmp_path: Path):
    folder = write_checkpoint(tmp_path / "Tiny-Llama", "llama3")
    result = llmasos("quantize", folder, "-t", "Q4_K_M", "--output-type", "Q8_0", "--prune-layers", "0")
    assert result.exit_code == 0, result.stderr
    [path] = ModelStore().paths(model("tiny-llama:q4_k_m"))
    [bf16] = convert(folder, tmp_path / "bf16.gguf", "BF16")
    assert llama_quantize(bf16, tmp_path / "theirs.gguf", Choices("Q4_K_M", output_type="Q8_0", pruned_layers=(0,)))
    ours, theirs = read_header(path), read_header(tmp_path / "theirs.gguf")
    assert ours.tensors == theirs.tensors
    assert list(ours.metadata) == list(theirs.metadata)
    assert path.read_bytes()[ours.data_offset :] == (tmp_path / "theirs.gguf").read_bytes()[theirs.data_offset :]


def test_a_repository_with_a_checkpoint_is_never_stored_whole(llmasos: Run, tmp_path: Path, hub: StandInHub):
    hub.add_huggingface("maker/tiny", write_checkpoint(tmp_path / "tiny", "llama3"))
    result = llmasos("quantize", "maker/tiny", "-t", "Q4_K_M")
    assert result.exit_code == 0, result.stderr
    assert stored() == {"maker/tiny:q4_k_m": "Q4_K_M"}
    assert left_behind() == []


def test_a_repository_with_a_gguf_is_pulled(llmasos: Run, wide: Path, tmp_path: Path, hub: StandInHub):
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "wide-F32.gguf").write_bytes(wide.read_bytes())
    hub.add_huggingface("maker/wide-GGUF", tmp_path / "repository")
    result = llmasos("quantize", "maker/wide-GGUF:F32", "-t", "Q5_K_M")
    assert result.exit_code == 0, result.stderr
    assert stored() == {"maker/wide-gguf:f32": "F32", "maker/wide-gguf:q5_k_m": "Q5_K_M"}


def test_a_stored_model_is_not_fetched_again(llmasos: Run, tmp_path: Path, hub: StandInHub):
    hub.add_huggingface("maker/tiny", write_checkpoint(tmp_path / "tiny", "llama3"))
    assert llmasos("pull", "maker/tiny").exit_code == 0
    asked = len(hub.requests)
    assert llmasos("quantize", "maker/tiny", "-t", "Q8_0").exit_code == 0
    assert len(hub.requests) == asked
    assert model("maker/tiny:q8_0").lineage[-1].startswith("quantized to Q8_0 from maker/tiny (BF16, sha256:")


# Names.


def test_what_was_quantized_before_is_replaced_and_nothing_else(wide: Path):
    pull(str(wide), name="mine")
    first = quantize_to_store("mine", Choices("Q4_K_M"), name="small")
    second = quantize_to_store("mine", Choices("Q8_0"), name="small")
    assert stored() == {"mine": "F32", "small": "Q8_0"}
    assert first.digest != second.digest
    ModelStore().copy(parse_name("mine"), parse_name("copy"))
    for name in ("mine", "copy"):
        with pytest.raises(NameTakenError):
            quantize_to_store("mine", Choices("Q8_0"), name=name)
    assert stored() == {"copy": "F32", "mine": "F32", "small": "Q8_0"}


def test_a_model_does_not_take_its_own_place(wide: Path):
    quantize_to_store(str(wide), Choices("Q8_0"))
    with pytest.raises(NameTakenError, match="the name `wide:q8_0` belongs to"):
        quantize_to_store("wide:q8_0", Choices("Q8_0", allow_requantize=True))


# A file.


def test_a_file_is_written_and_the_store_left_alone(llmasos: Run, wide: Path, tmp_path: Path):
    output = tmp_path / "out.gguf"
    result = llmasos("quantize", wide, "-t", "Q8_0", "-o", output, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == [{"path": str(output), "size": output.stat().st_size}]
    assert read_header(output).metadata["general.file_type"] == 7
    assert stored() == {}


def test_every_flag_says_the_same_as_to_llama_quantize(llmasos: Run, wide: Path, tmp_path: Path):
    flags = ["--output-type", "q8_0", "--embedding-type", "q5_1", "--pure", "--prune-layers", "0"]
    flags += ["--tensor-type", "attn_[vk]=q6_k", "--tensor-type", r"blk\.0\.ffn_(up|down)=f16"]
    result = llmasos("quantize", wide, "-t", "Q4_K_M", *flags, "-o", tmp_path / "ours.gguf")
    assert result.exit_code == 0, result.stderr
    overrides = (("attn_[vk]", "Q6_K"), (r"blk\.0\.ffn_(up|down)", "F16"))
    choices = Choices("Q4_K_M", overrides, "Q8_0", "Q5_1", pure=True, pruned_layers=(0,))
    assert llama_quantize(wide, tmp_path / "theirs.gguf", choices)
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_parts_are_kept_if_asked_for(llmasos: Run, tmp_path: Path):
    (tmp_path / "parts").mkdir()
    write_tiny(tmp_path / "parts" / "m.gguf", WIDE, tensors_a_shard=8)
    first, *others = sorted((tmp_path / "parts").iterdir())
    result = llmasos("quantize", first, "-t", "Q8_0", "-o", tmp_path / "new.gguf", "--keep-split", "--json")
    assert result.exit_code == 0, result.stderr
    paths = [Path(part["path"]) for part in json.loads(result.stdout)]
    assert len(paths) == 1 + len(others)
    answer = llmasos("run", paths[0], "Hello", "--max-tokens", "2", "--ignore-eos", "--json")
    assert json.loads(answer.stdout)["tokens"]["completion"] == 2


@pytest.mark.parametrize("target", ["m-00001-of-00003.gguf", "m.gguf"])
def test_a_model_is_not_written_over_itself(llmasos: Run, tmp_path: Path, target: str):
    write_tiny(tmp_path / "m.gguf", WIDE, tensors_a_shard=8)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.gguf")}
    keep = ["--keep-split"] if target == "m.gguf" else []
    result = llmasos("quantize", tmp_path / "m-00001-of-00003.gguf", "-t", "Q8_0", "-o", tmp_path / target, *keep)
    assert result.exit_code == 2
    assert "m-00001-of-00003.gguf is the model itself" in result.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.gguf")} == before


# A dry run.


def test_a_dry_run_tells_types_and_size_and_writes_nothing(llmasos: Run, wide: Path, tmp_path: Path):
    plain = llmasos("quantize", wide, "-t", "Q4_K_M", "--dry-run")
    assert plain.exit_code == 0, plain.stderr
    assert [line.split()[:2] for line in plain.stdout.splitlines()] == [
        ["TYPE", "TENSORS"], ["Q4_K", "13"], ["Q6_K", "3"], ["F32", "5"],
    ]  # fmt: skip
    told = json.loads(llmasos("quantize", wide, "-t", "Q4_K_M", "--dry-run", "--json").stdout)
    assert (told["type"], told["types"]["F32"]) == ("Q4_K_M", {"tensors": 5, "size": 5 * 256 * 4})
    assert stored() == {}
    assert llmasos("quantize", wide, "-t", "Q4_K_M", "-o", tmp_path / "out.gguf").exit_code == 0
    assert told["size"] == (tmp_path / "out.gguf").stat().st_size


def test_a_dry_run_of_a_checkpoint_reads_no_weights(llmasos: Run, tmp_path: Path):
    folder = write_checkpoint(tmp_path / "tiny", "llama3")
    told = llmasos("quantize", folder, "-t", "Q4_K_M", "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    [path] = convert(folder, tmp_path / "whole.gguf", "Q4_K_M")
    assert abs(json.loads(told.stdout)["size"] - path.stat().st_size) < 256


def test_a_dry_run_fetches_nothing(llmasos: Run, tmp_path: Path, hub: StandInHub):
    hub.add_huggingface("maker/tiny", write_checkpoint(tmp_path / "tiny", "llama3"))
    result = llmasos("quantize", "maker/tiny", "-t", "Q4_K_M", "--dry-run")
    assert result.exit_code == 3
    assert "model `maker/tiny` is not installed, and a dry run fetches nothing" in result.stderr
    assert hub.requests == []


# What is refused.


@pytest.mark.parametrize(
    ("options", "exit_code", "told"),
    [
        (["-t", "Q4_K_M", "-o", "out.gguf", "--as", "mine"], 2, "--as and -o exclude each other"),
        (["-t", "Q4_K_M", "--keep-split"], 2, "--keep-split goes with -o"),
        (["-t", "Q4_K_M", "--prune-layers", "1,,2"], 2, "--prune-layers can't be `1,,2`"),
        (["-t", "Q4_K_M", "--prune-layers", "3-1"], 2, "of a range the smaller number comes first"),
        (["-t", "Q4_K_M", "--prune-layers", "0-99999999"], 2, "--prune-layers can't be"),
        (["-t", "Q4_K_M", "--prune-layers", "1,7"], 5, "there is no layer 7 to prune: the model has 2"),
        (["-t", "Q4_K_M", "--prune-layers", "0-1"], 5, "a model without any layers is none"),
        (["-t", "Q4_K_M", "--tensor-type", "attn_v"], 2, "--tensor-type can't be `attn_v`"),
        (["-t", "Q4_K_M", "--tensor-type", "attn_v=Q4_K_M"], 5, "a tensor can't have the type `Q4_K_M`"),
        (["-t", "Q4_K_M", "--tensor-type", "(=Q8_0"], 5, "`(` is no regular expression"),
        (["-t", "Q4_K_M", "--output-type", "Q9"], 5, "a tensor can't have the type `Q9`"),
        (["-t", "Q4_K_X"], 5, "there is no type `Q4_K_X`"),
        (["-t", "IQ2_XXS"], 5, "IQ2_XXS needs an importance matrix"),
        ([], 2, "say what to make: -t TYPE"),
        (["-t", "Q4_0", "-f", "text.txt"], 2, "--imatrix-only makes nothing but an importance matrix"),
        (["--imatrix-only"], 2, "--imatrix-only makes nothing but an importance matrix"),
        (["--imatrix-only", "-o", "m.gguf", "-t", "Q4_0"], 2, "--imatrix-only makes nothing but an importance matrix"),
        (["-t", "Q4_0", "--imatrix", "nothing.gguf"], 5, "there is no file nothing.gguf"),
        (["-t", "BF16", "--imatrix", "auto"], 2, "of no use for BF16"),
        (["-t", "Q4_K_M", "-o", "nowhere/out.gguf"], 5, "there is no folder"),
        (["-t", "Q4_K_M", "--as", "no name"], 2, "no name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_that_can_not_be_meant_says_why(llmasos: Run, wide: Path, options: list[str], exit_code: int, told: str):
    result = llmasos("quantize", wide, *options)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert stored() == {}


def test_an_importance_matrix_is_made_and_used(llmasos: Run, wide: Path, tmp_path: Path):
    text, matrix = tmp_path / "text.txt", tmp_path / "wide.imatrix"
    text.write_text(TEXT, encoding="utf-8")
    made = llmasos("quantize", wide, "--imatrix-only", "-f", text, "-o", matrix, "--json")
    assert (made.exit_code, json.loads(made.stdout)) == (0, [{"path": str(matrix), "size": matrix.stat().st_size}])
    assert "14 tensors, 20 pieces of 256 tokens" in made.stderr
    assert llmasos("quantize", wide, "-t", "IQ2_XXS", "--imatrix", matrix).exit_code == 0
    assert stored() == {"wide:iq2_xxs": "IQ2_XXS"}
    [path] = ModelStore().paths(model("wide:iq2_xxs"))
    assert read_header(path).metadata["quantize.imatrix.dataset"] == str(text)[:127]


def test_a_checkpoint_is_converted_by_importance(llmasos: Run, tmp_path: Path):
    folder, matrix = write_checkpoint(tmp_path / "checkpoint", "qwen3-moe"), GOLDENS / "qwen3-moe.imatrix"
    result = llmasos("convert", folder, "-t", "Q4_0", "--imatrix", matrix, "-o", tmp_path / "small.gguf")
    assert result.exit_code == 0
    assert read_header(tmp_path / "small.gguf").metadata["quantize.imatrix.entries_count"] == 16


def test_a_stored_model_that_is_quantized_already_is_told_by_its_name(llmasos: Run, wide: Path):
    quantize_to_store(str(wide), Choices("Q8_0"))
    result = llmasos("quantize", "wide:q8_0", "-t", "Q4_0")
    assert result.exit_code == 5
    assert "error: wide:q8_0 is quantized already (Q8_0)" in result.stderr
    assert "--allow-requantize does it all the same" in result.stderr
    assert llmasos("quantize", "wide:q8_0", "-t", "Q4_0", "--allow-requantize").exit_code == 0
    assert stored() == {"wide:q8_0": "Q8_0", "wide:q4_0": "Q4_0"}
    assert len(model("wide:q4_0").lineage) == 2


@pytest.mark.parametrize("options", [["--offline"], ["--offline", "-o", "x.gguf"]], ids=" ".join)
def test_offline_nothing_is_asked_for(llmasos: Run, hub: StandInHub, options: list[str]):
    result = llmasos("quantize", "maker/tiny", "-t", "Q8_0", *options)
    assert result.exit_code == 3
    assert "the network is off limits" in result.stderr
    assert hub.requests == []


def test_the_parts_of_a_checkpoint_are_not_kept(llmasos: Run, tmp_path: Path):
    folder = write_checkpoint(tmp_path / "tiny", "llama3")
    result = llmasos("quantize", folder, "-t", "Q8_0", "-o", tmp_path / "out.gguf", "--keep-split")
    assert result.exit_code == 2
    assert "is a checkpoint, whose parts are not a GGUF's" in result.stderr


@pytest.mark.parametrize("target", ["store", "file"])
def test_a_disk_that_fills_up_is_told_and_nothing_stays(wide: Path, tmp_path: Path, target: str):
    options = ["-o", str(tmp_path / "out.gguf")] if target == "file" else []
    done = subprocess.run(
        command("quantize", wide, "-t", "Q8_0", *options),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert (stored(), left_behind()) == ({}, [])
    assert list(tmp_path.glob("*out*")) == []


@needs_kernels
def test_verbose_tells_of_the_kernels_and_of_one_that_fails(wide: Path):
    program = (
        "from doubles.blocks import spoiled\n"
        "from llmasos import native\n"
        "from llmasos_cli.__main__ import main\n"
        "native.quantize = spoiled(native.quantize)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "quantize", wide, "-t", "Q8_0", "-v"],
        env=os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    used = kernels.LEVELS[kernels.level()]
    assert f"kernels: {used}\n" in done.stderr
    assert done.stderr.count(f"the {used} kernel for Q8_0 differs from ") == 1
    assert stored() == {"wide:q8_0": "Q8_0"}


# Help.


@pytest.mark.real  # the model reads whole texts
def test_the_examples_of_the_help_work(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    folder = write_checkpoint(tmp_path / "checkpoint", "llama3")
    convert(folder, tmp_path / "model-bf16.gguf", "BF16")
    convert_to_store(str(folder), name="mine")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    examples = re.findall(r"^\s+llmasos (quantize .*)$", quantize_command.__doc__ or "", re.MULTILINE)
    assert len(examples) == 9
    for example in examples:
        done = subprocess.run(command(*example.split()), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 or ("--max" in example and done.returncode == 6), (example, done.stderr)
    made = {"mine:q4_k_m": "Q4_K_M", "mine:iq3_xxs": "IQ3_XXS", "small": "Q4_K_M"}
    assert {"mine": "BF16", **made}.items() <= stored().items()
    assert "mine:4.5bpw" in stored()
    assert (tmp_path / "small.gguf").is_file()
