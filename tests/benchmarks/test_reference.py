"""Figures of quality are taken of no model whose weights lie on a grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.tiny import TinyModel, write_tiny
from llmasos.quantization.choices import Choices
from llmasos.quantization.requantize import prepare_quantization
from reference import grid_share, require_off_grid


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Gaussian weights."""
    return write_tiny(tmp_path / "model.gguf", TinyModel(embedding_length=256, feed_forward_length=512))


def test_weights_on_no_grid_will_do(model: Path):
    assert require_off_grid(model) == pytest.approx(1, abs=0.05)


def test_weights_that_were_quantized_before_are_refused(model: Path, tmp_path: Path):
    prepare_quantization([model], Choices("Q4_1", pure=True)).write(tmp_path / "grid.gguf")
    prepare_quantization([tmp_path / "grid.gguf"], Choices("F16", allow_requantize=True)).write(tmp_path / "again.gguf")
    assert grid_share(tmp_path / "again.gguf") < 0.01
    with pytest.raises(SystemExit, match="since they lie on a grid already"):
        require_off_grid(tmp_path / "again.gguf")


def test_a_quantized_model_has_nothing_to_look_at(model: Path, tmp_path: Path):
    prepare_quantization([model], Choices("Q8_0", pure=True)).write(tmp_path / "small.gguf")
    with pytest.raises(SystemExit, match="no matrix in 16 or 32 bits"):
        require_off_grid(tmp_path / "small.gguf")
