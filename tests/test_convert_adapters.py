"""Adapters made from PEFT's folders and stored: found by name, for a base of any kind that is here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from doubles.adapters import random_factors, write_adapter, write_peft
from doubles.checkpoints import write_checkpoint
from llmasos.convert import convert_adapter_to_store, find_base
from llmasos.errors import BadInputError, ModelNotFoundError, NameTakenError
from llmasos.locate import locate_adapter
from llmasos.pull import pull
from llmasos.store.store import ModelStore


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


@pytest.fixture
def peft(tmp_path: Path) -> Path:
    """An adapter for the tiny model."""
    return write_peft(tmp_path / "peft", {"model.layers.0.self_attn.q_proj": random_factors(64, 64, 4)})


def test_an_adapter_is_stored_with_what_it_was_made_from(peft: Path, tiny_model: Path, store: ModelStore):
    manifest = convert_adapter_to_store(peft, str(tiny_model), name="mine")
    assert store.models() == [manifest]
    assert (manifest.is_adapter, manifest.facts.architecture, manifest.facts.quantization) == (True, "llama", "F32")
    assert manifest.source == f"file:{peft}"
    assert manifest.lineage == (f"converted to F32 from file:{peft} for {tiny_model}",)
    assert locate_adapter("mine:0.5").scale == 0.5
    assert list(store.home.incoming.iterdir()) == []


def test_only_the_same_folder_s_adapter_is_replaced(peft: Path, tiny_model: Path, store: ModelStore):
    first = convert_adapter_to_store(peft, str(tiny_model), name="mine")
    other = write_peft(peft.parent / "other", {"model.layers.1.self_attn.q_proj": random_factors(64, 64, 4)})
    with pytest.raises(NameTakenError):
        convert_adapter_to_store(other, str(tiny_model), name="mine")
    assert store.models() == [first]
    shutil.rmtree(peft)
    shutil.copytree(other, peft)
    second = convert_adapter_to_store(peft, str(tiny_model), name="mine")
    assert (store.models(), second.digest == first.digest) == ([second], False)


def test_a_base_is_a_stored_model_a_file_or_a_checkpoints_folder(tiny_model: Path, tmp_path: Path, store: ModelStore):
    pull(str(tiny_model), name="base")
    stored, file = find_base("base", store), find_base(str(tiny_model), store)
    assert stored == file
    assert file.sizes["queries"] == 64
    assert find_base(str(write_checkpoint(tmp_path / "gpt2", "gpt2")), store).architecture.name == "gpt2"


def test_what_is_no_base_is_refused(tiny_model: Path, tmp_path: Path, store: ModelStore):
    pull(str(tiny_model), name="base")
    pull(str(write_adapter(tmp_path / "adapter.gguf")), name="adapter")
    with pytest.raises(ModelNotFoundError, match="there is no model `bose` here") as caught:
        find_base("bose", store)
    assert caught.value.near == ("base",)
    with pytest.raises(BadInputError, match="adapter is no model"):
        find_base("adapter", store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="empty is no model: it has neither GGUF files nor a config.json"):
        find_base(str(tmp_path / "empty"), store)


def test_a_name_that_ends_in_a_number_can_be_an_adapters(tmp_path: Path, store: ModelStore):
    adapter = write_adapter(tmp_path / "adapter.gguf")
    pull(str(adapter), name="mine:7")
    assert (locate_adapter("mine:7").name, locate_adapter("mine:7").scale) == ("mine:7", 1)
    assert (locate_adapter("mine:7:2").name, locate_adapter("mine:7:2").scale) == ("mine:7", 2)
    shutil.copy(adapter, tmp_path / "file.gguf")
    assert locate_adapter(f"{tmp_path / 'file.gguf'}:-0.25").scale == -0.25
