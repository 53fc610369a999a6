"""Adapters in the engine: added as strongly as is asked for, tried before use, freed before their model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from doubles.adapters import random_factors, write_adapter
from llmasos.engine.adapter import load_adapter
from llmasos.engine.context import Context, ContextOptions, Reading, logits_at
from llmasos.engine.model import Model, ModelOptions, load_model
from llmasos.engine.trial import require_trial
from llmasos.errors import CorruptModelError

TOKENS = [5, 60, 7, 100]


def logits(model: Model, adapters: Sequence[tuple[Path, float]]) -> np.ndarray:
    """Of the last token, with these adapters at these scales."""
    loaded = [load_adapter(model, path, path.name, scale) for path, scale in adapters]
    context = Context(model, ContextOptions(64, threads=1), loaded)
    [index] = context.decode([Reading(0, TOKENS, 0)])
    found = np.array(logits_at(context, index, model.vocabulary_size))
    context.close()
    for adapter in loaded:
        adapter.close()
    return found


def test_scale_says_how_much_of_an_adapter_is_added(model: Model, tmp_path: Path):
    adapter = write_adapter(tmp_path / "adapter.gguf")
    none, whole, half, against = (logits(model, [(adapter, scale)]) for scale in (0, 1, 0.5, -1))
    np.testing.assert_array_equal(none, logits(model, []))
    differences = [np.abs(each - none).max() for each in (whole, half, against)]
    assert min(differences) > 0.1
    halves = logits(model, [(adapter, 0.5), (adapter, 0.5)])
    np.testing.assert_allclose(halves, whole, atol=1e-3)


def test_an_adapter_gives_what_the_changed_weights_give(tiny_model: Path, tmp_path: Path):
    """The same as a model whose weights have had alpha / rank times B A added."""
    adapter = write_adapter(tmp_path / "adapter.gguf")
    changed = bytearray(tiny_model.read_bytes())
    for layer in (0, 1):
        for name, outputs, inputs in (("attn_q", 64, 64), ("ffn_down", 64, 128)):
            place, weight = find_tensor(tiny_model, f"blk.{layer}.{name}.weight", (outputs, inputs))
            a, b = random_factors(outputs, inputs, 4, seed=layer)
            changed[place : place + weight.nbytes] = (weight + 8 / 4 * (b @ a)).astype(np.float32).tobytes()
    merged = tmp_path / "merged.gguf"
    merged.write_bytes(changed)
    base, whole = load_model([tiny_model], ModelOptions()), load_model([merged], ModelOptions())
    expected = logits(whole, [])
    np.testing.assert_allclose(logits(base, [(adapter, 1)]), expected, atol=1e-2 * np.abs(expected).max())
    base.close()
    whole.close()


def find_tensor(path: Path, name: str, shape: tuple[int, int]) -> tuple[int, np.ndarray]:
    from llmasos.formats.gguf import read_header

    header = read_header(path)
    place = header.data_offset + next(each.offset for each in header.tensors if each.name == name)
    return place, np.fromfile(path, np.float32, shape[0] * shape[1], offset=place).reshape(shape)


def test_an_adapter_that_does_not_load_is_refused_with_the_engines_reason(model: Model, tmp_path: Path):
    adapter = write_adapter(tmp_path / "adapter.gguf", architecture="gpt2")
    with pytest.raises(CorruptModelError, match="mine can't be used as an adapter: model arch and LoRA arch mismatch"):
        load_adapter(model, adapter, "mine")


def test_a_trial_of_an_adapter_is_one_with_its_model(tiny_model: Path, tmp_path: Path, home: Path):
    good, crashing = write_adapter(tmp_path / "good.gguf"), tmp_path / "crashing.gguf"
    require_trial([tiny_model], home / "trials", adapter=good)
    assert len(list((home / "trials").iterdir())) == 1
    write_adapter(crashing, metadata={"adapter.lora.alpha": "8"})  # llama.cpp asserts that it is a number
    with pytest.raises(CorruptModelError, match="crashing.gguf can't be used: the engine crashed on it"):
        require_trial([tiny_model], home / "trials", adapter=crashing)
    require_trial([tiny_model], home / "trials")
