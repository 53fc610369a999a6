"""Inner tensors of a pass: what they are, what is in them, and what becomes of failures while they are looked at."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from llmasos.engine import probes
from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.model import Model
from llmasos.engine.probes import InnerTensor, NamedTensors, Probe
from llmasos.errors import BadInputError, LlmasosError

TOKENS = list(range(60, 90))
OPTIONS = ContextOptions(256, threads=1, kv_type="f32", flash_attention=False)


def read(model: Model, probe: Probe | None, logit_count: int = len(TOKENS)) -> np.ndarray:
    """One pass over the tokens; the logits of the last."""
    context = Context(model, OPTIONS, probe=probe)
    try:
        [last] = context.decode([Reading(0, TOKENS, 0, logit_count)])
        return np.array(logits_at(context, last, model.vocabulary_size))
    finally:
        context.close()


def test_named_tensors_come_with_their_shapes(model: Model):
    named = NamedTensors(["l_out-1", "l_out-0"])
    read(model, named.probe)
    found = named.take()
    assert list(found) == ["l_out-1", "l_out-0"]
    assert {each.shape for each in found.values()} == {(1, 1, len(TOKENS), 64)}
    assert not np.array_equal(found["l_out-0"], found["l_out-1"])


def test_the_last_layer_gives_only_the_rows_that_are_wanted(model: Model):
    named = NamedTensors(["l_out-0", "l_out-1"])
    read(model, named.probe, logit_count=3)
    assert [each.shape[2] for each in named.take().values()] == [len(TOKENS), 3]


def test_looking_changes_nothing(model: Model):
    named = NamedTensors(["l_out-0", "Qcur-1"])
    assert np.array_equal(read(model, named.probe), read(model, None))


def test_a_product_is_that_of_its_sources(model: Model):
    """What is read of the output's weight, its input and the product fits together."""
    products: dict[str, np.ndarray] = {}

    def keep(tensor: InnerTensor) -> None:
        weight, inputs = tensor.sources
        products[weight.name] = tensor.read()[0, 0]
        assert (tensor.type, inputs.type) == ("f32", "f32")
        np.testing.assert_allclose(products[weight.name], inputs.read()[0, 0] @ weight.read()[0, 0].T, atol=1e-4)

    def is_of_weight(tensor: InnerTensor) -> bool:
        return tensor.operation == "MUL_MAT" and tensor.sources[0].name.endswith(".weight")

    logits = read(model, Probe(is_of_weight, keep))
    assert {"blk.0.attn_q.weight", "blk.1.ffn_down.weight", "output.weight"} <= set(products)
    np.testing.assert_array_equal(products["output.weight"][-1], logits)


def test_a_name_that_is_not_there_is_told_with_those_like_it(model: Model):
    named = NamedTensors(["l_out-0", "l_out-7", "kq_soft_max-9", "a", "b", "c"])
    read(model, named.probe)
    with pytest.raises(BadInputError, match="no inner tensor `l_out-7`, nor `kq_soft_max-9`, `a`, `b` and 1 more") as e:
        named.take()
    assert "l_out-1" in str(e.value.hint)


class WrongError(Exception):
    pass


def raise_wrong(tensor: InnerTensor) -> bool:
    raise WrongError(tensor.name)


def test_what_a_callback_raises_comes_out_of_the_pass(model: Model):
    for probe in Probe(raise_wrong, print), Probe(lambda tensor: True, raise_wrong):
        with pytest.raises(WrongError):
            read(model, probe)


def test_a_context_is_of_use_after_a_failure(model: Model):
    failures: Iterator[bool] = iter([True])
    probe = Probe(lambda tensor: tensor.name == "l_out-0", lambda tensor: next(failures, False) and raise_wrong(tensor))
    context = Context(model, OPTIONS, probe=probe)
    with pytest.raises(WrongError):
        context.decode([Reading(0, TOKENS, 0)])
    context.forget(0)
    [last] = context.decode([Reading(0, TOKENS, 0)])
    assert np.array_equal(np.array(logits_at(context, last, model.vocabulary_size)), read(model, None, 1))
    context.close()


@pytest.mark.parametrize("missing", ["buffer", "parameters", "viewed", "view_offset"])
def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch, missing: str):
    fields = [(name, kind) for name, kind in probes._Tensor._fields_ if name != missing]
    monkeypatch.setattr(probes, "_Tensor", type("Other", (ctypes.Structure,), {"_fields_": fields}))
    probes._require_known_layout.cache_clear()
    with pytest.raises(LlmasosError, match="lays its tensors out in another way"):
        NamedTensors(["l_out-0"])
    monkeypatch.undo()
    NamedTensors(["l_out-0"])
