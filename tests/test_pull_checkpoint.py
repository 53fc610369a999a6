"""Pulling a checkpoint: what is stored is the GGUF made of it, and nothing else stays."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors, write_checkpoint
from doubles.checkpoints_files import write_safetensors
from doubles.hub import Fault, StandInHub
from llmasos.convert import convert_to_store
from llmasos.errors import BadInputError, DiskFullError, LlmasosError, NameTakenError, UnsuitableTypeError
from llmasos.formats.gguf import read_header
from llmasos.pull import pull
from llmasos.sources import download
from llmasos.store.store import ModelStore


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "llama3", "llama3")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "MOST_TRIES", 1)
    with StandInHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def test_a_repository_of_a_checkpoint_becomes_one_gguf(store: ModelStore, hub: StandInHub, checkpoint: Path):
    commit = hub.add_huggingface("org/tiny", checkpoint, license="apache-2.0")
    model = pull("org/tiny")
    assert (str(model.name), model.source, model.license) == ("org/tiny", f"hf:org/tiny@{commit}", "apache-2.0")
    assert model.lineage == (f"converted to BF16 from hf:org/tiny@{commit}",)
    assert [file.role for file in model.files] == ["weights"]
    header = read_header(store.paths(model)[0])
    assert (header.architecture, header.metadata["general.name"]) == ("llama", "tiny")
    assert header.metadata["llmasos.source"] == f"hf:org/tiny@{commit}"
    assert header.metadata["general.source.repo_url"] == "https://huggingface.co/org/tiny"
    assert len(list(store.blobs.all())) == 1
    assert files_below(store.home.incoming) == []


def test_a_type_asked_for_is_made_on_the_way(store: ModelStore, hub: StandInHub, checkpoint: Path):
    hub.add_huggingface("org/tiny", checkpoint)
    model = pull("org/tiny:q8_0")
    assert (str(model.name), model.facts.quantization) == ("org/tiny:q8_0", "Q8_0")
    assert pull("org/tiny:q8_0") == model
    assert pull("org/tiny").facts.quantization == "BF16"


def test_what_can_not_be_converted_is_refused_before_its_weights_are_fetched(
    store: ModelStore, hub: StandInHub, checkpoint: Path
):
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "MambaForCausalLM"))
    hub.add_huggingface("org/tiny", checkpoint)
    with pytest.raises(BadInputError, match="no conversion for MambaForCausalLM; there are: .*GPT2LMHeadModel"):
        pull("org/tiny")
    assert hub.sent_bytes("model.safetensors") == 0
    assert (store.models(), files_below(store.home.incoming)) == ([], [])


def test_an_interrupted_pull_fetches_only_what_is_missing(store: ModelStore, hub: StandInHub, checkpoint: Path):
    hub.add_huggingface("org/tiny", checkpoint)
    weights = (checkpoint / "model.safetensors").read_bytes()
    address = f"/cdn/{hashlib.sha256(weights).hexdigest()}"
    hub.fault(address, Fault(drop_after=len(weights) // 2, reset=False), times=1)
    hub.fault(address, Fault(status=404), times=None)
    with pytest.raises(LlmasosError):
        pull("org/tiny")
    hub.clear_faults()
    hub.reset_requests()
    assert pull("org/tiny").facts.architecture == "llama"
    assert 0 < hub.sent_bytes(address) < len(weights)


def test_a_folder_is_converted_and_left_as_it_is(store: ModelStore, checkpoint: Path):
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    model = pull(str(checkpoint), name="mine")
    assert (model.facts.architecture, model.source) == ("llama", f"file:{checkpoint}")
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before


def test_converting_again_replaces_what_the_same_folder_gave(store: ModelStore, checkpoint: Path):
    first = convert_to_store(str(checkpoint), "Q8_0", store=store)
    assert str(first.name) == "llama3:q8_0"
    generation = checkpoint / "generation_config.json"
    generation.write_text('{"temperature": 0.5}')
    second = convert_to_store(str(checkpoint), "q8-0", store=store)
    assert (second.name, store.models()) == (first.name, [second])
    assert read_header(store.paths(second)[0]).metadata["general.sampling.temp"] == 0.5


def test_the_name_of_another_model_is_not_taken(store: ModelStore, checkpoint: Path, tmp_path: Path):
    pull(str(checkpoint), name="mine")
    other = write_checkpoint(tmp_path / "gpt2", "gpt2")
    with pytest.raises(NameTakenError, match="the name `mine` belongs to a model from file:"):
        convert_to_store(str(other), name="mine", store=store)


def test_what_a_kill_leaves_is_pruned_links_that_lead_nowhere_too(store: ModelStore):
    folder = store.home.incoming / ("f" * 64)
    folder.mkdir(parents=True)
    (folder / "config.json").symlink_to(store.home.incoming / "gone.partial")
    (folder / ".model.gguf.unfinished").write_bytes(b"half")
    assert store.prune(older_than_seconds=0).freed_bytes >= 4
    assert list(store.home.incoming.iterdir()) == []


@pytest.mark.parametrize("kind", ["IQ2_XXS", "IQ1_S", "Q2_K_S"])
def test_a_type_that_can_not_be_made_is_refused_before_anything_is_fetched(
    hub: StandInHub, checkpoint: Path, kind: str
):
    hub.add_huggingface("org/tiny", checkpoint)
    with pytest.raises(UnsuitableTypeError, match=f"{kind} needs an importance matrix"):
        pull(f"org/tiny:{kind}")
    assert hub.sent_bytes("model.safetensors") + hub.sent_bytes("/cdn/") == 0


def test_weights_that_another_type_can_hold_need_not_be_fetched_again(
    store: ModelStore, hub: StandInHub, tmp_path: Path
):
    folder = write_checkpoint(tmp_path / "gpt2", "gpt2")
    large = {**tensors(CHECKPOINTS["gpt2"]), "h.0.mlp.c_fc.weight": np.full((64, 256), 1e6, np.float32)}
    write_safetensors(folder / "model.safetensors", large)
    hub.add_huggingface("org/tiny", folder)
    with pytest.raises(UnsuitableTypeError, match="values too large for F16"):
        pull("org/tiny:F16")
    hub.reset_requests()
    assert pull("org/tiny:BF16").facts.quantization == "BF16"
    assert hub.sent_bytes("/cdn/") == 0


def test_a_disk_too_small_for_all_of_it_is_told_before_the_weights_are_fetched(
    store: ModelStore, hub: StandInHub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    hub.add_huggingface("org/tiny", checkpoint)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(DiskFullError, match="will take .* more, and 1.0 kB are free"):
        pull("org/tiny")
    assert hub.sent_bytes("/cdn/") == 0
