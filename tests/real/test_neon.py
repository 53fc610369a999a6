"""Quantizers on ARM: compiled for it and run in an emulator, they give the bytes that ggml gives on x86-64.

ggml itself would not: its ARM builds fuse multiplications with additions.
"""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conftest import PROJECT
from doubles.blocks import KERNEL_TYPES, by_ggml
from llmasos import kernels, native
from llmasos.formats.floats import as_bfloat16, as_float32
from llmasos.quantization.types import TYPES

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
PLAIN_C, NEON = 0, kernels.ARM_LEVEL

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed"),
    pytest.mark.skipif(not shutil.which(EMULATOR), reason=f"{EMULATOR} is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="ggml's bytes on x86-64 are what is compared with"),
]

RANDOM = np.random.default_rng(64)
SHAPE = (5, 2304)
ORDINARY = {
    "normal": RANDOM.normal(size=SHAPE),
    "heavy tails": RANDOM.standard_t(2, SHAPE).clip(-1e4, 1e4),
    "of many sizes": RANDOM.normal(size=SHAPE) * np.exp(RANDOM.normal(-4, 4, SHAPE[1])),
    "on a grid": RANDOM.integers(-8, 8, SHAPE) / 64,
    "constant": np.full(SHAPE, -3.7),
    "zeros of both signs": RANDOM.choice([-0.0, 0.0], SHAPE),
    "empty blocks between": RANDOM.normal(size=SHAPE) * np.repeat(RANDOM.random((SHAPE[0], 144)) < 0.5, 16, axis=1),
}
EXTREME = {
    "subnormal": RANDOM.normal(0, 1e-40, SHAPE),
    "huge": RANDOM.normal(0, 1e12, SHAPE),
}
IMPORTANCE = RANDOM.lognormal(0, 3, SHAPE[1]).astype(np.float32)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kernels, path = PROJECT / "kernels", tmp_path_factory.mktemp("neon") / "quantize"
    sources = [Path(__file__).with_name("quantize_standard_input.c"), *sorted(kernels.glob("*.c"))]
    options = ["-std=c11", "-O3", "-ffp-contract=off", "-static", f"-I{kernels}"]
    subprocess.run([COMPILER, *options, *sources, "-o", path, "-lm"], check=True)
    return path


def emulated(program: Path, level: int, type_name: str, rows: np.ndarray, importance: np.ndarray | None):
    """The blocks, and how many of them were left to plain C."""
    found = TYPES[type_name]
    numbers = [level, found.type_id, native.SOURCE_TYPES[rows.dtype], *rows.shape, int(importance is not None)]
    given = rows.tobytes() + (b"" if importance is None else importance.tobytes())
    done = subprocess.run([EMULATOR, program, *map(str, numbers)], input=given, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8, offset=8).reshape(-1, found.block_bytes), *struct.unpack_from(
        "<q", done.stdout
    )


@pytest.mark.parametrize("importance", [None, IMPORTANCE], ids=["alike", "by importance"])
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("kind", ORDINARY)
def test_weights_get_the_bytes_of_x86_and_need_no_plain_c(program, kind, type_name, importance):
    rows = ORDINARY[kind].astype(np.float32)
    blocks, left = emulated(program, NEON, type_name, rows, importance)
    assert np.array_equal(blocks, by_ggml(type_name, rows, importance))
    assert left == 0


@pytest.mark.parametrize("importance", [None, IMPORTANCE], ids=["alike", "by importance"])
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("kind", EXTREME)
def test_what_no_weights_look_like_gets_the_bytes_of_x86_too(program, kind, type_name, importance):
    rows = EXTREME[kind].astype(np.float32)
    blocks, _ = emulated(program, NEON, type_name, rows, importance)
    assert np.array_equal(blocks, by_ggml(type_name, rows, importance))


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("make", [as_bfloat16, lambda rows: rows.astype(np.float16)], ids=["bf16", "f16"])
def test_half_as_wide_floats_are_read_exactly(program, make, type_name):
    rows = make(ORDINARY["of many sizes"].astype(np.float32))
    blocks, left = emulated(program, NEON, type_name, rows, None)
    assert np.array_equal(blocks, by_ggml(type_name, np.ascontiguousarray(as_float32(rows))))
    assert left == 0


@pytest.mark.parametrize("importance", [None, IMPORTANCE], ids=["alike", "by importance"])
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_plain_c_gives_the_bytes_of_x86(program, type_name, importance):
    rows = ORDINARY["heavy tails"].astype(np.float32)
    blocks, left = emulated(program, PLAIN_C, type_name, rows, importance)
    assert np.array_equal(blocks, by_ggml(type_name, rows, importance))
    assert left == len(blocks)
