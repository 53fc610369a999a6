"""Configurations of which llama.cpp would compute something else, or that it would not load, are refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doubles.checkpoints import CHECKPOINTS, write_checkpoint
from llmasos.conversion.architecture import find_architecture
from llmasos.conversion.config import Config
from llmasos.conversion.convert import convert
from llmasos.errors import BadInputError
from llmasos.progress import Progress

DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}


def problems(checkpoint: str, **changes: Any) -> list[str]:
    config = Config({**CHECKPOINTS[checkpoint].config, **changes})
    architecture = find_architecture(config)
    return architecture.problems(config.with_defaults(architecture.defaults))


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_what_the_families_publish_has_no_problem(checkpoint):
    assert problems(checkpoint) == []


@pytest.mark.parametrize(
    ("checkpoint", "name", "value"),
    [
        ("phi2", "qk_layernorm", True),
        ("phi2", "intermediate_size", 160),
        ("phi2", "num_key_value_heads", 2),
        ("phi2", "hidden_act", "relu"),
        ("phi3", "hidden_act", "gelu"),
        ("pythia", "attention_bias", False),
        ("pythia", "hidden_act", "relu"),
        ("falcon-7b", "alibi", True),
        ("falcon-7b", "parallel_attn", False),
        ("falcon-7b", "bias", True),
        ("falcon-7b", "ffn_hidden_size", 160),
        ("falcon-40b", "activation", "relu"),
        ("starcoder2", "use_bias", False),
        ("olmo2", "attention_bias", True),
        ("stablelm", "hidden_act", "gelu"),
        ("bert", "position_embedding_type", "relative_key"),
        ("bert", "is_decoder", True),
        ("nomic-bert", "activation_function", "gelu"),
        ("nomic-bert", "prenorm", True),
        ("nomic-bert", "rotary_emb_interleaved", True),
        ("nomic-bert", "rotary_emb_scale_base", 512),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_a_problem(checkpoint, name, value):
    [problem] = problems(checkpoint, **{name: value})
    assert f"`{name}`" in problem


@pytest.mark.parametrize("checkpoint", ["phi2", "phi3", "pythia", "falcon-40b", "starcoder2", "olmo2", "stablelm"])
def test_a_rotary_embedding_stretched_in_another_way_is_a_problem(checkpoint):
    [problem] = problems(checkpoint, rope_scaling=DYNAMIC)
    assert "`dynamic`" in problem


@pytest.mark.parametrize("checkpoint", ["starcoder2", "olmo2"])
@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_linear_stretching_and_yarn_are_none(checkpoint, kind):
    scaling = {"rope_type": kind, "factor": 2.0, "original_max_position_embeddings": 1024}
    assert problems(checkpoint, rope_scaling=scaling) == []


@pytest.mark.parametrize("checkpoint", ["llama3", "qwen2", "qwen3-moe", "starcoder2", "olmo2"])
def test_attention_that_yarn_makes_stronger_in_another_way_is_a_problem(checkpoint):
    """llama.cpp overwrites the factor that a GGUF states; OLMo 3 states the usual one."""
    yarn = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024}
    assert problems(checkpoint, rope_scaling={**yarn, "attention_factor": 1.2079441541679836}) == []
    [problem] = problems(checkpoint, rope_scaling={**yarn, "attention_factor": 1.0})
    assert "`attention_factor` = 1.0, and llama.cpp makes that 1.20794" in problem
    [problem] = problems(checkpoint, rope_scaling={**yarn, "mscale": 1.0, "mscale_all_dim": 1.0})
    assert "`mscale`" in problem


@pytest.mark.parametrize(("checkpoint", "dimensions"), [("phi2", 20), ("stablelm", 16), ("phi3", 16)])
def test_an_odd_number_of_rotating_dimensions_is_a_problem(checkpoint, dimensions):
    [problem] = problems(checkpoint, partial_rotary_factor=3 / dimensions)
    assert f"rotates 3 of a head's {dimensions}" in problem


@pytest.mark.parametrize("checkpoint", ["phi2", "phi3", "pythia", "starcoder2", "olmo2", "stablelm", "bert"])
def test_heads_as_wide_as_nothing_llama_cpp_expects_are_a_problem(checkpoint):
    assert any("heads of 30 dimensions" in problem for problem in problems(checkpoint, head_dim=30))


def test_a_share_that_is_no_number_is_a_problem():
    with pytest.raises(BadInputError, match="partial_rotary_factor"):
        problems("phi2", partial_rotary_factor="half")


def notes(checkpoint: str, **changes: Any) -> list[str]:
    config = Config({**CHECKPOINTS[checkpoint].config, **changes})
    architecture = find_architecture(config)
    return architecture.notes(config.with_defaults(architecture.defaults))


@pytest.mark.parametrize("checkpoint", ["mistral", "mixtral", "starcoder2", "phi3"])
def test_a_window_that_llama_cpp_does_not_apply_is_told(checkpoint):
    [note] = notes(checkpoint, sliding_window=64, max_position_embeddings=128)
    assert note.startswith("the sliding window of 64 tokens is not applied by the engine")


@pytest.mark.parametrize("checkpoint", ["mistral", "mixtral", "starcoder2", "phi3"])
@pytest.mark.parametrize("window", [None, 128, 200])
def test_a_window_that_no_text_reaches_is_not_told(checkpoint, window):
    assert notes(checkpoint, sliding_window=window, max_position_embeddings=128) == []


@pytest.mark.parametrize("checkpoint", ["llama3", "gemma3", "gpt2"])
def test_there_is_nothing_to_tell_of_the_others(checkpoint):
    assert notes(checkpoint) == []


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_notes_are_told_once_when_the_model_is_written(tmp_path):
    folder = write_checkpoint(tmp_path / "mistral", "mistral")
    path, told = folder / "config.json", Notes()
    path.write_text(json.dumps({**json.loads(path.read_text()), "sliding_window": 64}))
    convert(folder, tmp_path / "out.gguf", progress=told)
    assert told.notes == [
        "the sliding window of 64 tokens is not applied by the engine:"
        " texts longer than that are read differently than by the original"
    ]
