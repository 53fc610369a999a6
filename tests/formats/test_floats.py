"""The floating-point types: bits that move unchanged, and rounding as ggml rounds."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmasos.engine.bindings import shared
from llmasos.formats.floats import as_bfloat16, as_float16, as_float32, type_name

ALL_BITS = np.arange(2**16, dtype=np.uint16)


def float_of(bits: int) -> np.ndarray:
    return np.array([bits], np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.float32, "F32"), (np.float16, "F16"), (np.uint16, "BF16"), (np.float64, "F64")]
)
def test_an_array_says_what_it_holds(dtype: type, name: str):
    assert type_name(np.zeros(1, dtype)) == name


def test_integers_are_no_floats():
    with pytest.raises(KeyError):
        type_name(np.zeros(1, np.int16))


def test_every_bfloat16_comes_back_from_float32_but_for_the_quiet_bit_of_nan():
    wide = as_float32(ALL_BITS)
    assert np.array_equal(wide.view(np.uint32), ALL_BITS.astype(np.uint32) << 16)
    assert np.array_equal(as_bfloat16(wide), np.where(np.isnan(wide), ALL_BITS | 64, ALL_BITS))


def test_every_float16_comes_back_from_float32():
    halves = ALL_BITS.view(np.float16)
    assert np.array_equal(as_float16(as_float32(halves)), halves, equal_nan=True)


def test_what_is_of_the_type_already_is_left_alone():
    for array, convert in (
        (np.ones(2, np.float32), as_float32),
        (np.ones(2, np.uint16), as_bfloat16),
        (np.ones(2, np.float16), as_float16),
    ):
        assert convert(array) is array


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
@example([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7F800001, 0xFFFFFFFF, 0x80000000, 1])
def test_rounding_to_bfloat16_is_that_of_ggml(bits: list[int]):
    values = np.array(bits, np.uint32).view(np.float32)
    expected = np.empty(len(bits), np.uint16)
    shared.ggml_fp32_to_bf16_row_ref(
        values.ctypes.data_as(ctypes.c_void_p), expected.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(bits))
    )
    assert as_bfloat16(values).tolist() == expected.tolist()


def test_strided_arrays_and_scalars_are_converted_too():
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(as_float32(as_bfloat16(grid.T)), grid.T)
    assert as_float32(as_bfloat16(np.array(2, np.float32))).shape == ()
    assert as_float32(np.array(0x4000, np.uint16)) == 2


def test_what_is_too_large_for_float16_is_infinite_without_a_warning():
    assert as_float16(np.array([65519, 65520, -1e9], np.float32)).tolist() == [65504, np.inf, -np.inf]


def test_float64_is_rounded_through_float32():
    assert as_float32(np.array([0.1])).tolist() == [np.float32(0.1)]
