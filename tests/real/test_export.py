"""Exports beside transformers: it loads them, computes what the original gives, and cuts text as llama.cpp does.

The weights of a quantized model are compared where both compute in float32: llama.cpp rounds what it multiplies
quantized weights with to 8 bits, which moves logits by some hundredths of the largest.
"""

from __future__ import annotations

import os
import time
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from doubles import logits
from doubles.checkpoints import write_checkpoint
from doubles.token_ids import texts
from llmasos.conversion.convert import convert
from llmasos.conversion.export import export
from llmasos.engine.bindings import lib
from llmasos.engine.model import Model
from llmasos.locate import locate

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

TINY = (
    "gpt2", "gpt2-saved", "llama2", "llama2-json", "llama3", "smollm2", "mistral", "mistral-nemo", "qwen2",
    "qwen2-untied", "qwen3", "gemma3",
)  # fmt: skip
MODELS = {
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "gemma3:270m-base": ("<start_of_turn>", "<mask>", "\n\n\n", "    "),
}
SENTENCE = "The capital of France is Paris. def add(a, b): return a + b  # 12345"
ROUNDED = 0.1  # largest share of the logits that 8-bit activations move
FLOAT32 = 2e-3  # llama.cpp's table of GELU is in float16
SECONDS = 60


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, shared_home: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A real model's GGUF and some of its marks; one home for all tests, so that each model is fetched once."""
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))
    return locate(request.param).paths[0], MODELS[request.param]


@pytest.mark.parametrize("name", TINY)
def test_transformers_computes_what_it_computes_from_the_original(name, tmp_path):
    checkpoint = write_checkpoint(tmp_path / name, name)
    export(convert(checkpoint, tmp_path / "model.gguf", "F32"), tmp_path / "back", "F32")
    tokens = logits.sample_tokens(checkpoint)
    original, found = (logits.logits_of_checkpoint(folder, tokens) for folder in (checkpoint, tmp_path / "back"))
    assert np.array_equal(found, original)


@pytest.mark.parametrize("name", TINY)
def test_transformers_finds_every_tensor_and_no_other(name, tmp_path):
    checkpoint = write_checkpoint(tmp_path / name, name)
    export(convert(checkpoint, tmp_path / "model.gguf", "F32"), tmp_path / "back")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    assert loaded.dtype == torch.bfloat16


def test_the_weights_of_a_quantized_model_are_those_that_llama_cpp_has(model, tmp_path):
    path, _ = model
    began = time.monotonic()
    export([path], tmp_path / "back", "F32")
    assert time.monotonic() - began < SECONDS
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")(SENTENCE)["input_ids"]
    [plain] = convert(tmp_path / "back", tmp_path / "plain.gguf", "F32")
    by_transformers = logits.logits_of_checkpoint(tmp_path / "back", tokens)
    by_llama_cpp = logits.logits_of_gguf(plain, tokens)
    quantized = logits.logits_of_gguf(path, tokens)
    assert logits.largest_relative_difference(by_llama_cpp, by_transformers) < FLOAT32
    assert logits.largest_relative_difference(by_transformers, quantized) < ROUNDED
    assert logits.same_choices(by_transformers, quantized)


def test_the_tokenizer_gives_llama_cpp_s_ids(model, tmp_path):
    path, marks = model
    export([path], tmp_path / "back")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    params = lib.llama_model_default_params()
    params.vocab_only = True
    vocabulary = Model(lib.llama_model_load_from_file(os.fsencode(path), params))
    differing = [
        text
        for text in texts(4000, marks)
        if all(map(_is_assigned, text))
        and tokenizer(text)["input_ids"] != list(vocabulary.tokenize(text, add_special=True, parse_special=True))
    ]
    vocabulary.close()
    assert differing == []


def _is_assigned(letter: str) -> bool:
    """Whether Unicode says what the letter is: of the others llama.cpp and tokenizers think differently."""
    return unicodedata.category(letter) not in ("Cn", "Co")


def test_what_was_exported_to_bfloat16_converts_again_and_answers_alike(model, tmp_path):
    path, _ = model
    export([path], tmp_path / "back")
    [again] = convert(tmp_path / "back", tmp_path / "again.gguf", "BF16")
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")(SENTENCE)["input_ids"]
    found, quantized = logits.logits_of_gguf(again, tokens), logits.logits_of_gguf(path, tokens)
    assert logits.largest_relative_difference(found, quantized) < ROUNDED


def test_a_chat_template_is_applied_by_transformers(home, monkeypatch, shared_home, tmp_path):
    monkeypatch.setenv("LLMASOS_HOME", str(shared_home))
    export(locate("smollm2").paths, tmp_path / "back")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n")
