"""Rows as bytes: the same as ggml's, whatever the rows come as; and never a block of noise."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
import pytest

from doubles.blocks import KERNEL_TYPES, needs_kernels, spoiled
from llmasos import kernels, native
from llmasos.engine.bindings import log, shared
from llmasos.errors import BadInputError
from llmasos.formats.floats import as_bfloat16, as_float32
from llmasos.quantization import encode as encoding
from llmasos.quantization.encode import QUANTIZED, encode
from llmasos.quantization.types import TYPES

SLOW_TO_BEGIN = {"IQ1_M", "IQ2_S"}  # ggml fills tables for 9 and 3 s; tests/real encodes them

ROWS = np.random.default_rng(7).standard_normal((6, 512), np.float32)


def by_ggml(rows: np.ndarray, tensor_type: str, importance: np.ndarray | None = None) -> np.ndarray:
    encoded = np.empty((len(rows), TYPES[tensor_type].row_bytes(rows.shape[1])), np.uint8)
    encode(rows[:1], "Q4_0")  # declares the function
    weights = None if importance is None else importance.ctypes.data
    places = rows.ctypes.data, encoded.ctypes.data
    shared.ggml_quantize_chunk(TYPES[tensor_type].type_id, *places, 0, *rows.shape, weights)
    return encoded


@pytest.mark.parametrize("tensor_type", ["F32", "F16", "BF16"])
def test_floats_have_ggmls_bits(tensor_type):
    awkward = np.concatenate((ROWS[:1], ROWS[:1] * 1e-7, ROWS[:1] * 1.5e4, np.full((1, 512), np.inf, np.float32)))
    assert np.array_equal(encode(awkward, tensor_type), by_ggml(awkward, tensor_type))


@pytest.mark.parametrize("tensor_type", sorted(QUANTIZED - SLOW_TO_BEGIN - {"Q1_0", "Q2_0"}))  # unknown to gguf
def test_what_is_encoded_is_near_the_weights(tensor_type):
    coarse = {"TQ1_0": 0.9, "TQ2_0": 0.9, "Q2_K": 0.35}
    encoded = encode(ROWS, tensor_type)
    decoded = gguf.quants.dequantize(encoded, gguf.GGMLQuantizationType[tensor_type])
    error = np.sqrt(np.mean((decoded - ROWS) ** 2))
    assert encoded.shape == (6, TYPES[tensor_type].row_bytes(512))
    assert error < coarse.get(tensor_type, 0.25)


@pytest.mark.parametrize("tensor_type", sorted(QUANTIZED - SLOW_TO_BEGIN))
def test_every_quantized_type_is_taken_by_ggmls_own_check(tensor_type):
    assert encode(ROWS, tensor_type).any()


@pytest.mark.parametrize(
    "make", [as_bfloat16, lambda rows: rows.astype(np.float16), lambda rows: rows.astype(np.float64)]
)
def test_what_rows_come_as_does_not_matter(make):
    rows = make(ROWS)
    assert np.array_equal(encode(rows, "Q4_K"), encode(as_float32(rows), "Q4_K"))
    assert np.array_equal(encode(np.asfortranarray(rows), "Q6_K"), encode(as_float32(rows), "Q6_K"))


@pytest.mark.parametrize(("rows", "tensor_type"), [(ROWS, "F32"), (as_bfloat16(ROWS), "BF16")])
def test_rows_that_have_the_type_already_are_not_copied(rows, tensor_type):
    assert np.shares_memory(encode(rows, tensor_type), rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(bad):
    rows = ROWS.copy()
    rows[3, 5], rows[4, 6] = bad, -bad
    with pytest.raises(
        BadInputError, match="the tensor `blk.0.ffn_up.weight` holds NaN or infinity and can't be made Q8_0"
    ):
        encode(rows, "Q8_0", "blk.0.ffn_up.weight")
    assert np.array_equal(encode(rows, "F32").view(np.float32), rows, equal_nan=True)


def test_weights_whose_sum_alone_is_infinite_are_taken():
    assert encode(np.full((2, 32), 2e38, np.float32), "MXFP4").any()


def test_weights_too_large_for_a_type_are_refused():
    with pytest.raises(BadInputError, match="`wide` holds values too large for Q4_0"):
        encode(ROWS * 1e30, "Q4_0", "wide")


@pytest.mark.parametrize("tensor_type", ["IQ2_XXS", "IQ2_XS", "IQ1_S", "Q8_K", "I32"])
def test_types_that_would_end_the_process_are_refused(tensor_type):
    with pytest.raises(ValueError, match="can't be made"):
        encode(ROWS, tensor_type)


@pytest.mark.parametrize("tensor_type", ["IQ3_S", "Q4_K"])
def test_threads_do_not_disturb_each_other(tensor_type):
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda _: encode(ROWS, tensor_type), range(12)))
    assert all(np.array_equal(each, encoded[0]) for each in encoded)


@pytest.mark.parametrize("tensor_type", KERNEL_TYPES)
@pytest.mark.parametrize("make", [as_float32, as_bfloat16, lambda rows: rows.astype(np.float16)])
@pytest.mark.parametrize("level", kernels.available_levels(), ids=kernels.LEVELS.__getitem__)
def test_kernels_give_ggmls_bytes(monkeypatch, tensor_type, make, level):
    rows = make(np.random.default_rng(11).normal(0, 0.02, (12, 1024)).astype(np.float32))
    monkeypatch.setenv("LLMASOS_KERNELS", kernels.LEVELS[level])
    assert np.array_equal(encode(rows, tensor_type), by_ggml(as_float32(rows), tensor_type))


@pytest.mark.parametrize("tensor_type", KERNEL_TYPES)
@pytest.mark.parametrize("value", [1e4, 1e6, 1e9, 1e19, 3e38])
@pytest.mark.parametrize("level", kernels.available_levels(), ids=kernels.LEVELS.__getitem__)
def test_kernels_refuse_what_ggmls_check_refuses(monkeypatch, tensor_type, value, level):
    rows = ROWS.copy()
    rows[2, 300] = value
    monkeypatch.setenv("LLMASOS_KERNELS", "none")
    expected = outcome(rows, tensor_type)
    monkeypatch.setenv("LLMASOS_KERNELS", kernels.LEVELS[level])
    assert outcome(rows, tensor_type) == expected


def outcome(rows: np.ndarray, tensor_type: str) -> bytes | str:
    try:
        return encode(rows, tensor_type).tobytes()
    except BadInputError as error:
        return error.message


IMPORTANCE = np.random.default_rng(12).uniform(0, 3, 512).astype(np.float32)


@pytest.mark.parametrize("tensor_type", [*KERNEL_TYPES, "IQ4_NL", "Q3_K"])
def test_columns_that_matter_more_are_kept_better(tensor_type):
    importance = np.where(np.arange(512) % 4, 0, 1).astype(np.float32)
    kind = gguf.GGMLQuantizationType[tensor_type]
    errors = [
        np.abs(gguf.quants.dequantize(encode(ROWS, tensor_type, importance=weights), kind) - ROWS)[:, ::4].mean()
        for weights in (importance, None)
    ]
    assert errors[0] < errors[1] if tensor_type != "Q8_0" else errors[0] == errors[1]


@pytest.mark.parametrize("tensor_type", KERNEL_TYPES)
@pytest.mark.parametrize("level", kernels.available_levels(), ids=kernels.LEVELS.__getitem__)
def test_kernels_give_ggmls_bytes_with_importance_too(monkeypatch, tensor_type, level):
    monkeypatch.setenv("LLMASOS_KERNELS", kernels.LEVELS[level])
    assert np.array_equal(encode(ROWS, tensor_type, importance=IMPORTANCE), by_ggml(ROWS, tensor_type, IMPORTANCE))


def test_a_type_that_needs_importance_is_made_where_it_is_given():
    assert encode(ROWS, "IQ2_XXS", importance=IMPORTANCE).any()
    with pytest.raises(ValueError, match="don't fit rows of 512"):
        encode(ROWS, "IQ2_XXS", importance=IMPORTANCE[1:])


@pytest.fixture
def untested(monkeypatch):
    """No kernel has been compared with anything yet, and the engine's log is shown."""
    monkeypatch.setattr(encoding, "_kernel_agrees", functools.cache(encoding._kernel_agrees.__wrapped__))
    monkeypatch.setattr(log, "is_shown", True)


@needs_kernels
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    "condition", [lambda importance: importance is None, lambda importance: importance is not None]
)
def test_a_kernel_that_differs_is_told_of_and_not_used(monkeypatch, capsys, untested, machine, condition):
    monkeypatch.setattr(native, "quantize", spoiled(native.quantize, condition))
    monkeypatch.setattr("platform.machine", lambda: machine)
    for _ in range(2):
        assert np.array_equal(encode(ROWS, "Q4_K"), by_ggml(ROWS, "Q4_K"))
    judge = "ggml" if machine == "x86_64" else "the plain code"
    told = f"the {kernels.LEVELS[kernels.level()]} kernel for Q4_K differs from {judge}; ggml is used instead\n"
    assert capsys.readouterr().err.count(told) == 1


@needs_kernels
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("tensor_type", KERNEL_TYPES)
def test_a_kernel_that_agrees_is_used(monkeypatch, capsys, untested, machine, tensor_type):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert encoding._has_kernel(tensor_type)
    assert capsys.readouterr().err == ""
