"""Adapters' headers: what llama.cpp would fail on, or end the process over, is refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from doubles.adapters import write_adapter
from doubles.tiny import TinyModel
from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.gguf import read_header
from llmasos.formats.lora import require_adapter, require_same_model


def check(adapter: Path, model: Path) -> None:
    header = read_header(adapter)
    require_adapter(header, adapter.name)
    require_same_model(header, adapter.name, [read_header(model)], model.name)


def test_an_adapter_fits_the_model_that_it_was_made_for(tiny_model: Path, tmp_path: Path):
    check(write_adapter(tmp_path / "adapter.gguf"), tiny_model)


def test_a_model_is_no_adapter(tiny_model: Path):
    with pytest.raises(BadInputError, match="tiny.gguf is no adapter: it says that it is `model`"):
        check(tiny_model, tiny_model)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metadata": {"adapter.type": "control_vector"}}, "only LoRA can be used"),
        ({"metadata": {"adapter.lora.alpha": "8"}}, "its alpha is no number"),
        ({"metadata": {"adapter.lora.alpha": float("nan")}}, "its alpha is no number"),
        ({"metadata": {"adapter.alora.invocation_tokens": "5"}}, "aLoRA"),
        ({"tensors": {"blk.0.attn_q.weight.lora_b": None}}, "`blk.0.attn_q.weight` has no.lora_b"),
        ({"tensors": {"blk.0.attn_q.weight": np.zeros((2, 2), np.float32)}}, "`blk.0.attn_q.weight` is no factor"),
        ({"tensors": {"blk.0.attn_q.weight.lora_a": np.zeros((4, 64), np.int32)}}, "lora_a` is I32"),
        ({"architecture": "gpt2"}, "adapter.gguf is an adapter for gpt2, and tiny.gguf is llama"),
        ({"model": TinyModel(embedding_length=32)}, "`blk.0.attn_q.weight` is 64 x 64, and its factors are 32 x 4 and"),
        ({"model": TinyModel(layer_count=3)}, "the model has no tensor `blk.2.attn_q.weight`"),
        ({"tensors": {"blk.0.attn_q.weight.lora_a": np.zeros((5, 64), np.float32)}}, "its factors are 64 x 5 and 4 x"),
        (
            {"tensors": {"blk.0.attn_q.weight.lora_a": np.zeros((2, 4, 64), np.float32)}},
            "its factors are 64 x 4 x 2 and",  # llama.cpp would look at two dimensions, and end the process later
        ),
        (
            {
                "tensors": {
                    "blk.0.attn_norm.weight.lora_a": np.zeros((4, 64), np.float32),
                    "blk.0.attn_norm.weight.lora_b": np.zeros((1, 4), np.float32),
                }
            },
            "nothing can be added to `blk.0.attn_norm.weight`",
        ),
    ],
)
def test_what_is_wrong_is_told(changes, problem: str, tiny_model: Path, tmp_path: Path):
    with pytest.raises(BadInputError, match=problem):
        check(write_adapter(tmp_path / "adapter.gguf", **changes), tiny_model)


def test_an_adapter_without_factors_is_broken(tmp_path: Path):
    path = write_adapter(tmp_path / "adapter.gguf", model=TinyModel(layer_count=0))
    with pytest.raises(CorruptModelError, match="it holds no factors"):
        require_adapter(read_header(path), path.name)


def test_an_embedding_that_is_the_output_too_is_left_alone(tiny_model: Path, tmp_path: Path):
    """llama.cpp multiplies with the factors as if they were the output's, and ends the process."""
    header = read_header(tiny_model)
    vocab = next(tensor.shape[1] for tensor in header.tensors if tensor.name == "token_embd.weight")
    tensors = {
        "token_embd.weight.lora_a": np.zeros((vocab, 4), np.float32),
        "token_embd.weight.lora_b": np.zeros((64, 4), np.float32),
    }
    adapter = write_adapter(tmp_path / "adapter.gguf", tensors=tensors)
    check(adapter, tiny_model)
    tied = tmp_path / "tied.gguf"
    tied.write_bytes(tiny_model.read_bytes().replace(b"output.weight", b"outpuT.weight"))
    with pytest.raises(BadInputError, match="it adds to `token_embd.weight`, which is this model's output too"):
        check(adapter, tied)
