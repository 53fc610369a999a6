"""`llmasos export` on the command line: a checkpoint of a stored model or a file, or a clear reason why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from llmasos.formats.checkpoint import open_checkpoint


def test_a_stored_model_becomes_a_folder_that_converts_again(llmasos, tiny_model, tmp_path):
    assert llmasos("import", tiny_model, "--as", "tiny").exit_code == 0
    result = llmasos("export", "tiny", tmp_path / "back", "-t", "f32")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith(f"{tmp_path / 'back'} is ready: LlamaForCausalLM, F32\n")
    assert llmasos("convert", tmp_path / "back", "-o", tmp_path / "again.gguf").exit_code == 0


def test_the_type_is_bf16_unless_another_is_asked_for(llmasos, tiny_model, tmp_path):
    llmasos("export", tiny_model, tmp_path / "half")
    llmasos("export", tiny_model, tmp_path / "full", "-t", "F32")
    half, full = open_checkpoint(tmp_path / "half", None), open_checkpoint(tmp_path / "full", None)
    assert {tensor.dtype for tensor in half.tensors.values()} == {"BF16"}
    assert {tensor.dtype for tensor in full.tensors.values()} == {"F32"}
    assert half.read("model.norm.weight").dtype == np.uint16


def test_json_tells_what_was_written(llmasos, tiny_model, tmp_path):
    told = json.loads(llmasos("export", tiny_model, tmp_path / "back", "--json").stdout)
    files = sorted(path.name for path in (tmp_path / "back").iterdir())
    assert told == {
        "path": str(tmp_path / "back"),
        "architecture": "LlamaForCausalLM",
        "type": "BF16",
        "size": sum((tmp_path / "back" / name).stat().st_size for name in files),
        "files": files,
    }


def test_a_folder_in_use_is_refused_before_anything_is_pulled(llmasos, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = llmasos("export", "smollm2", tmp_path)
    assert (result.exit_code, result.stderr) == (
        5,
        f"error: {tmp_path} is not empty\nhint: choose a folder that is new or empty\n",
    )


def test_an_unknown_type_is_refused_with_those_there_are(llmasos, tiny_model, tmp_path):
    result = llmasos("export", tiny_model, tmp_path / "back", "-t", "q4_0")
    assert (result.exit_code, result.stderr) == (
        5,
        "error: a checkpoint can't be `q4_0`\nhint: types: bf16, f32, f16\n",
    )


def test_a_model_that_is_not_here_is_not_pulled_offline(llmasos, tmp_path):
    result = llmasos("export", "smollm2", tmp_path / "back", "--offline")
    assert result.exit_code != 0
    assert not (tmp_path / "back").exists()


def test_something_that_is_no_gguf_is_refused(llmasos, tmp_path):
    (tmp_path / "model.gguf").write_text("no")
    result = llmasos("export", tmp_path / "model.gguf", tmp_path / "back")
    assert result.exit_code == 5
    assert "is not a GGUF file" in result.stderr
    assert not Path(tmp_path / "back").exists()
