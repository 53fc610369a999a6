"""Whatever a config.json says, a checkpoint is refused with a sentence or can be converted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.checkpoints import CHECKPOINTS, write_checkpoint
from llmasos.conversion.convert import prepare
from llmasos.errors import BadInputError

FUZZED = ("gpt2", "llama2", "llama3", "mixtral", "gemma3", "phi3", "falcon-7b", "olmo2", "bert")
ODD_NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 3, 511, 2**31, 10**12, 10**30, 0.0, -0.5, 1e300, float("inf"), float("nan")]
)
LEAVES = st.none() | st.booleans() | ODD_NUMBERS | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rope_type", "factor", "full_attention", "quant_method", "0"]), inner)
    ),
    max_leaves=5,
)
MORE_NAMES = (
    "rope_scaling",
    "rope_parameters",
    "text_config",
    "quantization_config",
    "head_dim",
    "num_experts",
    "layer_types",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("fuzzed")
    return {name: write_checkpoint(place / name, name) for name in FUZZED}


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_configuration_says_is_refused_or_convertible(folders: dict[str, Path], data: st.DataObject):
    name = data.draw(st.sampled_from(FUZZED))
    config = dict(CHECKPOINTS[name].config)
    places = st.sampled_from([*config, *MORE_NAMES])
    changes = data.draw(st.dictionaries(places, VALUES, min_size=1, max_size=2))
    (folders[name] / "config.json").write_text(json.dumps({**config, **changes}))
    try:
        assert prepare(folders[name]).size > 0
    except BadInputError as error:
        assert len(error.message) < 10_000
