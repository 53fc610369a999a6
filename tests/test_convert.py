"""Converting on request what lies on this disk: which of a folder's files are meant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from doubles.checkpoints import write_checkpoint
from llmasos.convert import convert_to_file
from llmasos.engine.trial import require_trial
from llmasos.errors import BadInputError

PAD = {"content": "[PAD]", "special": True, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False}


def test_a_checkpoint_is_converted_whatever_gguf_files_lie_beside_it(tmp_path: Path):
    folder = write_checkpoint(tmp_path / "llama3", "llama3")
    for name, type_name in (("first.gguf", "auto"), ("second.gguf", "F16"), ("first.gguf", "auto")):
        assert convert_to_file(str(folder), folder / name, type_name) == [folder / name]


def test_a_folder_of_a_gguf_alone_holds_nothing_to_convert(tmp_path: Path):
    folder = write_checkpoint(tmp_path / "llama3", "llama3")
    convert_to_file(str(folder), folder / "first.gguf")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInputError, match="holds a GGUF already"):
        convert_to_file(str(folder), tmp_path / "out.gguf")


def test_a_part_that_is_left_of_another_split_changes_nothing(tmp_path: Path):
    folder = write_checkpoint(tmp_path / "llama3", "llama3", layout="shards")
    [path] = convert_to_file(str(folder), tmp_path / "before.gguf")
    shutil.copy(folder / "model-00001-of-00003.safetensors", folder / "model-00002-of-00005.safetensors")
    [again] = convert_to_file(str(folder), tmp_path / "after.gguf")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["llama3", "llama2", "llama2-json"])
def test_llama_cpp_runs_a_model_whose_tokenizer_has_a_token_more_than_it_has_rows(name: str, tmp_path: Path):
    folder = write_checkpoint(tmp_path / name, name)
    tokenizer, config = folder / "tokenizer.json", json.loads((folder / "config.json").read_text())
    whole = json.loads(tokenizer.read_text("utf-8"))
    whole["added_tokens"].append({"id": config["vocab_size"], **PAD})
    tokenizer.write_text(json.dumps(whole), "utf-8")
    require_trial(convert_to_file(str(folder), tmp_path / "out.gguf"), tmp_path / "trials")
