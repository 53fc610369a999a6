"""`llmasos run gpt2` from an empty home: pulled, converted, run and kept; the text is that of transformers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from conftest import PROJECT, Result, command
from doubles.checkpoints import write_checkpoint
from doubles.hub import StandInHub
from llmasos import LLM
from llmasos.formats.gguf import read_header
from llmasos.store.store import ModelStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

REPOSITORY = "openai-community/gpt2"
PROMPT, COUNT = "The quick brown fox", 8
CLEAR_LEAD = 0.01  # of the best logit over the next one: ten times what weights in float16 change
# What else the repository holds: the same weights in formats of other libraries, and papers.
OTHER_FILES = (
    *("64-8bits.tflite", "64.tflite", "flax_model.msgpack", "pytorch_model.bin", "rust_model.ot", "tf_model.h5"),
    *("README.md", ".gitattributes", "onnx/config.json", "onnx/decoder_model.onnx", "onnx/tokenizer.json"),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "gpt2", "gpt2")


@pytest.fixture
def hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    files: dict[str, bytes | Path] = {path.name: path for path in checkpoint.iterdir()}
    with StandInHub() as hub:
        hub.add_huggingface(REPOSITORY, files | dict.fromkeys(OTHER_FILES, b"not asked for"), license="mit")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def answer(llmasos: Callable[..., Result], model: str, *options: str) -> Any:
    result = llmasos("run", model, PROMPT, "--max-tokens", str(COUNT), "--temperature", "0", "--json", *options)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def continuation(checkpoint: Path) -> str:
    """What transformers finds likeliest, token by token; fails if any choice was a close one."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokens = tokenizer(PROMPT, return_tensors="pt").input_ids
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(COUNT):
            best = model(torch.cat([tokens, torch.tensor([written], dtype=torch.long)], dim=1)).logits[0, -1].topk(2)
            assert float(best.values[0] - best.values[1]) > CLEAR_LEAD, "choose another prompt"
            written.append(int(best.indices[0]))
    return str(tokenizer.decode(written))


def test_gpt2_answers_as_transformers_does_from_an_empty_home(llmasos, hub: StandInHub, checkpoint: Path):
    first = answer(llmasos, "gpt2")
    assert first["text"] == continuation(checkpoint)
    assert first["tokens"]["completion"] == COUNT
    [model] = ModelStore().models()
    assert (str(model.name), model.facts.quantization, model.license) == ("gpt2", "F16", "MIT")
    assert model.source.startswith(f"hf:{REPOSITORY}@")
    assert hub.sent_bytes("pytorch_model.bin") == 0

    hub.reset_requests()
    assert answer(llmasos, "gpt2")["text"] == first["text"]
    assert answer(llmasos, "gpt2", "--offline")["text"] == first["text"]
    assert hub.requests == []


def test_python_gets_it_with_the_words_of_transformers(hub: StandInHub, checkpoint: Path):
    with LLM.from_pretrained("gpt2") as model:
        assert model.generate(PROMPT, max_new_tokens=COUNT) == continuation(checkpoint)
        most = len(model.tokenize(PROMPT)) + COUNT
        text = model.generate(prompt=PROMPT, max_length=most, num_beams=5)
        assert text == model.generate(prompt=PROMPT, max_new_tokens=COUNT, num_beams=5)
        assert text
    assert hub.sent_bytes("pytorch_model.bin") == 0


def test_without_more_words_it_streams_a_text(hub: StandInHub):
    done = subprocess.run(
        command("run", "gpt2", PROMPT, "--max-tokens", str(COUNT)),
        cwd=PROJECT,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.strip()


def test_a_type_asked_for_is_made_of_it(llmasos, hub: StandInHub):
    assert answer(llmasos, f"hf:{REPOSITORY}:Q8_0")["tokens"]["completion"] == COUNT
    [model] = ModelStore().models()
    assert (str(model.name), model.facts.quantization) == (f"{REPOSITORY}:q8_0", "Q8_0")
    [path] = ModelStore().paths(model)
    types = {tensor.type_name for tensor in read_header(path).tensors if tensor.name.endswith("attn_qkv.weight")}
    assert types == {"Q8_0"}


def test_the_list_shows_where_it_comes_from(llmasos, hub: StandInHub):
    assert llmasos("pull", "gpt2").exit_code == 0
    result = llmasos("list")
    assert "gpt2" in result.stdout
    assert "F16" in result.stdout
