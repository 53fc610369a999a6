"""Checkpoints that PyTorch itself wrote, read without it: the same bytes, and the same products of 8-bit weights."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from llmasos.errors import BadInputError
from llmasos.formats.checkpoint import open_checkpoint
from llmasos.formats.fp8 import TABLES
from llmasos.formats.safetensors import read_safetensors_header
from llmasos.formats.stored import READABLE, map_tensor
from llmasos.formats.torch_archive import read_torch_archive

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def all_kinds() -> dict[str, Any]:
    torch.manual_seed(0)
    grid = torch.arange(12.0).reshape(3, 4)
    floats = {
        str(dtype): torch.randn(3, 5).to(dtype)
        for dtype in (
            torch.float64,
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.float8_e4m3fn,
            torch.float8_e5m2,
        )
    }
    integers = {
        str(dtype): torch.tensor([0, 1, 100], dtype=dtype)
        for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    }
    views = {
        "whole": grid,
        "tied": grid,
        "transposed": grid.t(),
        "part": grid[1:, 1::2],
        "repeated": torch.ones(1, 1).expand(3, 4),
        "parameter": torch.nn.Parameter(grid),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
    }
    return {**floats, **integers, **views}


def bytes_of(tensor: Any) -> bytes:
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_every_tensor_has_the_bytes_that_pytorch_wrote(tmp_path: Path, protocol: int, kind: type):
    written = kind(all_kinds())
    torch.save(written, tmp_path / "pytorch_model.bin", pickle_protocol=protocol)
    found = read_torch_archive(tmp_path / "pytorch_model.bin")
    assert list(found) == list(written)
    for name, tensor in written.items():
        assert found[name].shape == tuple(tensor.shape)
        assert map_tensor(found[name]).tobytes() == bytes_of(tensor)


def test_safetensors_from_pytorch_have_the_same_bytes(tmp_path: Path):
    written = {name: tensor.detach().contiguous().clone() for name, tensor in all_kinds().items()}
    safetensors.torch.save_file(written, tmp_path / "model.safetensors")
    found = read_safetensors_header(tmp_path / "model.safetensors").tensors
    assert found.keys() == written.keys()
    assert all(map_tensor(found[name]).tobytes() == bytes_of(tensor) for name, tensor in written.items())


def test_a_module_is_found_in_what_a_training_script_saved(tmp_path: Path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.save({"state_dict": module.state_dict(), "epoch": 3, "rate": 0.1}, tmp_path / "pytorch_model.bin")
    found = open_checkpoint(tmp_path)
    assert {name: found.read(name).tolist() for name in found.tensors} == {
        name: tensor.tolist() for name, tensor in module.state_dict().items()
    }


def test_a_whole_module_is_refused(tmp_path: Path):
    torch.save(torch.nn.Linear(3, 2), tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInputError, match=r"it asks for `torch.nn.modules.linear.Linear`"):
        read_torch_archive(tmp_path / "pytorch_model.bin")


def test_the_format_before_1_6_is_refused(tmp_path: Path):
    torch.save(all_kinds(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(BadInputError, match="the format of PyTorch before 1.6"):
        read_torch_archive(tmp_path / "pytorch_model.bin")


def test_unsigned_integers_are_found_and_not_taken_for_bfloat16(tmp_path: Path):
    torch.save({"a": torch.zeros(2, dtype=torch.uint16)}, tmp_path / "pytorch_model.bin")
    found = read_torch_archive(tmp_path / "pytorch_model.bin")["a"]
    assert found.dtype == "U16" not in READABLE


@pytest.mark.parametrize(("name", "dtype"), [("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")])
def test_every_code_of_eight_bits_has_pytorchs_bits(name: str, dtype: str):
    expected = torch.arange(256, dtype=torch.uint8).view(getattr(torch, dtype)).float().numpy()
    assert np.array_equal(TABLES[name].view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("scale_type", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(256, 384), (200, 130), (1, 1), (3, 200, 130)])
def test_blocks_have_pytorchs_products(tmp_path: Path, shape: tuple[int, ...], scale_type: str):
    torch.manual_seed(0)
    weight = torch.randn(shape).to(torch.float8_e4m3fn)
    blocks = (*shape[:-2], -(-shape[-2] // 128), -(-shape[-1] // 128))
    scale = torch.rand(blocks).to(getattr(torch, scale_type))
    torch.save({"a.weight": weight, "a.weight_scale_inv": scale}, tmp_path / "pytorch_model.bin")
    spread = scale.float().repeat_interleave(128, -2).repeat_interleave(128, -1)[..., : shape[-2], : shape[-1]]
    config = json.loads('{"quant_method": "fp8", "weight_block_size": [128, 128]}')
    found = open_checkpoint(tmp_path, config).read("a.weight")
    assert np.array_equal(found.view(np.uint32), (weight.float() * spread).numpy().view(np.uint32))
