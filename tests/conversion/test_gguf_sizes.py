"""What a GGUF's header tells of a model in the terms of its conversion: the same as the checkpoint's config.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from doubles.checkpoints import CHECKPOINTS, write_checkpoint
from llmasos.conversion.architecture import find_architecture
from llmasos.conversion.config import read_config
from llmasos.conversion.convert import prepare
from llmasos.conversion.gguf_sizes import find_gguf_architecture
from llmasos.errors import BadInputError
from llmasos.formats.gguf import GgufHeader, TensorInfo


def header_of(folder: Path) -> GgufHeader:
    """The header that the GGUF of a checkpoint would have."""
    prepared = prepare(folder, "F32")
    tensors = tuple(TensorInfo(job.name, job.shape[::-1], 0, 0) for job in prepared.jobs)
    return GgufHeader(3, prepared.metadata, tensors, 0, 0)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_sizes_are_those_that_the_checkpoint_has(name: str, tmp_path: Path):
    folder = write_checkpoint(tmp_path, name)
    config = read_config(folder)
    wanted = find_architecture(config)
    stated = wanted.sizes(config.with_defaults(wanted.defaults))
    architecture, sizes = find_gguf_architecture([header_of(folder)])
    assert architecture.name == wanted.name
    named = {each for rule in architecture.rules for text in rule.shape.split() for each in text.split("*")}
    assert {key: sizes.get(key) for key in named & set(stated)} == {key: stated[key] for key in named & set(stated)}
    shared = {key: value for key, value in sizes.items() if key in stated}
    assert shared == {key: stated[key] for key in shared}


def test_experts_tell_mixtral_from_what_has_the_same_name_without_them(tmp_path: Path):
    architecture, sizes = find_gguf_architecture([header_of(write_checkpoint(tmp_path, "mixtral"))])
    assert (architecture.classes, sizes["experts"]) == (("MixtralForCausalLM",), 4)


def test_shards_are_read_together(tmp_path: Path):
    header = header_of(write_checkpoint(tmp_path, "llama2"))
    shards = [replace(header, tensors=header.tensors[::2]), replace(header, tensors=header.tensors[1::2])]
    assert find_gguf_architecture(shards)[1] == find_gguf_architecture([header])[1]


def test_shapes_that_contradict_each_other_are_refused_by_name(tmp_path: Path):
    header = header_of(write_checkpoint(tmp_path, "llama2"))
    wrong = [replace(each, shape=(each.shape[0], 7)) if "attn_q" in each.name else each for each in header.tensors]
    with pytest.raises(BadInputError, match="`blk.0.attn_q.weight` has a dimension of 7 where queries = "):
        find_gguf_architecture([replace(header, tensors=tuple(wrong))])


def test_an_unknown_architecture_is_refused_with_those_there_are():
    with pytest.raises(BadInputError, match="no tensors of the architecture mamba; it knows bert, falcon"):
        find_gguf_architecture([GgufHeader(3, {"general.architecture": "mamba"}, (), 0, 0)])
