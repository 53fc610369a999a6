"""Quantizers of the kernels: the bytes of ggml, on every level of this machine, by kernels rather than plain C."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from doubles.blocks import KERNEL_TYPES, LEVELS, by_ggml, by_kernels, call
from llmasos import kernels
from llmasos.formats.floats import as_bfloat16, as_float32
from llmasos.quantization.types import TYPES

pytestmark = [
    pytest.mark.skipif(not kernels.available_levels(), reason="the kernels are not compiled"),
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
]

SHAPE = (9, 768)  # 27 super-blocks: tiles that are full and one that is not


def seeded(shape: tuple[int, int]) -> np.random.Generator:
    return np.random.default_rng(shape)


def with_empty_blocks(shape: tuple[int, int]) -> np.ndarray:
    runs = seeded(shape).normal(size=shape).reshape(-1, 16)
    runs[seeded(shape).random(len(runs)) < 0.4] = 0
    return runs.reshape(shape)


def of_many_sizes(shape: tuple[int, int]) -> np.ndarray:
    """Runs beside which others vanish: their scales are rounded to nothing."""
    return seeded(shape).normal(size=shape) * np.exp(seeded(shape).normal(-4, 4, shape[1]))


def near_ties(shape: tuple[int, int]) -> np.ndarray:
    """Blocks with a scale of one or a power of two, and halves of it or the floats beside them."""
    halves = (seeded(shape).integers(-127, 127, shape) + 0.5).astype(np.float32)
    towards = seeded(shape).choice([-np.inf, 0, np.inf], shape).astype(np.float32)
    blocks = np.nextafter(halves, np.where(towards == 0, halves, towards)).reshape(-1, 32)
    blocks[:, 1:8] = np.nextafter(np.float32([0.5, -0.5, 0.5, -0.5, 1.5, -1.5, 2.5]), np.float32(0))
    blocks[:, 0] = seeded(shape).choice([127, -127, 128, -128], len(blocks))
    return blocks.reshape(shape)


# What weights may look like: kernels alone make these.
ORDINARY = {
    "normal": lambda shape: seeded(shape).normal(size=shape),
    "small": lambda shape: seeded(shape).normal(0, 1e-6, shape),
    "heavy tails": lambda shape: seeded(shape).standard_t(2, shape).clip(-1e4, 1e4),
    "of many sizes": of_many_sizes,
    "uniform": lambda shape: seeded(shape).uniform(0, 1, shape),
    "all negative": lambda shape: seeded(shape).uniform(-2, -1, shape),
    "two values": lambda shape: seeded(shape).choice([-0.75, 0.75], shape),
    "near ties": near_ties,
    "on a grid": lambda shape: seeded(shape).integers(-8, 8, shape) / 64,
    "nearly constant": lambda shape: -3 - 2e-7 * seeded(shape).integers(0, 2, shape),
    "constant": lambda shape: np.full(shape, 2.5),
    "constant below zero": lambda shape: np.full(shape, -3.7),
    "zeros": np.zeros,
    "negative zeros": lambda shape: -np.zeros(shape),
    "zeros of both signs": lambda shape: seeded(shape).choice([-0.0, 0.0], shape),
    "empty blocks between": with_empty_blocks,
}

# What they never look like: here plain C may help out.
EXTREME = {
    "subnormal": lambda shape: seeded(shape).normal(0, 1e-40, shape),
    "tiny": lambda shape: seeded(shape).normal(0, 1e-20, shape),
    "large": lambda shape: seeded(shape).normal(0, 1e7, shape),
    "huge": lambda shape: seeded(shape).normal(0, 1e20, shape),
    "the largest": lambda shape: seeded(shape).uniform(-3.4e38, 3.4e38, shape),
    "of all sizes": lambda shape: seeded(shape).normal(size=shape) * 10.0 ** seeded(shape).uniform(-44, 37, shape),
}


def weights(kind: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.ascontiguousarray((ORDINARY | EXTREME)[kind](shape), np.float32)


def importance(kind: str, width: int = SHAPE[1]) -> np.ndarray | None:
    """Columns' squared activations are what these are: never negative, some of no importance."""
    random = np.random.default_rng(width)
    return {
        "alike": None,
        "by importance": random.lognormal(0, 3, width).astype(np.float32),
        "by importance, half of it none": np.where(random.random(width) < 0.5, 0, random.random(width, np.float32)),
    }[kind]


WEIGHED = ["alike", "by importance", "by importance, half of it none"]


def level_name(level: int) -> str:
    return kernels.LEVELS[level] if level else "plain C"


@pytest.fixture(params=LEVELS, ids=level_name)
def level(request) -> int:
    return request.param


def blocks_of(type_name: str, rows: np.ndarray) -> int:
    return rows.size // TYPES[type_name].block_weights


@pytest.mark.parametrize("weighed", WEIGHED)
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("kind", ORDINARY)
def test_weights_get_ggmls_bytes_and_need_no_plain_c(level, type_name, kind, weighed):
    rows = weights(kind)
    blocks, left = by_kernels(level, type_name, rows, importance(weighed))
    assert np.array_equal(blocks, by_ggml(type_name, rows, importance(weighed)))
    assert left == (0 if level else len(blocks))


@pytest.mark.parametrize("weighed", WEIGHED)
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("kind", EXTREME)
def test_what_no_weights_look_like_gets_ggmls_bytes_too(level, type_name, kind, weighed):
    rows = weights(kind)
    blocks, _ = by_kernels(level, type_name, rows, importance(weighed))
    assert np.array_equal(blocks, by_ggml(type_name, rows, importance(weighed)))


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_value_that_no_block_can_hold_is_always_counted(level, type_name, value):
    rows = weights("normal")
    places = np.arange(0, rows.size, 1031)  # blocks apart
    rows.reshape(-1)[places] = value
    blocks, left = by_kernels(level, type_name, rows)
    assert np.array_equal(blocks, by_ggml(type_name, rows))
    assert left == (len(places) if level else len(blocks))


@pytest.mark.parametrize("type_name", ["Q4_K", "Q5_K"])
def test_a_scale_below_zero_wraps_round_as_ggmls_does(level, type_name):
    """Rounding errors make some where a block is constant but for a trace and nearly all importance is none."""
    random = np.random.default_rng(111)  # blocks of both types meet every way in which ggml wraps them
    traces = random.normal(0, 1e-6, (64, 1024)) * np.repeat(random.random((64, 32)) < 0.5, 32, axis=1)
    rows = (traces - 0.5).astype(np.float32)
    sparse = np.where(random.random(1024) < 0.9, 0, random.random(1024)).astype(np.float32)
    blocks, _ = by_kernels(level, type_name, rows, sparse)
    assert np.array_equal(blocks, by_ggml(type_name, rows, sparse))


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
usual = st.floats(-4, 4, width=32)
pieces = arrays(np.float32, (8, 32), elements=st.one_of(usual, numbers, st.sampled_from([0.0, -0.0, 1.0, -1.0])))


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@given(pieces, st.integers(0, 8), st.sampled_from(WEIGHED))
@settings(max_examples=60, deadline=None)
def test_any_block_gets_ggmls_bytes(type_name, piece, empty_runs, weighed):
    piece[:empty_runs] = 0
    rows = piece.reshape(1, 256)
    expected = by_ggml(type_name, rows, importance(weighed, 256))
    for each in LEVELS:
        blocks, _ = by_kernels(each, type_name, rows, importance(weighed, 256))
        assert np.array_equal(blocks, expected), level_name(each)


@pytest.mark.parametrize("weighed", WEIGHED)
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_any_number_of_rows(level, type_name, weighed):
    width = TYPES[type_name].block_weights
    rows = weights("heavy tails", (40, width))
    expected = by_ggml(type_name, rows, importance(weighed, width))
    for count in range(41):
        blocks, left = by_kernels(level, type_name, rows[:count], importance(weighed, width))
        assert np.array_equal(blocks, expected[:count]), count
        assert left == (0 if level else count)


@pytest.mark.parametrize("weighed", WEIGHED)
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_any_width(level, type_name, weighed):
    step = TYPES[type_name].block_weights
    for width in range(step, 20 * step, step):
        rows = weights("normal", (2, width))
        blocks, left = by_kernels(level, type_name, rows, importance(weighed, width))
        assert np.array_equal(blocks, by_ggml(type_name, rows, importance(weighed, width))), width
        assert left == (0 if level else len(blocks))


def moved(array: np.ndarray, by: int) -> np.ndarray:
    """The same array so many bytes behind an aligned address."""
    room = np.empty(array.nbytes + 64 + by, np.uint8)
    start = -room.ctypes.data % 64 + by
    at = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    at[...] = array
    return at


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("by", [1, 2, 4, 7])
def test_nothing_needs_to_be_aligned(level, type_name, by):
    rows, weighed = weights("normal", (3, 4096)), importance("by importance", 4096)
    room = moved(np.zeros((blocks_of(type_name, rows), TYPES[type_name].block_bytes), np.uint8), by)
    blocks, _ = by_kernels(level, type_name, moved(rows, by), blocks=room)
    assert np.array_equal(blocks, by_ggml(type_name, rows))
    blocks, _ = by_kernels(level, type_name, moved(rows, by), moved(weighed, by), blocks=room)
    assert np.array_equal(blocks, by_ggml(type_name, rows, weighed))


@pytest.mark.parametrize("weighed", WEIGHED)
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("make", [as_bfloat16, lambda rows: rows.astype(np.float16)], ids=["bf16", "f16"])
def test_half_as_wide_floats_are_read_exactly(level, type_name, make, weighed):
    rows = make(weights("of many sizes", (5, 768)))
    blocks, left = by_kernels(level, type_name, rows, importance(weighed))
    assert np.array_equal(blocks, by_ggml(type_name, np.ascontiguousarray(as_float32(rows)), importance(weighed)))
    assert left == (0 if level else len(blocks))


@pytest.mark.parametrize("kind", [np.float16, np.uint16], ids=["f16", "bf16"])
def test_every_half_as_wide_number_is_read_exactly(level, kind):
    bits = np.repeat(np.arange(65536, dtype=np.uint16), 32).view(kind)
    numbers = bits[np.isfinite(as_float32(bits))].reshape(-1, 256)  # each fills a block: its scale tells it
    blocks, _ = by_kernels(level, "Q5_0", numbers)
    assert np.array_equal(blocks, by_ggml("Q5_0", np.ascontiguousarray(as_float32(numbers))))


def test_threads_do_not_disturb_each_other(level):
    rows = weights("normal", (16, 2048))
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: by_kernels(level, "Q6_K", rows)[0], range(8))
    expected = by_ggml("Q6_K", rows)
    assert all(np.array_equal(blocks, expected) for blocks in results)


@pytest.mark.parametrize(
    ("type_id", "source_type", "width"),
    [(TYPES["Q4_K"].type_id, 0, 128), (TYPES["Q8_0"].type_id, 0, 48), (TYPES["Q2_K"].type_id, 0, 256),
     (TYPES["Q4_K"].type_id, 2, 256)],
    ids=["half a super-block", "one and a half blocks", "no kernel of that type", "no such source"],
)  # fmt: skip
def test_what_can_not_be_done_is_refused_and_nothing_written(level, type_id, source_type, width):
    rows, target = np.ones((1, width), np.float32), np.zeros(1024, np.uint8)
    assert call(level, type_id, source_type, rows, target, 1, width) == -1
    assert not target.any()


@pytest.mark.parametrize("absent", [-1, 5, *({1, 2, 3, 4} - set(LEVELS))])
def test_a_level_that_this_machine_lacks_is_refused(absent):
    rows, target = np.ones((1, 256), np.float32), np.zeros(1024, np.uint8)
    assert call(absent, TYPES["Q4_K"].type_id, 0, rows, target, 1, 256) == -1
    assert not target.any()
