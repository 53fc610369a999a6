"""Falcon: how many keys there are, in configurations of every age, and where they stand among the queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from doubles.checkpoints import CHECKPOINTS, tensors
from doubles.planned import planned
from llmasos.conversion.architectures import falcon
from llmasos.conversion.config import Config
from llmasos.conversion.rules import Regrouped

SEVEN, FORTY = CHECKPOINTS["falcon-7b"], CHECKPOINTS["falcon-40b"]
OF_OLD = {"num_attention_heads": "n_head", "num_hidden_layers": "n_layer", "num_kv_heads": "n_head_kv"}


def of_old(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it was before the class had its name."""
    left_out = ("new_decoder_architecture", "multi_query")
    renamed = {OF_OLD.get(name, name): value for name, value in config.items() if name not in left_out}
    return {**renamed, "architectures": ["RWForCausalLM"]}


@pytest.mark.parametrize(("checkpoint", "kv_heads"), [(SEVEN, 1), (FORTY, 2)])
def test_the_configuration_of_old_makes_the_same_file(checkpoint, kv_heads):
    new, old = (planned(config, tensors(checkpoint)) for config in (checkpoint.config, of_old(checkpoint.config)))
    assert new.problems == old.problems == []
    assert new.metadata == old.metadata
    assert new.metadata["attention.head_count_kv"] == kv_heads
    assert all(np.array_equal(array, old.tensors[name]) for name, array in new.tensors.items())


def test_without_shared_keys_every_query_has_its_own():
    config = Config({**SEVEN.config, "multi_query": False}, falcon.ARCHITECTURE.defaults)
    assert falcon.sizes(config)["kv_heads"] == falcon.sizes(config)["heads"] == 5


def test_a_stated_count_of_keys_does_not_count_where_one_is_shared():
    """transformers writes `num_kv_heads` beside `multi_query`, and does not read it."""
    config = Config({**SEVEN.config, "num_kv_heads": 5}, falcon.ARCHITECTURE.defaults)
    assert falcon.sizes(config)["kv_heads"] == 1


def test_the_new_decoder_may_have_one_norm():
    """Falcon 11B."""
    arrays = {name.replace("ln_attn", "input_layernorm"): array for name, array in tensors(FORTY).items()}
    arrays = {name: array for name, array in arrays.items() if "ln_mlp" not in name}
    made = planned({**FORTY.config, "num_ln_in_parallel_attn": 1}, arrays)
    assert made.problems == []
    assert "blk.1.attn_norm.weight" in made.tensors
    assert "blk.1.attn_norm_2.weight" not in made.tensors


def test_a_base_that_llama_cpp_would_not_guess_is_told():
    """Falcon 11B again; llama.cpp's own converter leaves it out."""
    told, usual = (planned({**FORTY.config, "rope_theta": base}, tensors(FORTY)).metadata for base in (500042, 10000))
    assert told["rope.freq_base"] == 500042.0
    assert "rope.freq_base" not in usual


def test_a_context_that_is_stated_counts():
    """Falcon 11B once more; llama.cpp's own converter writes the 2048 of those before it, which say nothing."""
    told = planned({**FORTY.config, "max_position_embeddings": 8192}, tensors(FORTY)).metadata
    assert told["context_length"] == 8192
    assert planned(FORTY.config, tensors(FORTY)).metadata["context_length"] == 2048


def test_groups_of_queries_come_apart_and_together_again():
    sizes = {"kv_heads": 2, "head_dim": 1, "keys": 2}
    groups = np.array(["q0", "q1", "k0", "v0", "q2", "q3", "k1", "v1"])
    order = np.array(["q0", "q1", "q2", "q3", "k0", "k1", "v0", "v1"])
    assert (Regrouped().apply(groups, sizes) == order).all()
    assert (Regrouped().undo(order, sizes) == groups).all()
