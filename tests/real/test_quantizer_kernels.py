"""Quantizers on the weights of real models: ggml's bytes, and no block left to plain C."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from conftest import PROJECT, command
from doubles.blocks import KERNEL_TYPES, LEVELS, by_ggml, by_kernels

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

WIDTHS = (4096, 2048, 1024, 768, 512, 256)
MOST_WEIGHTS = 1 << 18  # of a matrix: its first rows show what the rest would


@pytest.fixture(scope="module", params=["smollm2", "gemma3:270m-base"])
def model(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's file, fetched once."""
    home = {**os.environ, "LLMASOS_HOME": str(tmp_path_factory.mktemp("real"))}
    subprocess.run(command("pull", request.param), env=home, cwd=PROJECT, check=True, capture_output=True, timeout=300)
    show = command("show", request.param, "--json")
    shown = subprocess.run(show, env=home, cwd=PROJECT, check=True, capture_output=True)
    return Path(json.loads(shown.stdout)["path"])


def matrices(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and float32 weights of each twentieth tensor, laid out in rows that all types can take."""
    for tensor in gguf.GGUFReader(path).tensors[::20]:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if weights.ndim == 2:
            flat = weights.reshape(-1)[:MOST_WEIGHTS].copy()
            yield tensor.name, flat.reshape(-1, next(width for width in WIDTHS if flat.size % width == 0))


@pytest.mark.parametrize("weighed", [False, True], ids=["alike", "by importance"])
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_a_model_gets_ggmls_bytes_by_kernels_alone(model, type_name, weighed):
    for number, (name, rows) in enumerate(matrices(model)):
        random = np.random.default_rng(number)
        importance = random.lognormal(0, 2, rows.shape[1]).astype(np.float32) if weighed else None
        expected = by_ggml(type_name, rows, importance)
        for level in LEVELS[1:] if number % 10 == 0 else LEVELS[-1:]:
            blocks, left = by_kernels(level, type_name, rows, importance)
            assert np.array_equal(blocks, expected), (name, level)
            assert left == 0, (name, level)
