"""Sampling defaults of a model's makers, as llama.cpp reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmasos.conversion.generation import sampling_metadata
from llmasos.quantization.header import Typed


def write(folder: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "generation_config.json").write_text(text, "utf-8")
    return folder


def test_what_is_stated_becomes_keys_of_the_types_that_llama_cpp_expects(tmp_path: Path):
    stated = {"do_sample": True, "temperature": 1, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}
    assert sampling_metadata(write(tmp_path, stated)) == {
        "general.sampling.top_k": Typed(20, "INT32"),
        "general.sampling.top_p": Typed(0.8, "FLOAT32"),
        "general.sampling.temp": Typed(1.0, "FLOAT32"),
        "general.sampling.penalty_repeat": Typed(1.05, "FLOAT32"),
    }


def test_llama_cpps_own_names_are_understood_and_come_first(tmp_path: Path):
    stated = {"penalty_repeat": 1.2, "repetition_penalty": 1.1, "mirostat": 2, "penalty_last_n": -1, "sequence": "k;p"}
    assert sampling_metadata(write(tmp_path, stated)) == {
        "general.sampling.sequence": "k;p",
        "general.sampling.penalty_last_n": Typed(-1, "INT32"),
        "general.sampling.penalty_repeat": Typed(1.2, "FLOAT32"),
        "general.sampling.mirostat": Typed(2, "INT32"),
    }


@pytest.mark.parametrize("content", ["{", "[1]", {}, {"top_k": None, "eos_token_id": [1, 2]}])
def test_a_file_that_says_nothing_costs_nothing(tmp_path: Path, content: Any):
    assert sampling_metadata(write(tmp_path, content)) == {}


def test_no_file_is_needed(tmp_path: Path):
    assert sampling_metadata(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 2.5),
        ("top_k", True),
        ("top_k", 2**40),
        ("top_k", 10**400),
        ("top_k", float("inf")),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("temperature", 1e300),
        ("repetition_penalty", [1.1]),
        ("sequence", 7),
    ],
)
def test_a_value_of_the_wrong_type_is_left_out_alone(tmp_path: Path, name: str, value: Any):
    stated = {name: value, "min_p": 0.5}
    assert sampling_metadata(write(tmp_path, stated)) == {"general.sampling.min_p": Typed(0.5, "FLOAT32")}


def test_a_whole_number_may_be_written_as_a_float(tmp_path: Path):
    assert sampling_metadata(write(tmp_path, {"top_k": 50.0})) == {"general.sampling.top_k": Typed(50, "INT32")}
