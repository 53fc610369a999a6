"""Beam search beside transformers' own on the same weights: the same sequences, the same scores."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from conftest import PROJECT, command
from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import ModelOptions, load_model
from llmasos.engine.options import AnswerOptions, BeamOptions, SamplingOptions

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

PROMPTS = ("The quick brown fox", "Once upon a time there was", "def fibonacci(n):", "The capital of France is")
SETTINGS = (
    {"num_beams": 5},
    {"num_beams": 5, "num_return_sequences": 5, "early_stopping": True},
    {"num_beams": 3, "num_return_sequences": 3, "length_penalty": -1.0, "early_stopping": "never"},
    {"num_beams": 4, "num_return_sequences": 2, "length_penalty": 2.0},
)
LONGEST = 24
CLOSE = 1e-3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 as a checkpoint of float32, and its GGUF beside it."""
    folder = tmp_path_factory.mktemp("beams")
    home = {**os.environ, "LLMASOS_HOME": str(folder / "home")}
    for arguments in (
        ("export", "smollm2", folder / "smollm2", "-t", "f32"),
        ("convert", folder / "smollm2", "-t", "F32", "-o", folder / "smollm2.gguf"),
    ):
        subprocess.run(command(*arguments), env=home, cwd=PROJECT, check=True, capture_output=True, timeout=300)
    return folder / "smollm2"


def by_transformers(folder: Path, prompts: list[list[int]], settings: dict) -> list[list[tuple[list[int], float]]]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for prompt in prompts:
        given = model.generate(
            torch.tensor([prompt]), max_new_tokens=LONGEST, do_sample=False, return_dict_in_generate=True,
            output_scores=True, **settings,
        )  # fmt: skip
        ends = model.generation_config.eos_token_id
        tokens = [[token for token in row[len(prompt) :].tolist() if token != ends] for row in given.sequences]
        found.append(list(zip(tokens, given.sequences_scores.tolist(), strict=True)))
    return found


def as_options(settings: dict) -> BeamOptions:
    own = {name: value for name, value in settings.items() if name != "num_return_sequences"}
    return BeamOptions(**(own | {"early_stopping": str(settings.get("early_stopping", False)).lower()}))


def by_engine(path: Path, prompts: list[str], settings: dict) -> tuple[list[list[int]], list]:
    model = load_model([path], ModelOptions())
    options = ContextOptions(512, threads=2, kv_type="f32", flash_attention=False, parallel=20, cells=2048)
    with Engine(model, Context(model, options)) as engine:
        tokens = [model.tokenize(prompt, add_special=True, parse_special=False) for prompt in prompts]
        limits = AnswerOptions(max_tokens=LONGEST)
        going = [engine.submit(prompt, SamplingOptions(), limits, as_options(settings)) for prompt in tokens]
        found = []
        for sequence in going:
            list(sequence)
            assert sequence.answer is not None
            best = (sequence.answer, *sequence.answer.others)[: settings.get("num_return_sequences", 1)]
            found.append([(list(each.tokens), each.score) for each in best])
    model.close()
    return tokens, found


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_sequences_are_those_of_transformers(checkpoint: Path, settings: dict):
    """All prompts at once here, one by one there."""
    tokens, ours = by_engine(checkpoint.with_suffix(".gguf"), list(PROMPTS), settings)
    for own, their in zip(ours, by_transformers(checkpoint, tokens, settings), strict=True):
        assert [sequence for sequence, _ in own] == [sequence for sequence, _ in their]
        assert [score for _, score in own] == pytest.approx([score for _, score in their], abs=CLOSE, rel=2e-5)
