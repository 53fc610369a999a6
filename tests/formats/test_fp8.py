"""Weights in 8-bit floating point: every code's value, and every way in which scales lie beside their weights.

`tests/real` compares all of it with PyTorch.
"""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.fp8 import decode_fp8, dequantize, find_scales, find_unused, fits_blocks, parse_quantization

ONE = 0x38  # in E4M3


def e4m3_value(code: int) -> float:
    """By the definition: 1 sign, 4 exponent and 3 fraction bits, bias 7, no infinity, NaN if all but the sign is 1."""
    sign, exponent, fraction = (-1) ** (code >> 7), code >> 3 & 15, code & 7
    if code & 127 == 127:
        return math.nan
    return sign * (fraction / 8 * 2**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7))


def e5m2_value(code: int) -> float:
    """By the definition: 1 sign, 5 exponent and 2 fraction bits, bias 15, infinity and NaN as in IEEE 754."""
    sign, exponent, fraction = (-1) ** (code >> 7), code >> 2 & 31, code & 3
    if exponent == 31:
        return math.nan if fraction else sign * math.inf
    return sign * (fraction / 4 * 2**-14 if exponent == 0 else (1 + fraction / 4) * 2.0 ** (exponent - 15))


def ones(*shape: int) -> np.ndarray:
    return np.full(shape, ONE, np.uint8)


@pytest.mark.parametrize(("dtype", "value"), [("F8_E4M3", e4m3_value), ("F8_E5M2", e5m2_value)])
def test_every_code_has_the_value_of_the_definition(dtype: str, value: Any):
    decoded = decode_fp8(np.arange(256, dtype=np.uint8).reshape(16, 16), dtype)
    assert decoded.shape == (16, 16)
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded.reshape(-1), np.array([value(code) for code in range(256)]), equal_nan=True)
    assert np.array_equal(np.signbit(decoded.reshape(-1)), np.arange(256) >= 128)


def test_decoding_takes_no_memory_but_the_result():
    codes = ones(2048, 2048)
    tracemalloc.start()
    values = decode_fp8(codes, "F8_E4M3")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (values == 1).all()
    assert peak < 1.3 * values.nbytes


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (2.0, [[2, 2], [2, 2], [2, 2]]),
        ([2], [[2, 2], [2, 2], [2, 2]]),
        ([1, 2, 3], [[1, 1], [2, 2], [3, 3]]),
        ([[1], [2], [3]], [[1, 1], [2, 2], [3, 3]]),
    ],
)
def test_a_scale_is_for_the_tensor_or_for_each_row(scale: Any, expected: list[list[int]]):
    assert dequantize(ones(3, 2), "F8_E4M3", np.array(scale, np.float32)).tolist() == expected


def test_a_scale_of_blocks_is_repeated_and_cut_at_the_edges():
    scale = np.array([[1, 2], [3, 4]], np.float32)
    assert dequantize(ones(3, 5), "F8_E4M3", scale, (2, 3)).tolist() == [
        [1, 1, 1, 2, 2],
        [1, 1, 1, 2, 2],
        [3, 3, 3, 4, 4],
    ]


def test_experts_have_blocks_of_their_own():
    scale = np.arange(4, dtype=np.float32).reshape(2, 2, 1)
    assert dequantize(ones(2, 2, 2), "F8_E4M3", scale, (1, 2)).tolist() == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]


def test_scales_may_be_bfloat16_and_weights_integers():
    scale = np.array([0x3F00], np.uint16)  # a half
    assert dequantize(np.array([[-128, 3]], np.int8), "I8", scale).tolist() == [[-64, 1.5]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.randoms(use_true_random=False))
def test_blocks_equal_the_plain_definition(rows: int, columns: int, height: int, width: int, random: Any):
    codes = np.array([[random.randrange(127) for _ in range(columns)] for _ in range(rows)], np.uint8)
    scale = np.array(
        [[random.random() for _ in range(-(-columns // width))] for _ in range(-(-rows // height))], np.float32
    )
    expected = [
        [
            np.float32(e4m3_value(int(codes[row, column]))) * scale[row // height, column // width]
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    assert np.array_equal(dequantize(codes, "F8_E4M3", scale, (height, width)), np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("shape", "block_size"), [((2,), None), ((3, 3), None), ((3, 2, 1), None), ((2, 2), (2, 2)), ((2,), (2, 2))]
)
def test_a_scale_that_does_not_fit_is_refused(shape: tuple[int, ...], block_size: tuple[int, int] | None):
    with pytest.raises(CorruptModelError, match=r"scales of shape .* do not fit weights of shape \(3, 2\)"):
        dequantize(ones(3, 2), "F8_E4M3", np.ones(shape, np.float32), block_size)


def test_blocks_need_two_axes():
    assert not fits_blocks((4,), (2,), (2, 2))


def test_scales_are_found_by_name():
    names = ["a.weight", "a.weight_scale_inv", "b.weight_scale", "c.qscale_weight", "experts.up_scale_inv", "d.scale"]
    assert find_scales(names) == {
        "a.weight": "a.weight_scale_inv",
        "b.weight": "b.weight_scale",
        "c.weight": "c.qscale_weight",
        "experts.up": "experts.up_scale_inv",
    }


def test_scales_of_activations_are_not_for_weights():
    unused = {"a.input_scale", "a.activation_scale", "a.up_activation_scale", "a.qscale_act", "a.k_scale", "a.v_scale"}
    assert find_unused(["a.weight", "a.weight_scale", *sorted(unused)]) == unused
    assert find_scales(unused) == {}


# What a config.json says.


def compressed(stored_format: str = "float-quantized", **weights: Any) -> dict[str, Any]:
    group = {"weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True, **weights}}
    return {"quant_method": "compressed-tensors", "format": stored_format, "config_groups": {"group_0": group}}


@pytest.mark.parametrize("quantization", [None, {}, {"load_in_4bit": False}])
def test_no_quantization_is_none(quantization: Any):
    assert parse_quantization(quantization) is None


@pytest.mark.parametrize(
    ("quantization", "block_size"),
    [
        ({"quant_method": "fp8"}, (128, 128)),
        ({"quant_method": "fp8", "weight_block_size": None}, (128, 128)),
        ({"quant_method": "fp8", "weight_block_size": [64, 32]}, (64, 32)),
        ({"quant_method": "fbgemm_fp8"}, (128, 128)),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, (128, 128)),
        (compressed(), (128, 128)),
        (compressed(strategy="block", block_structure=[16, 8]), (16, 8)),
        (compressed("int-quantized"), (128, 128)),
    ],
)
def test_quantizations_with_plain_scales_are_known(quantization: Any, block_size: tuple[int, int]):
    assert parse_quantization(quantization) == block_size


@pytest.mark.parametrize(
    ("quantization", "name"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "modelopt"),
        (compressed("pack-quantized"), r"compressed-tensors \(pack-quantized\)"),
        (compressed(strategy="group"), r"compressed-tensors \(float-quantized, group\)"),
        (compressed("int-quantized", symmetric=False), r"compressed-tensors \(int-quantized, channel\)"),
        ({"quant_method": "compressed-tensors"}, r"compressed-tensors \(None\)"),
        ({**compressed(), "config_groups": {"a": {}, "b": {}}}, r"compressed-tensors \(float-quantized\)"),
        ({"quant_method": "\x1b[2J"}, r"\\x1b"),
        ({"quant_method": ["fp8"]}, "fp8"),
    ],
)
def test_other_quantizations_are_refused_by_name(quantization: Any, name: str):
    with pytest.raises(BadInputError, match=f"is quantized by .*{name}.*, which can't be converted") as error:
        parse_quantization(quantization)
    assert error.value.hint == "name the unquantized model that it was made from"


@pytest.mark.parametrize("size", [[128], [0, 128], ["a", "b"], "128x128", [1.0, 1.0]])
def test_an_impossible_block_size_is_refused(size: Any):
    with pytest.raises(BadInputError, match="two integers are needed"):
        parse_quantization({"quant_method": "fp8", "weight_block_size": size})


def test_a_quantization_that_is_no_object_is_refused():
    with pytest.raises(BadInputError, match="quantization_config that is no object"):
        parse_quantization(["fp8"])  # type: ignore[arg-type]
