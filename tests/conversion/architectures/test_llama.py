"""Llama: what depends on more than its tensor map, which the goldens cover."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned
from llmasos.conversion.architectures import llama
from llmasos.conversion.config import Config
from llmasos.errors import BadInputError

CONFIG = CHECKPOINTS["llama3"].config
LLAMA_3_1_8B = {"base": 500000.0, "head_dim": 128, "factor": 8.0}
LLAMA_3_2_1B = {"base": 500000.0, "head_dim": 64, "factor": 32.0}


def factors(*, base: float, head_dim: int, factor: float, **more: float) -> np.ndarray:
    scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 8192, **more}
    config = Config({"rope_theta": base, "rope_scaling": scaling})
    return llama.rope_factors(config, {"head_dim": head_dim})["rope_freqs.weight"]


@pytest.mark.parametrize(
    ("model", "digest"),  # of what PyTorch computes with llama.cpp's converter's formula
    [
        (LLAMA_3_1_8B, "8b516af9cb5db26ed32831eb6f493dd620843d1cd69ca7bbad760c76061cd565"),
        (LLAMA_3_2_1B, "d25a6d176d9313062b8f86440c88649f9e568d573ea66bfa4e85e2424cf35633"),
    ],
)
def test_the_rope_factors_are_pytorchs_to_the_last_bit(model, digest):
    assert hashlib.sha256(factors(**model).tobytes()).hexdigest() == digest


def test_short_waves_are_left_and_long_ones_slowed():
    found = factors(**LLAMA_3_2_1B)
    assert found.dtype == np.float32
    assert (found[:15] == 1).all()
    assert found[15:18] == pytest.approx([1.6513293, 3.2922628, 9.666731])
    assert (found[18:] == 32).all()


def test_rope_factors_need_two_different_ends():
    with pytest.raises(BadInputError, match="high_freq_factor"):
        factors(**LLAMA_3_2_1B, high_freq_factor=1.0)


def test_a_rope_without_scaling_has_no_factors():
    assert llama.rope_factors(Config({"rope_theta": 10000.0}), {"head_dim": 64}) == {}


def test_a_model_saved_without_its_head_is_the_same_but_for_the_head():
    whole = tensors(CHECKPOINTS["llama2"])
    bare = {name.removeprefix("model."): array for name, array in whole.items() if name != "lm_head.weight"}
    made = planned({**CHECKPOINTS["llama2"].config, "architectures": ["LlamaModel"]}, bare)
    expected = planned(CHECKPOINTS["llama2"].config, whole)
    assert made.problems == []
    assert made.tensors.keys() | {"output.weight"} == expected.tensors.keys()
    assert all((array == expected.tensors[name]).all() for name, array in made.tensors.items())


def test_a_tied_head_that_the_checkpoint_holds_is_written():
    arrays = tensors(CHECKPOINTS["llama3"])
    arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"]
    assert "output.weight" in planned(CONFIG, arrays).tensors


def test_biases_are_rotated_with_their_rows():
    arrays = tensors(CHECKPOINTS["llama3"])
    weight, bias = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.bias"
    arrays[bias] = arrays[weight][:, 0].copy()
    made = planned(CONFIG, arrays).tensors
    assert (made["blk.0.attn_q.bias"] == made["blk.0.attn_q.weight"][:, 0]).all()


def test_the_width_of_heads_is_said_even_if_the_configuration_does_not():
    config = {name: value for name, value in CHECKPOINTS["llama2"].config.items() if name != "head_dim"}
    made = planned(config, tensors(CHECKPOINTS["llama2"]))
    assert made.metadata["attention.key_length"] == made.metadata["attention.value_length"] == 16


def test_a_space_in_front_is_what_the_tokenizers_configuration_says(tmp_path: Path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": False}))
    adjusted = llama.adjust_vocabulary(Config({"vocab_size": 32000}, folder=tmp_path), {"kept": 1})
    assert adjusted == {"kept": 1, "tokenizer.ggml.add_space_prefix": False}


@pytest.mark.parametrize(
    ("vocabulary", "key", "value"),
    [(49152, "tokenizer.ggml.add_bos_token", False), (32016, "tokenizer.ggml.eot_token_id", 32010)],
)
def test_two_vocabularies_are_known_by_their_size(vocabulary, key, value):
    assert llama.adjust_vocabulary(Config({"vocab_size": vocabulary}), {}) == {key: value}


@pytest.mark.parametrize("wrong", [{"hidden_act": "gelu"}, {"rope_scaling": {"type": "longrope", "factor": 2.0}}])
def test_what_llama_cpp_would_compute_otherwise_is_a_problem(wrong):
    assert len(llama.problems(Config({**CONFIG, **wrong}))) == 1
