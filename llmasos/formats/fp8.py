"""Weights in 8-bit floating point, and the scales that make them weights again.

A value is looked up in a table of 256 and multiplied by its scale in float32, which is what the official converter
does: the products are equal to the bit. Scales stand beside their weights, one for a tensor, for a channel (a row), or
for a block of rows and columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.floats import Array, as_float32

BlockSize = tuple[int, int]  # rows, columns

DEFAULT_BLOCK_SIZE: BlockSize = (128, 128)
FP8_TYPES = ("F8_E4M3", "F8_E5M2")
CHUNK = 2**18  # codes

# what a scale is called -> what stands in its place in the name of its weight
SCALE_SUFFIXES: Final = {"_scale_inv": "", ".weight_scale": ".weight", ".qscale_weight": ".weight"}
# Scales of activations and of the KV cache: they tell an engine how to quantize while it runs.
UNUSED_SUFFIXES = ("activation_scale", ".input_scale", ".output_scale", ".qscale_act", ".k_scale", ".v_scale")


# compressed-tensors' formats that keep one code an element, and how their scales may lie
PLAIN_FORMATS = ("float-quantized", "int-quantized", "naive-quantized")
PLAIN_STRATEGIES = ("tensor", "channel", "block")


def parse_quantization(quantization: Mapping[str, Any] | None) -> BlockSize | None:
    """What a config.json's `quantization_config` means: None for weights as they are, else the size of scaled blocks.

    Raises BadInputError, naming the method, for every quantization that can't be undone here.
    """
    if not quantization:
        return None
    if not isinstance(quantization, Mapping):
        raise BadInputError("config.json has a quantization_config that is no object")
    method = quantization.get("quant_method")
    if method is None and not (quantization.get("load_in_4bit") or quantization.get("load_in_8bit")):
        return None
    if method in ("fp8", "fbgemm_fp8"):
        return _block_size(quantization.get("weight_block_size"))
    if method == "modelopt" and quantization.get("quant_algo") == "FP8":
        return DEFAULT_BLOCK_SIZE
    if method == "compressed-tensors":
        return _compressed_block_size(quantization)
    raise _foreign("bitsandbytes" if method is None else str(method))


def _compressed_block_size(quantization: Mapping[str, Any]) -> BlockSize:
    groups, stored_format = quantization.get("config_groups"), quantization.get("format")
    group = next(iter(groups.values())) if isinstance(groups, Mapping) and len(groups) == 1 else None
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if stored_format not in PLAIN_FORMATS or not isinstance(weights, Mapping):
        raise _foreign(f"compressed-tensors ({stored_format})")
    if weights.get("strategy") not in PLAIN_STRATEGIES or weights.get("symmetric") is False:
        raise _foreign(f"compressed-tensors ({stored_format}, {weights.get('strategy')})")
    return _block_size(weights.get("block_structure"))


def _block_size(stated: Any) -> BlockSize:
    if stated is None:
        return DEFAULT_BLOCK_SIZE
    if not isinstance(stated, list) or len(stated) != 2 or not all(type(size) is int and size > 0 for size in stated):
        raise BadInputError(f"config.json states blocks of the size {ascii(stated)[:80]}; two integers are needed")
    return stated[0], stated[1]


def _foreign(method: str) -> BadInputError:
    shown = ascii(method)[1:-1][:80]
    return BadInputError(
        f"the checkpoint is quantized by {shown}, which can't be converted",
        hint="name the unquantized model that it was made from",
    )


def find_scales(names: Collection[str]) -> dict[str, str]:
    """The weights that have a scale: the name of the weight -> that of its scale. The weight may be missing."""
    found = {}
    for name in names:
        for suffix, replacement in SCALE_SUFFIXES.items():
            if name.endswith(suffix):
                found[name.removesuffix(suffix) + replacement] = name
    return found


def find_unused(names: Collection[str]) -> set[str]:
    """Tensors of a quantized checkpoint that say nothing of its weights."""
    return {name for name in names if name.endswith(UNUSED_SUFFIXES)}


def decode_fp8(codes: npt.NDArray[np.uint8], dtype: str) -> npt.NDArray[np.float32]:
    """The values of `F8_E4M3` (finite, with NaN at 0x7F and 0xFF) or `F8_E5M2` codes, exactly, in the same shape."""
    values = np.empty(codes.shape, np.float32)
    flat_codes, flat_values, table = codes.reshape(-1), values.reshape(-1), TABLES[dtype]
    for start in range(0, codes.size, CHUNK):  # looking up widens each code to eight bytes
        flat_values[start : start + CHUNK] = table[flat_codes[start : start + CHUNK]]
    return values


def dequantize(stored: Array, dtype: str, scale: Array, block_size: BlockSize | None = None) -> Array:
    """The weights as float32: `stored`, of type `dtype` (F8 or integers), times `scale`.

    `scale` has one value; or one for each row, as (rows) or (rows, 1, …); or, with `block_size`, one for each block of
    the last two axes. Blocks at the edges may be cut. Raises CorruptModelError if the scale does not fit.
    """
    weights = decode_fp8(stored, dtype) if dtype in FP8_TYPES else stored.astype(np.float32)
    factors = as_float32(scale)
    if block_size is None:
        return _scale_rows(weights, factors)
    return _scale_blocks(weights, factors, block_size)


def fits_rows(shape: tuple[int, ...], scale_shape: tuple[int, ...]) -> bool:
    """True if a scale is one for the tensor or one for each row, aligned with the slowest-running axes."""
    return len(scale_shape) <= len(shape) and all(
        count in (1, dimension) for count, dimension in zip(scale_shape, shape, strict=False)
    )


def fits_blocks(shape: tuple[int, ...], scale_shape: tuple[int, ...], block_size: BlockSize) -> bool:
    """True if there is a scale for every block of the last two axes."""
    if len(shape) < 2 or min(block_size) < 1:
        return False
    rows, columns = (-(-dimension // size) for dimension, size in zip(shape[-2:], block_size, strict=True))
    return scale_shape == (*shape[:-2], rows, columns)


def _scale_rows(weights: Array, factors: Array) -> Array:
    if not fits_rows(weights.shape, factors.shape):
        raise _misfit(weights, factors)
    weights *= factors.reshape(factors.shape + (1,) * (weights.ndim - factors.ndim))
    return weights


def _scale_blocks(weights: Array, factors: Array, block_size: BlockSize) -> Array:
    if not fits_blocks(weights.shape, factors.shape, block_size):
        raise _misfit(weights, factors)
    rows, columns = block_size
    wide = np.repeat(factors, columns, axis=-1)[..., : weights.shape[-1]]  # (…, blocks of rows, columns)
    for index in range(wide.shape[-2]):
        weights[..., index * rows : (index + 1) * rows, :] *= wide[..., index, np.newaxis, :]
    return weights


def _misfit(weights: Array, factors: Array) -> CorruptModelError:
    return CorruptModelError(f"scales of shape {factors.shape} do not fit weights of shape {weights.shape}")


def _decode_e4m3() -> npt.NDArray[np.float32]:
    codes = np.arange(256, dtype=np.uint8)
    exponents, fractions = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.float32)
    normal, subnormal = np.ldexp(1 + fractions / 8, exponents - 7), np.ldexp(fractions, -9)
    bits = np.where(exponents > 0, normal, subnormal).astype(np.float32).view(np.uint32)
    bits[(codes & 127) == 127] = 0x7FF00000  # NaN, with PyTorch's bits
    return (bits | (codes & 128).astype(np.uint32) << 24).view(np.float32)


def _decode_e5m2() -> npt.NDArray[np.float32]:
    """Such a code is the upper half of a float16."""
    values = (np.arange(256, dtype=np.uint16) << 8).view(np.float16).astype(np.float32)
    quiet = np.where(np.isnan(values), np.uint32(1 << 22), np.uint32(0))  # some processors set it, some don't
    return (values.view(np.uint32) | quiet).view(np.float32)


TABLES: Final = {"F8_E4M3": _decode_e4m3(), "F8_E5M2": _decode_e5m2()}
