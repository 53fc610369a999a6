"""What types make of weights: the same errors as by hand, whatever the weights are stored as, sampled or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmasos.formats.floats import as_float32
from llmasos.formats.gguf_tensors import GgufTensor, open_gguf_model
from llmasos.progress import Progress
from llmasos.quality.errors_of_types import fitting, weighted_errors
from llmasos.quantization.decode import decode
from llmasos.quantization.encode import encode
from llmasos.quantization.writer import TensorJob, write_gguf

TYPES = ("Q4_0", "Q5_K", "Q8_0", "F16")
GENERATOR = np.random.default_rng(3)
WEIGHTS = GENERATOR.standard_normal((512, 256), np.float32)
COLUMNS = GENERATOR.uniform(0, 4, (4, 256)).astype(np.float32)


def stored(folder: Path, tensor_type: str, shape: tuple[int, ...] = (512, 256)) -> GgufTensor:
    job = TensorJob("blk.0.ffn_up.weight", shape, tensor_type, lambda: [WEIGHTS])
    path = folder / "model.gguf"
    write_gguf(path, {"general.architecture": "llama"}, [job], progress=Progress())
    return open_gguf_model([path], whole=()).tensors["blk.0.ffn_up.weight"]


def by_hand(weights: np.ndarray, tensor_type: str, columns: np.ndarray | None) -> float:
    made = as_float32(decode(encode(weights, tensor_type, "", columns), tensor_type)).astype(np.float64)
    return float((np.square(weights - made) * (1 if columns is None else columns)).sum())


@pytest.mark.parametrize("source", ["F32", "F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("columns", [None, COLUMNS[:1]], ids=["plain", "weighed"])
def test_the_errors_are_those_of_the_bytes_that_are_written(tmp_path, source: str, columns: np.ndarray | None):
    tensor = stored(tmp_path, source)
    found = weighted_errors(tensor, TYPES, columns)
    weights = as_float32(decode(tensor.rows(), source))
    assert found == {
        each: pytest.approx(by_hand(weights, each, None if columns is None else columns[0]), rel=1e-5) for each in TYPES
    }
    assert found["Q4_0"] > found["Q5_K"] > found["Q8_0"]


def test_each_matrix_of_a_stack_has_columns_of_its_own(tmp_path):
    found = weighted_errors(stored(tmp_path, "F32", (4, 128, 256)), ["Q4_0"], COLUMNS)
    parts = [by_hand(WEIGHTS[128 * each : 128 * (each + 1)], "Q4_0", COLUMNS[each]) for each in range(4)]
    assert found["Q4_0"] == pytest.approx(sum(parts), rel=1e-5)


@pytest.mark.parametrize("shape", [(512, 256), (4, 128, 256)])
def test_a_sample_tells_nearly_the_same(tmp_path, shape: tuple[int, ...]):
    tensor = stored(tmp_path, "F32", shape)
    columns = COLUMNS if len(shape) == 3 else COLUMNS[:1]
    whole, sampled = (weighted_errors(tensor, TYPES, columns, most=most) for most in (2**18, 2**14))
    assert sampled == {each: pytest.approx(error, rel=0.1) for each, error in whole.items()}
    assert sampled != whole


def test_types_whose_blocks_do_not_divide_the_rows_are_left_out():
    assert fitting(TYPES, 576) == ["Q4_0", "Q8_0", "F16"]
