"""Qwen 2 and 3: what stands beside the tensor map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned
from llmasos.conversion.architecture import find_architecture
from llmasos.conversion.architectures import qwen3
from llmasos.conversion.config import Config


@pytest.mark.parametrize(("name", "bare"), [("qwen2", "Qwen2Model"), ("qwen3", "Qwen3Model")])
def test_a_model_for_embeddings_has_the_same_tensors(name, bare):
    checkpoint = CHECKPOINTS[name]
    arrays = {key.removeprefix("model."): array for key, array in tensors(checkpoint).items()}
    made = planned({**checkpoint.config, "architectures": [bare]}, arrays)
    assert made.problems == []
    assert made.tensors.keys() == planned(checkpoint.config, tensors(checkpoint)).tensors.keys()


def test_its_pooling_is_that_of_sentence_transformers(tmp_path: Path):
    module = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    (tmp_path / "modules.json").write_text(json.dumps([module]))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    assert qwen3.ARCHITECTURE.folder_metadata is not None
    assert qwen3.ARCHITECTURE.folder_metadata(tmp_path) == {"pooling_type": 3}


def test_qwen3_has_wider_heads_than_its_configuration_need_say():
    config = Config({"hidden_size": 1024, "num_attention_heads": 16}).with_defaults(qwen3.ARCHITECTURE.defaults)
    assert config.head_dim == 128


def test_yarn_is_carried_over_with_the_length_that_the_model_learned():
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16384, "beta_fast": 32}
    made = planned({**CHECKPOINTS["qwen3"].config, "rope_scaling": scaling}, tensors(CHECKPOINTS["qwen3"]))
    found = {key: value for key, value in made.metadata.items() if key.startswith("rope.scaling")}
    assert found == {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 16384,
        "rope.scaling.yarn_beta_fast": 32.0,
    }


def test_yarn_without_a_length_takes_the_models_own():
    scaling = {"type": "yarn", "factor": 4.0}
    made = planned({**CHECKPOINTS["qwen2"].config, "rope_scaling": scaling}, tensors(CHECKPOINTS["qwen2"]))
    assert made.metadata["rope.scaling.original_context_length"] == 32768


def window_problems(checkpoint: str, **changes: Any) -> list[str]:
    config = Config({**CHECKPOINTS[checkpoint].config, "use_sliding_window": True, **changes})
    architecture = find_architecture(config)
    return architecture.problems(config.with_defaults(architecture.defaults))


@pytest.mark.parametrize("checkpoint", ["qwen2", "qwen3"])
def test_windows_that_llama_cpp_would_not_keep_are_a_problem(checkpoint):
    assert len(window_problems(checkpoint, max_window_layers=1)) == 1
    assert len(window_problems(checkpoint, max_window_layers=0)) == 1
    assert len(window_problems(checkpoint, layer_types=["full_attention", "sliding_attention"])) == 1


@pytest.mark.parametrize("checkpoint", ["qwen2", "qwen3"])
def test_windows_that_no_layer_has_are_none(checkpoint):
    layers = CHECKPOINTS[checkpoint].config["num_hidden_layers"]
    assert window_problems(checkpoint, max_window_layers=layers) == []
    assert window_problems(checkpoint, max_window_layers=1, layer_types=["full_attention"] * layers) == []


@pytest.mark.parametrize("checkpoint", ["qwen2-moe", "qwen3-moe"])
def test_of_models_with_experts_other_layers_have_the_windows(checkpoint):
    assert len(window_problems(checkpoint, max_window_layers=2)) == 1
