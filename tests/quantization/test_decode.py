"""Bytes as weights: the gguf package's numbers to the last bit, for every type that llama.cpp can dequantize."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import gguf
import numpy as np
import pytest

from llmasos.formats.floats import as_bfloat16, as_float32
from llmasos.quantization.decode import can_decode, decode
from llmasos.quantization.encode import encode
from llmasos.quantization.types import TYPES

NO_WEIGHTS = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64"}  # what activations are made of, and integers
UNKNOWN_TO_GGUF = {"F64", "Q1_0", "Q2_0"}
FLOATS = {"F64", "F32", "F16", "BF16"}

RANDOM = np.random.default_rng(11)
ROWS = RANDOM.standard_normal((6, 512), np.float32)


def random_bytes(tensor_type: str) -> np.ndarray:
    return RANDOM.integers(0, 256, (7, TYPES[tensor_type].row_bytes(512)), np.uint8)


@pytest.mark.parametrize("tensor_type", sorted(TYPES.keys() - NO_WEIGHTS - UNKNOWN_TO_GGUF))
def test_any_bytes_become_the_numbers_that_gguf_makes_of_them(tensor_type):
    rows = random_bytes(tensor_type)
    with np.errstate(invalid="ignore", over="ignore"):  # some scales are NaN or infinite
        expected = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[tensor_type])
    found = decode(rows, tensor_type)
    assert found.shape == (7, 512)
    assert np.array_equal(as_float32(found), expected, equal_nan=True)


@pytest.mark.parametrize(("tensor_type", "error"), [("Q1_0", 0.65), ("Q2_0", 0.75)])
def test_types_that_gguf_does_not_know_come_near_the_weights(tensor_type, error):
    decoded = decode(encode(ROWS, tensor_type), tensor_type)
    assert np.sqrt(np.mean((decoded - ROWS) ** 2)) < error


@pytest.mark.parametrize("rows", [ROWS, ROWS.astype(np.float16), as_bfloat16(ROWS), ROWS.astype(np.float64)])
def test_floating_point_types_stay_what_they_are(rows):
    tensor_type = {"float32": "F32", "float16": "F16", "uint16": "BF16", "float64": "F64"}[rows.dtype.name]
    decoded = decode(rows.view(np.uint8), tensor_type)
    assert decoded.dtype == rows.dtype
    assert np.array_equal(decoded, rows)
    assert np.shares_memory(decoded, rows)


@pytest.mark.parametrize("tensor_type", sorted(TYPES))
def test_it_is_known_which_types_hold_weights(tensor_type):
    assert can_decode(tensor_type) == (tensor_type not in NO_WEIGHTS)


def test_a_type_without_weights_is_refused():
    with pytest.raises(ValueError, match="Q8_K can't be made weights"):
        decode(random_bytes("Q8_K"), "Q8_K")


def test_rows_that_do_not_lie_in_order_are_read_all_the_same():
    rows = encode(ROWS, "Q4_K")
    assert np.array_equal(decode(rows[::2], "Q4_K"), decode(rows, "Q4_K")[::2])


def test_several_threads_may_decode_at_once():
    rows = encode(np.tile(ROWS, (50, 1)), "Q6_K")
    expected = decode(rows, "Q6_K")
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(partial(decode, tensor_type="Q6_K"), [rows[start : start + 3] for start in range(0, 300, 3)])
        assert np.array_equal(np.concatenate(list(parts)), expected)
