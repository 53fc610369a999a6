"""Every tiny checkpoint becomes what llama.cpp's own converter makes of it: tensors to the byte, metadata to the key.

What may differ is listed here, with the reason. The goldens were made by `tools/make_conversion_goldens.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from doubles.checkpoints import CHECKPOINTS, write_checkpoint
from doubles.checkpoints_goldens import FOLDER, describe, golden
from llmasos.conversion.convert import convert

# Names and origins: llama.cpp guesses them from the folder's name, llmasos says where the checkpoint comes from.
PROVENANCE = {
    "general.name", "general.basename", "general.finetune", "general.version", "general.size_label", "general.license",
    "general.organization", "llmasos.source",
}  # fmt: skip
# For some families it leaves out what kind of file this is.
FILE_TYPE = "general.file_type"
LAYOUTS = {"gpt2": "gpt2-saved"}  # llama.cpp's converter fails on the first; it is the second in another layout
# Where only tokenizer.json tells the merges, llama.cpp's converter gives every token the same score, and the engine
# then merges in another order than the tokenizer does.
# llama.cpp's converter leaves it to a switch of its programs that a model's head is used.
CLASSIFIERS = ("bert-classifier", "bert-reranker")
OTHERWISE = {"llama2-json": {"tokenizer.ggml.scores"}, **dict.fromkeys(CLASSIFIERS, {"bert.pooling_type"})}
# A classifier reads the first token through the pooler, which llama.cpp's converter leaves out: other scores.
OURS_ALONE = dict.fromkeys(CLASSIFIERS, {"cls.weight", "cls.bias"})
TYPES = {"f16": "F16", "bf16": "BF16"}


def golden_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def checkpoint_and_type(name: str) -> tuple[str, str]:
    """`llama3-bf16` -> `llama3`, `BF16`."""
    stem, _, kind = name.rpartition("-")
    return (stem, TYPES[kind]) if kind in TYPES else (name, "F32")


def comparable(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    left_out = PROVENANCE | OTHERWISE.get(name, set())
    return {key: value for key, value in metadata.items() if key not in left_out}


@pytest.mark.parametrize("name", golden_names())
def test_a_conversion_is_llama_cpp_s_own(name: str, tmp_path: Path):
    checkpoint, type_name = checkpoint_and_type(name)
    [converted] = convert(write_checkpoint(tmp_path / checkpoint, checkpoint), tmp_path / "out.gguf", type_name)
    ours, theirs = describe(converted), golden(LAYOUTS.get(name, name))
    more = {tensor: ours["tensors"].pop(tensor) for tensor in OURS_ALONE.get(name, ())}
    assert ours["tensors"] == theirs["tensors"]
    assert not more.keys() & theirs["tensors"].keys()
    theirs["metadata"].setdefault(FILE_TYPE, ours["metadata"][FILE_TYPE])
    assert comparable(ours["metadata"], name) == comparable(theirs["metadata"], name)


def test_there_is_a_golden_for_every_checkpoint():
    assert {checkpoint_and_type(name)[0] for name in golden_names()} == set(CHECKPOINTS)
