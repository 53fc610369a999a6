"""`config.json`, whatever its age and nesting: one set of names for one set of numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmasos.conversion.config import Config, read_config
from llmasos.errors import BadInputError

YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5e5, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    "values",
    [
        {"rope_parameters": YARN},
        {"rope_theta": 5e5, "rope_scaling": {"type": "yarn", "factor": 4.0}, "original_max_position_embeddings": 8192},
        {"rope_theta": 5e5, "rope_scaling": {"type": "yarn", "factor": 4.0}, "max_position_embeddings": 8192},
        {"rope_parameters": {"full_attention": YARN, "sliding_attention": {"rope_theta": 1e4}}},
        {"rope_theta": 5e5, "rope_parameters": {"full_attention": {**YARN, "rope_theta": None}}},
        {"rope_scaling": YARN, "rope_parameters": {"rope_type": "default"}},
    ],
)
def test_the_rotary_embedding_is_the_same_in_every_layout(values):
    rope = Config(values).rope
    assert {name: rope[name] for name in YARN} == YARN


@pytest.mark.parametrize(
    "values", [{"rope_local_base_freq": 1e4}, {"rope_parameters": {"sliding_attention": {"rope_theta": 1e4}}}]
)
def test_windows_have_a_rotary_embedding_of_their_own(values):
    assert Config(values).local_rope["rope_theta"] == 1e4


def test_a_model_without_windows_has_none():
    assert Config({"rope_theta": 1e4}).local_rope == {}


@pytest.mark.parametrize("rope", [{"rope_theta": "many"}, {"factor": True}, {"full_attention": [1]}, [1]])
def test_rotary_parameters_that_are_nonsense_are_refused(rope):
    config = Config({"rope_parameters": rope})
    with pytest.raises(BadInputError, match="config.json"):
        _ = config.rope


def test_the_language_models_numbers_stand_before_those_of_the_whole():
    config = Config({"architectures": ["Whole"], "text_config": {"architectures": None, "hidden_size": 64}})
    assert (config.classes, config.integer("hidden_size")) == (("Whole",), 64)


def test_the_class_is_that_of_the_whole():
    """LLaVA names the class of its text half too, whose tensors are not called as that class calls them."""
    nested = {"architectures": ["Part"]}
    whole = Config({"architectures": ["Whole"], "text_config": nested})
    assert whole.classes == whole.with_defaults({}).classes == ("Whole",)
    assert Config({"text_config": nested}).classes == ("Part",)


def test_null_hides_a_default():
    config = Config({"num_key_value_heads": None}).with_defaults({"num_key_value_heads": 8, "head_dim": 128})
    assert (config.get("num_key_value_heads"), config.head_dim) == (None, 128)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "64", [64]])
def test_what_counts_nothing_is_no_size(value):
    with pytest.raises(BadInputError, match="hidden_size"):
        Config({"hidden_size": value}).integer("hidden_size")


def test_files_beside_it_are_read_through_it(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "modules.json").write_text(json.dumps([1]))
    config = read_config(tmp_path).with_defaults({"hidden_size": 1})
    assert (config.beside("modules.json"), config.beside("other.json")) == ([1], None)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\ufffd", "[" * 100_000])
def test_a_file_that_holds_no_object_is_named(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=r"config\.json"):
        read_config(tmp_path)
