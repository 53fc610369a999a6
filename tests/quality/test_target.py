"""A type for each tensor: what is measured to matter gets the bits, and nothing is larger than wanted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from doubles.tiny import TinyModel, write_tiny
from llmasos.errors import BadInputError
from llmasos.formats.gguf_tensors import GgufTensor, open_gguf_model
from llmasos.quality import target
from llmasos.quality.target import Target, choose_for_target, kind_of
from llmasos.quantization.importance import Activations, Importance
from llmasos.quantization.types import TYPES

WIDE = TinyModel(layer_count=4, embedding_length=256, feed_forward_length=512)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the types whose tables take seconds to make."""
    quick = [each for each in target.CANDIDATES if not each.startswith("IQ")]
    monkeypatch.setattr(target, "CANDIDATES", quick)


pytestmark = pytest.mark.usefixtures("_quick")


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> list[GgufTensor]:
    path = write_tiny(tmp_path_factory.mktemp("model") / "model.gguf", WIDE)
    return list(open_gguf_model([path], whole=()).tensors.values())


@pytest.fixture(scope="module")
def importance(tensors: list[GgufTensor]) -> Importance:
    generator = np.random.default_rng(2)
    counts = np.ones(1, np.int64)
    sums = {each.name: generator.uniform(0, 2, (1, each.shape[-1])).astype(np.float32) for each in tensors}
    return Importance({name: Activations(each, counts) for name, each in sums.items()}, "made up")


def bits(types: Mapping[str, str], tensors: list[GgufTensor]) -> float:
    """For each weight of the whole model."""
    sizes = [(np.prod(each.shape), TYPES[types.get(each.name, each.type)]) for each in tensors]
    weights = sum(count for count, _ in sizes)
    return 8 * sum(count / each.block_weights * each.block_bytes for count, each in sizes) / weights


@pytest.mark.parametrize("wanted", [3.0, 3.5, 4.5, 5.0, 6.0])
def test_the_size_is_nearly_reached_and_never_passed(tensors, importance, wanted: float):
    types = choose_for_target(tensors, "llama", importance, Target(bits_per_weight=wanted))
    assert wanted - 0.2 < bits(types, tensors) <= wanted
    assert len(set(types.values())) > 1


def test_a_size_in_bytes_is_one_too(tensors, importance):
    by_bits = choose_for_target(tensors, "llama", importance, Target(bits_per_weight=4.0))
    weights = sum(int(np.prod(each.shape)) for each in tensors)
    assert choose_for_target(tensors, "llama", importance, Target(byte_count=weights // 2)) == by_bits


def test_kinds_whose_errors_cost_more_get_more_bits(tensors, importance):
    asked: list[set[str]] = []

    def measure(types: Mapping[str, str]) -> float:
        asked.append({kind_of(name) for name in types})
        return 1.0 if "ffn_down.weight" in asked[-1] else 1e-3

    wanted = Target(bits_per_weight=4.0)
    plain, measured = (choose_for_target(tensors, "llama", importance, wanted, each) for each in (None, measure))
    assert all(len(kinds) == 1 for kinds in asked)
    assert len(asked) == len({kind_of(name) for name in plain})
    down = [each for each in tensors if kind_of(each.name) == "ffn_down.weight"]
    assert bits({each.name: measured[each.name] for each in down}, down) > bits(
        {each.name: plain[each.name] for each in down}, down
    )


def test_types_that_need_importance_are_left_out_where_there_is_none(tensors, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(target, "CANDIDATES", ("IQ2_XXS", "Q4_0", "Q8_0"))
    types = choose_for_target(tensors, "llama", Importance({}, "empty"), Target(bits_per_weight=4.6))
    assert "IQ2_XXS" not in types.values()


def test_types_much_smaller_than_the_whole_is_to_be_are_not_looked_at(tensors, importance, monkeypatch):
    looked_at: set[str] = set()
    monkeypatch.setattr(
        target, "weighted_errors", lambda tensor, types, _: looked_at.update(types) or dict.fromkeys(types, 1.0)
    )
    choose_for_target(tensors, "llama", importance, Target(bits_per_weight=6.0))
    assert looked_at == {"Q3_K", "Q4_K", "Q4_0", "Q4_1", "Q5_0", "Q5_K", "Q5_1", "Q6_K", "Q8_0"}


def test_what_is_too_small_is_refused(tensors, importance):
    with pytest.raises(BadInputError, match="the smallest types take"):
        choose_for_target(tensors, "llama", importance, Target(bits_per_weight=1.0))
