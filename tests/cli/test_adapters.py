"""Adapters on the command line: stored under a name, shown, run with a model, refused with a clear reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.adapters import write_adapter
from doubles.hub import StandInHub
from doubles.tiny import TinyModel

FIXED = ("--temperature", "0", "--max-tokens", "12", "--ignore-eos", "--raw")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter.gguf")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with StandInHub() as hub:
        monkeypatch.setenv("LLMASOS_OLLAMA_REGISTRY", hub.url)
        yield hub


def answer(llmasos, model: Path | str, *loras: str | Path) -> str:
    flags = [part for lora in loras for part in ("--lora", lora)]
    result = llmasos("run", model, "the cat", *FIXED, *flags)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_an_adapter_changes_the_answer_and_at_scale_0_it_does_not(llmasos, tiny_model, adapter):
    plain = answer(llmasos, tiny_model)
    assert answer(llmasos, tiny_model, adapter) != plain
    assert answer(llmasos, tiny_model, f"{adapter}:0") == plain
    assert answer(llmasos, tiny_model, adapter, f"{adapter}:-1") == plain


def test_a_stored_adapter_runs_by_its_name(llmasos, tiny_model, adapter):
    assert llmasos("import", adapter, "--as", "pirate").exit_code == 0
    expected = answer(llmasos, tiny_model, adapter)
    assert answer(llmasos, tiny_model, "pirate") == expected
    assert answer(llmasos, tiny_model, "pirate:1.0") == expected
    assert answer(llmasos, tiny_model, "pirate:latest:0") == answer(llmasos, tiny_model)


def test_a_stored_adapter_is_listed_and_shown_as_one(llmasos, adapter):
    llmasos("import", adapter, "--as", "pirate")
    listed = llmasos("list").stdout
    assert "pirate" in listed and "adapter" in listed
    shown = json.loads(llmasos("show", "pirate", "--json").stdout)
    assert [file["role"] for file in shown["files"]] == ["adapter"]
    assert shown["architecture"] == "llama"
    assert Path(shown["path"]).read_bytes() == adapter.read_bytes()


def test_an_adapter_alone_does_not_run(llmasos, adapter):
    llmasos("import", adapter, "--as", "pirate")
    stored, file = llmasos("run", "pirate", "x"), llmasos("run", adapter, "x")
    assert (stored.exit_code, file.exit_code) == (5, 5)
    assert "pirate is an adapter (LoRA)" in stored.stderr
    assert "llmasos run MODEL --lora pirate" in stored.stderr
    assert "--lora" in file.stderr


def test_what_is_no_adapter_for_the_model_is_refused(llmasos, tiny_model, tmp_path):
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"GGUF" + bytes(range(200)))
    text = tmp_path / "text.gguf"
    text.write_text("no GGUF at all")
    other = write_adapter(tmp_path / "other.gguf", architecture="gpt2")
    wide = write_adapter(tmp_path / "wide.gguf", model=TinyModel(embedding_length=32))
    for lora, problem in (
        (garbage, "garbage.gguf is"),
        (text, "is not a GGUF file"),
        (other, "other.gguf is an adapter for gpt2, and tiny.gguf is llama"),
        (wide, "wide.gguf is an adapter for another model than tiny.gguf"),
        (tiny_model, "tiny.gguf is no adapter"),
        (tmp_path, "is a folder, no GGUF adapter"),
    ):
        result = llmasos("run", tiny_model, "x", "--lora", lora)
        assert (result.exit_code, result.stdout) == (5, ""), result.stderr
        assert problem in result.stderr


@pytest.mark.parametrize(
    ("lora", "exit_code", "problem"),
    [
        ("nowhere", 3, "there is no adapter `nowhere`"),
        ("./nowhere.gguf", 3, "there is no file"),
        ("pirate:nan", 2, "--lora can't be `pirate:nan`"),
        ("pirate:inf", 2, "--lora can't be `pirate:inf`"),
        (":1", 2, "--lora can't be `:1`"),
    ],
)
def test_a_wrong_name_or_scale_is_told_before_a_model_is_looked_for(llmasos, lora: str, exit_code: int, problem: str):
    result = llmasos("run", "no/such-model", "x", "--lora", lora)
    assert result.exit_code == exit_code
    assert problem in result.stderr


def test_a_broken_adapter_is_not_stored(llmasos, tmp_path):
    broken = write_adapter(tmp_path / "broken.gguf", tensors={"blk.0.attn_q.weight.lora_b": None})
    result = llmasos("import", broken, "--as", "broken")
    assert result.exit_code == 5
    assert "`blk.0.attn_q.weight` has no" in result.stderr
    assert llmasos("list", "--json").stdout == "[]\n"


def test_an_adapter_that_the_engine_fails_on_ends_no_process_of_ours(llmasos, tiny_model, adapter):
    """A number in another format than llama.cpp asks for: our check of the header takes it, the trial doesn't."""
    content = adapter.read_bytes()
    key = b"adapter.lora.alpha"
    place = content.index(key) + len(key)
    adapter.write_bytes(content[:place] + (12).to_bytes(4, "little") + b"\0" * 8 + content[place + 8 :])
    result = llmasos("run", tiny_model, "x", "--lora", adapter)
    assert result.exit_code == 5
    assert "adapter.gguf" in result.stderr


def test_an_ollama_model_runs_with_the_adapter_that_it_comes_with(llmasos, hub, tiny_model, adapter):
    hub.add_ollama("library/pirate", "1b", model=tiny_model, adapter=adapter)
    assert llmasos("pull", "ollama:pirate:1b", "--as", "parrot").exit_code == 0
    expected = answer(llmasos, tiny_model, adapter)
    assert answer(llmasos, "parrot") == expected
    assert answer(llmasos, "parrot", f"{adapter}:-1") == answer(llmasos, tiny_model)


def test_an_adapter_that_is_no_gguf_keeps_an_ollama_model_from_running(llmasos, hub, tiny_model):
    hub.add_ollama("library/old", "1b", model=tiny_model, adapter=b"ggla" + bytes(100))
    result = llmasos("run", "ollama:old:1b", "x")
    assert result.exit_code == 5
    assert "comes with an adapter (LoRA) that is no GGUF" in result.stderr


def test_a_models_own_parameters_name_no_adapter(llmasos, hub, tiny_model, adapter):
    hub.add_ollama("library/sly", "1b", model=tiny_model, params={"lora": [str(adapter)]})
    assert llmasos("pull", "ollama:sly:1b", "--as", "sly").exit_code == 0
    assert answer(llmasos, "sly") == answer(llmasos, tiny_model)


def test_an_adapter_can_be_chosen_by_environment_and_configuration(llmasos, tiny_model, adapter, home, monkeypatch):
    expected = answer(llmasos, tiny_model, adapter)
    monkeypatch.setenv("LLMASOS_LORA", str(adapter))
    assert answer(llmasos, tiny_model) == expected
    monkeypatch.delenv("LLMASOS_LORA")
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(f'lora = ["{adapter}"]\n')
    assert answer(llmasos, tiny_model) == expected
