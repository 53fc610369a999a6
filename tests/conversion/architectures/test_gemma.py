"""Gemma 1 to 3: layouts, defaults and what llama.cpp takes for granted; the tensors themselves are in the goldens."""

from __future__ import annotations

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned
from llmasos.conversion.architectures import gemma, gemma2, gemma3
from llmasos.conversion.config import Config

VISION = CHECKPOINTS["gemma3-vision"]
OF_TODAY, OF_OLD, WITHOUT_HEAD = "model.language_model.", "language_model.model.", "language_model."


def text_half(prefix: str) -> dict[str, np.ndarray]:
    """The text half of the model that sees, with its tensors under `prefix`."""
    found = {}
    for name, array in tensors(VISION).items():
        for known in (OF_TODAY, OF_OLD):
            if name.startswith(known):
                found[prefix + name.removeprefix(known)] = array
    return found


@pytest.mark.parametrize("prefix", [OF_TODAY, OF_OLD, WITHOUT_HEAD])
def test_the_text_half_is_found_in_every_layout(prefix):
    arrays = text_half(prefix)
    made = planned(VISION.config, arrays)
    assert made.problems == []
    assert len(made.tensors) == len(arrays)


def test_what_sees_has_no_place_in_the_file():
    made = planned(VISION.config, tensors(VISION))
    assert made.problems == []
    assert made.tensors.keys() == planned(VISION.config, text_half(OF_TODAY)).tensors.keys()


@pytest.mark.parametrize(
    "name", ["vision_tower.vision_model.post_layernorm.weight", "model.multi_modal_projector.mm_soft_emb_norm.weight"]
)
def test_vision_tensors_are_ignored_wherever_they_stand(name):
    assert gemma3.ARCHITECTURE.ignores(gemma3.ARCHITECTURE.canonical(name))


def test_a_text_config_that_says_little_is_completed():
    """As that of google/gemma-3-4b-it, which has neither heads nor vocabulary."""
    stated = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    stated["rope_scaling"] = {"factor": 8.0, "rope_type": "linear"}
    config = Config({"text_config": stated}).with_defaults(gemma3.DEFAULTS)
    assert gemma3.problems(config) == []
    assert gemma3.metadata(config, gemma3.ARCHITECTURE.sizes(config)) == {
        "block_count": 34,
        "context_length": 131072,
        "embedding_length": 2560,
        "feed_forward_length": 10240,
        "attention.head_count": 8,
        "attention.head_count_kv": 4,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.sliding_window": 1024,
        "rope.freq_base": 1000000.0,
        "rope.freq_base_swa": 10000.0,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 8.0,
    }
    assert gemma3.ARCHITECTURE.sizes(config)["vocab"] == 262208


def test_rotary_parameters_by_kind_of_layer_are_read():
    parameters = {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
    }
    config = Config({"rope_parameters": parameters}).with_defaults(gemma3.DEFAULTS)
    made = gemma3.metadata(config, gemma3.ARCHITECTURE.sizes(config))
    found = {key: value for key, value in made.items() if key.startswith("rope.")}
    assert found == {
        "rope.freq_base": 500000.0,
        "rope.freq_base_swa": 20000.0,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 4.0,
    }


def test_a_model_without_windows_names_none():
    config = Config({"sliding_window_pattern": 1}).with_defaults(gemma3.DEFAULTS)
    assert "attention.sliding_window" not in gemma3.metadata(config, gemma3.ARCHITECTURE.sizes(config))


@pytest.mark.parametrize("name", ["gemma", "gemma2"])
def test_a_copy_of_the_embedding_as_head_is_left_out(name):
    arrays = tensors(CHECKPOINTS[name])
    arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"]
    made = planned(CHECKPOINTS[name].config, arrays)
    assert made.problems == []
    assert "output.weight" not in made.tensors


def test_one_is_added_to_norms_in_their_own_precision():
    arrays = tensors(CHECKPOINTS["gemma2"])
    arrays["model.norm.weight"] = np.full(64, 0.0004, np.float16)
    made = planned(CHECKPOINTS["gemma2"].config, arrays).tensors
    assert made["output_norm.weight"].dtype == np.float16
    assert (made["output_norm.weight"] == np.float16(1)).all()  # float16 has nothing between 1 and 1.00098


@pytest.mark.parametrize(
    ("architecture", "wrong"),
    [
        (gemma.ARCHITECTURE, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        (gemma.ARCHITECTURE, {"hidden_activation": "silu"}),
        (gemma2.ARCHITECTURE, {"query_pre_attn_scalar": 144}),
        (gemma2.ARCHITECTURE, {"layer_types": ["full_attention"] * 26}),
        (gemma3.ARCHITECTURE, {"query_pre_attn_scalar": 168}),
        (gemma3.ARCHITECTURE, {"attn_logit_softcapping": 50.0}),
        (gemma3.ARCHITECTURE, {"sliding_window_pattern": 3}),
        (gemma3.ARCHITECTURE, {"use_bidirectional_attention": True}),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_a_problem(architecture, wrong):
    sizes = {"num_hidden_layers": 26, "hidden_size": 2304, "num_attention_heads": 8}
    right, changed = (Config({**sizes, **more}).with_defaults(architecture.defaults) for more in ({}, wrong))
    assert architecture.problems(right) == []
    assert len(architecture.problems(changed)) == 1


@pytest.mark.parametrize(
    ("architecture", "layers", "hidden", "scale"),
    [(gemma2.ARCHITECTURE, 46, 4608, 144), (gemma3.ARCHITECTURE, 62, 5376, 168)],
)
def test_the_models_of_27b_are_scaled_by_the_width_of_a_share(architecture, layers, hidden, scale):
    stated = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": 32, "head_dim": 128}
    config = Config({**stated, "query_pre_attn_scalar": scale}).with_defaults(architecture.defaults)
    assert architecture.problems(config) == []


def test_only_sentencepiece_is_told_of_spaces():
    told, silent = ({"tokenizer.ggml.model": model} for model in ("llama", "gpt2"))
    assert gemma3.adjust_vocabulary(Config({}), told)["tokenizer.ggml.add_space_prefix"] is False
    assert gemma3.adjust_vocabulary(Config({}), silent) == silent
