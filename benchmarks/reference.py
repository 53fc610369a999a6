"""Whether a model can say what quantizing costs: not if its weights lie on a grid already."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llmasos.formats.floats import Array, as_float32
from llmasos.formats.gguf_tensors import open_gguf_model
from llmasos.quantization.decode import decode
from llmasos.quantization.encode import encode

REFERENCE_NAME = "reference-f16.gguf"
QUANTIZATION_BLOCK = 32  # of Q4_1
LEAST_SHARE = 0.8
MOST_WEIGHTS = 1 << 18  # of a tensor that are looked at


def require_off_grid(path: Path) -> float:
    """Q4_1's error for a GGUF in 16 or 32 bits as a share of that for Gaussian weights.

    Exits with the reason if it is too small for figures of quality: then the weights were quantized before.
    """
    share = grid_share(path)
    if not share > LEAST_SHARE:
        raise SystemExit(
            f"{path} can't be used for figures of quality: Q4_1 loses {share:.2f} of what it does of Gaussian weights,"
            f" less than {LEAST_SHARE}, since they lie on a grid already; make_reference_model.py makes one that can"
        )
    return share


def grid_share(path: Path) -> float:
    """The relative error of Q4_1, by the median over a model's matrices, as a share of that for Gaussian weights."""
    errors = []
    for tensor in open_gguf_model([path]).tensors.values():
        is_matrix = len(tensor.shape) > 1 and tensor.shape[-1] % QUANTIZATION_BLOCK == 0
        if is_matrix and tensor.type in ("F32", "F16", "BF16"):
            rows = tensor.rows()[: max(1, MOST_WEIGHTS // tensor.shape[-1])]
            errors.append(relative_error(as_float32(decode(rows, tensor.type))))
    if not errors:
        raise SystemExit(f"{path} can't be used for figures of quality: it has no matrix in 16 or 32 bits")
    gaussian = np.random.default_rng(1).standard_normal((512, 512), np.float32)
    return float(np.median(errors)) / relative_error(gaussian)


def relative_error(rows: Array) -> float:
    """Root of the mean square of what Q4_1 changes, as a share of the weights' own."""
    changed = decode(encode(rows, "Q4_1"), "Q4_1") - rows
    return float(np.sqrt(np.mean(np.square(changed, dtype=np.float64)) / np.mean(np.square(rows, dtype=np.float64))))
