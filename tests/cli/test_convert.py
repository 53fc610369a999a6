"""`llmasos convert`: where its output goes, what it is called, what it says, and how it fails."""

from __future__ import annotations

import json
import os
import re
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PROJECT, Result, command
from doubles.adapters import random_factors, write_peft
from doubles.checkpoints import write_checkpoint
from doubles.hub import StandInHub
from doubles.stored import stored
from llmasos.convert import convert_to_store
from llmasos.formats.gguf import read_header
from llmasos.store.store import ModelStore
from llmasos_cli.commands.convert_command import convert_command

Run = Callable[..., Result]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "Tiny-Llama", "llama3")


def hidden_files(folder: Path) -> list[Path]:
    incoming = ModelStore().home.incoming
    return [*folder.glob(".*"), *(incoming.rglob("*") if incoming.exists() else ())]


# The store.


def test_a_folder_becomes_a_model_of_its_name_that_runs(llmasos: Run, llama: Path):
    result = llmasos("convert", llama)
    assert (result.exit_code, result.stdout) == (0, "")
    assert 'tiny-llama is ready: llmasos run tiny-llama "Hello"\n' in result.stderr
    assert stored() == {"tiny-llama": "BF16"}
    answer = llmasos("run", "tiny-llama", "Hello", "--max-tokens", "2", "--ignore-eos", "--json")
    assert json.loads(answer.stdout)["tokens"]["completion"] == 2
    assert hidden_files(llama) == []


def test_a_type_asked_for_is_part_of_the_name(llmasos: Run, llama: Path):
    result = llmasos("convert", llama, "-t", "q4-k-m", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["name"], facts["quantization"]) == ("tiny-llama:q4_k_m", "Q4_K_M")
    assert facts["source"] == f"file:{llama}"
    assert stored() == {"tiny-llama:q4_k_m": "Q4_K_M"}


def test_a_name_can_be_given(llmasos: Run, llama: Path):
    assert llmasos("convert", llama, "--type", "F32", "--as", "mine:small").exit_code == 0
    assert stored() == {"mine:small": "F32"}


def test_a_repository_is_fetched_converted_and_dropped(llmasos: Run, llama: Path, hub: StandInHub):
    hub.add_huggingface("maker/tiny", llama)
    assert llmasos("convert", "maker/tiny", "-t", "Q8_0").exit_code == 0
    assert stored() == {"maker/tiny:q8_0": "Q8_0"}
    assert hidden_files(llama) == []


def test_a_type_in_the_reference_counts_unless_another_is_asked_for(llmasos: Run, llama: Path, hub: StandInHub):
    hub.add_huggingface("maker/tiny", llama)
    assert llmasos("convert", "hf:maker/tiny:q8-0").exit_code == 0
    assert llmasos("convert", "hf:maker/tiny:Q8_0", "-t", "F32").exit_code == 0
    assert stored() == {"maker/tiny:q8_0": "Q8_0", "maker/tiny:f32": "F32"}


def test_a_folder_need_not_be_written_as_a_path(llama: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    done = subprocess.run(command("convert", llama.name, "--offline"), cwd=llama.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert stored() == {"tiny-llama": "BF16"}


def test_the_name_of_another_model_is_not_taken(llmasos: Run, llama: Path, tmp_path: Path):
    assert llmasos("convert", llama, "--as", "mine").exit_code == 0
    result = llmasos("convert", write_checkpoint(tmp_path / "other", "gpt2"), "--as", "mine")
    assert result.exit_code == 1
    assert "the name `mine` belongs to" in result.stderr


# A file.


def test_a_file_is_written_and_the_store_left_alone(llmasos: Run, llama: Path, tmp_path: Path):
    output = tmp_path / "out.gguf"
    result = llmasos("convert", llama, "-t", "Q8_0", "-o", output, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == [{"path": str(output), "size": output.stat().st_size}]
    assert read_header(output).metadata["general.file_type"] == 7
    assert stored() == {}
    assert hidden_files(tmp_path) == []


def test_a_file_that_is_there_is_replaced_whole(llmasos: Run, llama: Path, tmp_path: Path):
    output = tmp_path / "out.gguf"
    output.write_bytes(b"old")
    result = llmasos("convert", llama, "--output", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"written: {output}\n" in result.stderr
    assert read_header(output).architecture == "llama"


def test_the_parts_of_a_split_file_run(llmasos: Run, llama: Path, tmp_path: Path):
    result = llmasos("convert", llama, "-o", tmp_path / "out.gguf", "--split-max-size", "1M", "--json")
    assert result.exit_code == 0, result.stderr
    paths = [Path(part["path"]) for part in json.loads(result.stdout)]
    assert [path.name for path in paths] == [
        f"out-{index:05}-of-{len(paths):05}.gguf" for index in range(1, len(paths) + 1)
    ]
    assert len(paths) > 1
    answer = llmasos("run", paths[0], "Hello", "--max-tokens", "2", "--ignore-eos", "--json")
    assert json.loads(answer.stdout)["tokens"]["completion"] == 2


# Calls that can't be meant.


@pytest.mark.parametrize(
    ("options", "exit_code", "told"),
    [
        (["-o", "out.gguf", "--as", "mine"], 2, "--as and -o exclude each other"),
        (["--split-max-size", "1G"], 2, "--split-max-size goes with a checkpoint and -o"),
        (["-o", "out.gguf", "--split-max-size", "much"], 2, "`much` is not a size"),
        (["-o", "nowhere/out.gguf"], 5, "there is no folder"),
        (["-o", "/"], 5, "it is a folder"),
        (["-t", "Q4_K_X"], 5, "there is no type `Q4_K_X`"),
        (["--as", "no name"], 2, "no name"),
    ],
)
def test_a_call_that_can_not_be_meant_says_why_at_once(
    llmasos: Run, llama: Path, options: list[str], exit_code: int, told: str
):
    result = llmasos("convert", llama, *options)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert "trying" not in result.stderr
    assert stored() == {}


def test_near_types_are_told(llmasos: Run, llama: Path):
    assert "`Q4_K_M`" in llmasos("convert", llama, "-t", "Q4_KM").stderr


@pytest.mark.parametrize("checkpoint", ["./nowhere", "/nowhere/at/all"])
def test_a_folder_that_is_not_there_is_not_found(llmasos: Run, checkpoint: str):
    result = llmasos("convert", checkpoint)
    assert result.exit_code == 3
    assert "there is no file" in result.stderr


def test_offline_no_repository_is_asked_for(llmasos: Run, hub: StandInHub):
    result = llmasos("convert", "maker/tiny", "--offline")
    assert result.exit_code == 3
    assert "there is no folder maker/tiny, and the network is off limits" in result.stderr
    assert hub.requests == []


@pytest.mark.parametrize(
    "options", [("-t", "Q4_K_X", "--as", "mine"), ("-t", "Q4_K_X", "-o", "x"), ("-o", "nowhere/x")]
)
def test_nothing_is_fetched_for_a_call_that_can_not_be_meant(
    llmasos: Run, llama: Path, hub: StandInHub, options: tuple[str, ...]
):
    hub.add_huggingface("maker/tiny", llama)
    assert llmasos("convert", "maker/tiny", *options).exit_code == 5
    assert hub.requests == []


def test_nothing_is_fetched_if_the_name_belongs_to_another_model(llmasos: Run, llama: Path, hub: StandInHub):
    assert llmasos("convert", llama, "--as", "mine").exit_code == 0
    hub.add_huggingface("maker/tiny", llama)
    assert llmasos("convert", "maker/tiny", "--as", "mine").exit_code == 1
    assert hub.sent_bytes("config.json") == 0


def test_nothing_is_fetched_for_a_type_that_there_is_not(llmasos: Run, llama: Path, hub: StandInHub):
    hub.add_huggingface("maker/tiny", llama)
    result = llmasos("pull", "maker/tiny:Q4_K_X")
    assert result.exit_code == 5
    assert "there is no type `Q4_K_X`" in result.stderr
    assert hub.sent_bytes("config.json") == 0


def test_what_holds_a_gguf_already_is_not_converted(llmasos: Run, tiny_model: Path):
    result = llmasos("convert", tiny_model)
    assert result.exit_code == 5
    assert "holds a GGUF already" in result.stderr


def test_problems_are_told_with_the_folder_that_was_named(llmasos: Run, llama: Path):
    (llama / "tokenizer.json").write_text("{")
    result = llmasos("convert", llama)
    assert result.exit_code == 5
    assert f"error: {llama / 'tokenizer.json'} is no JSON" in result.stderr


def test_problems_of_a_repository_are_told_with_its_name(llmasos: Run, llama: Path, hub: StandInHub):
    (llama / "tokenizer.json").write_text("{")
    commit = hub.add_huggingface("maker/tiny", llama)
    result = llmasos("pull", "maker/tiny")
    assert result.exit_code == 5
    assert f"error: hf:maker/tiny@{commit}/tokenizer.json is no JSON" in result.stderr
    assert hidden_files(llama) == []


# A full disk.


def test_a_disk_that_fills_up_is_told_and_nothing_stays(llama: Path, tmp_path: Path):
    done = subprocess.run(
        command("convert", llama, "-o", tmp_path / "out.gguf"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Tiny-Llama"]


def test_a_disk_that_fills_up_leaves_the_store_as_it_was(llmasos: Run, llama: Path):
    done = subprocess.run(
        command("convert", llama),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert (stored(), hidden_files(llama)) == ({}, [])
    assert llmasos("convert", llama).exit_code == 0


# Help.


@pytest.mark.real  # the model reads a whole text
def test_the_examples_of_the_help_work(llama: Path, tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    hub.add_huggingface("HuggingFaceTB/SmolLM2-135M", llama)
    convert_to_store(str(llama), name="smollm2")
    write_checkpoint(tmp_path / "SmolLM2-135M", "llama3")
    write_peft(tmp_path / "adapter", {"model.layers.0.self_attn.q_proj": random_factors(256, 256, 4)})
    examples = re.findall(r"^\s+llmasos (convert .*)$", convert_command.__doc__ or "", re.MULTILINE)
    assert len(examples) == 5
    for example in examples:
        done = subprocess.run(command(*example.split()), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, (example, done.stderr)
    made = {"smollm2-135m": "BF16", "small": "Q4_K_M", "tiny": "IQ3_XXS", "tuned": "F32"}
    assert stored() == {"smollm2": "BF16", **made}
    assert (tmp_path / "smol.gguf").is_file()


def test_what_is_no_file_is_never_replaced(llmasos: Run, llama: Path, tmp_path: Path):
    pipe, link, target = tmp_path / "pipe", tmp_path / "link.gguf", tmp_path / "target.gguf"
    os.mkfifo(pipe)
    refused = llmasos("convert", llama, "-o", pipe)
    assert (refused.exit_code, stat.S_ISFIFO(pipe.stat().st_mode)) == (5, True)
    assert "it is not a file" in refused.stderr
    target.write_bytes(b"old")
    link.symlink_to(target)
    assert llmasos("convert", llama, "-o", link).exit_code == 0
    assert (link.is_symlink(), target.read_bytes()[:4]) == (True, b"GGUF")


def test_a_name_that_nothing_has_is_no_trouble_with_the_network(llmasos: Run, llama: Path):
    unknown = llmasos("convert", "nosuchfolder")
    assert (unknown.exit_code, "there is no model `nosuchfolder`" in unknown.stderr) == (3, True)
    inside = llmasos("convert", llama / "model.safetensors")
    assert (inside.exit_code, "a folder with a checkpoint" in inside.stderr) == (5, True)


def test_a_checkpoint_that_is_to_be_run_is_to_be_converted_first(llmasos: Run, llama: Path):
    refused = llmasos("run", llama, "Hello")
    assert refused.exit_code == 5
    assert f"llmasos convert {llama}" in refused.stderr
