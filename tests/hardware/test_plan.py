"""The offload plan: what is promised to fit does fit, more memory never gives less, and wishes are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.errors import DoesNotFitError
from llmasos.hardware.machine import Device, Machine
from llmasos.hardware.plan import (
    KEPT_FREE_BYTES,
    KEPT_FREE_GPU_BYTES,
    KV_BYTES,
    Plan,
    Wishes,
    compute_bytes,
    describe,
    kv_cache_bytes,
    plan_offload,
)
from llmasos.hardware.shape import ModelShape

MIB, GIB = 1024**2, 1024**3
NO_WISHES = Wishes()

# 10 layers of 100 MiB and 200 MiB beside them; a token keeps 40 KiB in f16; a batch takes 98 MiB
SHAPE = ModelShape("x", (100 * MIB,) * 10, 200 * MIB, (1024,) * 10, (1024,) * 10, 32_000, 128, 32_768)
COMPUTE = compute_bytes(SHAPE, 512)
CACHE_4096 = 160 * MIB


def machine(available_bytes: int, *devices: Device) -> Machine:
    return Machine(64 * GIB, available_bytes, 4, devices)


def card(free_bytes: int, kind: str = "gpu") -> Device:
    return Device("CUDA0", "Made-up 9000", kind, free_bytes, free_bytes)


def room_for(count: int) -> int:
    """What a card must have free so that the last `count` layers and their part of the cache fit."""
    return count * (100 * MIB + CACHE_4096 // 10) + COMPUTE + KEPT_FREE_GPU_BYTES


# Main memory.


def test_a_model_that_fits_gets_the_usual_context():
    plan = plan_offload(SHAPE, machine(16 * GIB), NO_WISHES)
    assert (plan.context_length, plan.kv_type, plan.threads, plan.gpu_layers) == (4096, "f16", 4, 0)
    assert (plan.weights_bytes, plan.kv_cache_bytes) == (1200 * MIB, CACHE_4096)
    assert plan.total_bytes == 1200 * MIB + CACHE_4096 + COMPUTE


@pytest.mark.parametrize(
    ("wanted_tokens", "trained", "context_length"),
    [(None, 32_768, 4096), (100, 32_768, 4096), (4097, 32_768, 4352), (99_999, 32_768, 32_768), (100, 1000, 1000)],
)
def test_the_context_has_room_for_what_is_to_come_within_what_the_model_learned(
    wanted_tokens: int | None, trained: int, context_length: int
):
    shape = replace(SHAPE, trained_context_length=trained)
    assert plan_offload(shape, machine(16 * GIB), Wishes(wanted_tokens=wanted_tokens)).context_length == context_length


def test_little_memory_halves_the_context_until_it_fits():
    available = 1200 * MIB + COMPUTE + KEPT_FREE_BYTES + CACHE_4096 // 4
    assert plan_offload(SHAPE, machine(available), NO_WISHES).context_length == 1024
    assert plan_offload(SHAPE, machine(available - 1), NO_WISHES).context_length == 512


def test_what_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(DoesNotFitError) as error:
        plan_offload(SHAPE, machine(1 * GIB), NO_WISHES)
    assert error.value.exit_code == 4
    assert error.value.message == (
        "this needs 1.4 GB of memory (weights 1.3 GB, KV cache 21.0 MB for 512 tokens, compute 101 MB) "
        "and 1.1 GB is available"
    )
    assert "--context-length" in str(error.value.hint)


def test_a_context_that_was_asked_for_is_never_shortened():
    available = 1200 * MIB + COMPUTE + KEPT_FREE_BYTES + CACHE_4096
    assert plan_offload(SHAPE, machine(available), Wishes(context_length=4096)).context_length == 4096
    with pytest.raises(DoesNotFitError, match="for 8192 tokens"):
        plan_offload(SHAPE, machine(available), Wishes(context_length=8192))


def test_a_context_may_be_asked_for_beyond_what_the_model_learned():
    assert plan_offload(SHAPE, machine(16 * GIB), Wishes(context_length=65_536)).context_length == 65_536


@pytest.mark.parametrize(
    ("kv_type", "bytes_a_value"), [("f32", 4), ("f16", 2), ("bf16", 2), ("q8_0", 34 / 32), ("q4_0", 18 / 32)]
)
def test_a_quantized_cache_takes_less(kv_type: str, bytes_a_value: float):
    plan = plan_offload(SHAPE, machine(16 * GIB), Wishes(kv_type=kv_type))
    assert (plan.kv_type, plan.kv_cache_bytes) == (kv_type, 4096 * 20_480 * bytes_a_value)


def test_a_small_batch_takes_less_and_a_large_one_is_read_in_pieces():
    assert compute_bytes(SHAPE, 64) < compute_bytes(SHAPE, 512) == compute_bytes(SHAPE, 4096)


# Graphics cards.


@pytest.mark.parametrize(
    ("free_bytes", "gpu_layers", "reason"),
    [
        (room_for(12) + 100 * MIB, 11, "all of it fits"),
        (room_for(10), 10, "1.2 GB free on the GPU"),
        (room_for(5), 5, "608 MB free on the GPU"),
        (room_for(5) - 1, 4, "608 MB free on the GPU"),
        (room_for(1) - 1, 0, "only 122 MB free on the GPU"),
        (0, 0, "only 0 B free on the GPU"),
    ],
)
def test_as_many_layers_as_fit_go_to_the_card(free_bytes: int, gpu_layers: int, reason: str):
    plan = plan_offload(SHAPE, machine(16 * GIB, card(free_bytes)), NO_WISHES)
    assert (plan.gpu_layers, plan.reason) == (gpu_layers, reason)


def test_what_is_on_the_card_is_not_needed_in_memory():
    little = machine(600 * MIB, card(24 * GIB))
    assert plan_offload(SHAPE, little, NO_WISHES).gpu_layers == 11
    with pytest.raises(DoesNotFitError):
        plan_offload(SHAPE, replace(little, devices=()), NO_WISHES)


def test_two_cards_share_the_layers():
    two = machine(16 * GIB, card(room_for(5)), card(room_for(4)))
    assert plan_offload(SHAPE, two, NO_WISHES).gpu_layers == 9


def test_a_full_card_beside_a_free_one_takes_nothing_away():
    assert plan_offload(SHAPE, machine(16 * GIB, card(room_for(5)), card(0)), NO_WISHES).gpu_layers == 5


def test_an_integrated_card_is_used_only_where_there_is_no_other():
    integrated, discrete = card(24 * GIB, "igpu"), card(room_for(5))
    assert plan_offload(SHAPE, machine(16 * GIB, integrated, discrete), NO_WISHES).gpu_layers == 5
    assert plan_offload(SHAPE, machine(16 * GIB, integrated), NO_WISHES).gpu_layers == 11


def test_layers_on_the_card_are_as_many_as_asked_if_there_is_one():
    assert plan_offload(SHAPE, machine(16 * GIB, card(0)), Wishes(gpu_layers=7)).gpu_layers == 7
    assert plan_offload(SHAPE, machine(16 * GIB, card(0)), Wishes(gpu_layers=999)).gpu_layers == 11
    assert plan_offload(SHAPE, machine(16 * GIB, card(24 * GIB)), Wishes(gpu_layers=0)).gpu_layers == 0
    without = plan_offload(SHAPE, machine(16 * GIB), Wishes(gpu_layers=7))
    assert (without.gpu_layers, without.reason) == (0, "no GPU that this build can use")


def test_a_plan_is_told_in_one_line():
    here = machine(16 * GIB, card(room_for(5)))
    assert describe(plan_offload(SHAPE, here, NO_WISHES), here) == (
        "5 of 10 layers on Made-up 9000, 4 threads, context 4096, KV cache f16: "
        "weights 1.3 GB + KV cache 168 MB + compute 101 MB of 17.2 GB available (608 MB free on the GPU)"
    )
    assert describe(plan_offload(SHAPE, machine(16 * GIB), NO_WISHES), machine(16 * GIB)).startswith("CPU, 4 threads")


# Properties.


sizes = st.integers(0, 4 * GIB) | st.integers(4 * GIB, 64 * GIB)
lengths = st.integers(0, 1024)
layers = st.lists(st.tuples(st.integers(0, 256 * MIB), lengths, lengths), max_size=12)
shapes = st.builds(
    lambda layers, other, *sizes: ModelShape(
        "x", tuple(weights for weights, _, _ in layers), other,
        tuple(keys for _, keys, _ in layers), tuple(values for _, _, values in layers), *sizes,
    ),
    layers, st.integers(0, GIB), st.integers(0, 300_000), st.integers(0, 16_384), st.integers(1, 2**20),
)  # fmt: skip
cards = st.lists(st.builds(card, sizes, st.sampled_from(["gpu", "igpu"])), max_size=3)
wishes = st.builds(
    Wishes,
    context_length=st.none() | st.integers(1, 2**17),
    gpu_layers=st.none() | st.integers(0, 20),
    kv_type=st.none() | st.sampled_from(sorted(KV_BYTES)),
    threads=st.none() | st.integers(1, 64),
    batch_size=st.integers(1, 4096),
    wanted_tokens=st.none() | st.integers(1, 2**18),
)
unhurried = settings(deadline=None)


def needed_bytes(shape: ModelShape, plan: Plan) -> int:
    """Main memory: the first layers, unless the card has them, and what is no layer, unless the card has all."""
    here = max(0, shape.layer_count - plan.gpu_layers)
    other = 0 if plan.gpu_layers > shape.layer_count else shape.other_bytes
    cache = kv_cache_bytes(shape, plan.context_length, plan.kv_type, slice(0, here))
    return sum(shape.layer_bytes[:here]) + other + cache + plan.compute_bytes


@unhurried
@given(shapes, sizes, cards, wishes)
def test_a_plan_never_takes_more_than_there_is(
    shape: ModelShape, available: int, devices: list[Device], wishes: Wishes
):
    here = machine(available, *devices)
    try:
        plan = plan_offload(shape, here, wishes)
    except DoesNotFitError as error:
        assert "is available" in error.message
        return
    assert needed_bytes(shape, plan) + KEPT_FREE_BYTES <= available
    if plan.gpu_layers and wishes.gpu_layers is None:
        on_card = slice(max(0, shape.layer_count - plan.gpu_layers), None)
        cached = kv_cache_bytes(shape, wishes.context_length or plan.context_length, plan.kv_type, on_card)
        assert sum(shape.layer_bytes[on_card]) + cached <= sum(each.free_bytes for each in here.cards)


@unhurried
@given(shapes, sizes, cards, wishes)
def test_wishes_are_kept(shape: ModelShape, available: int, devices: list[Device], wishes: Wishes):
    try:
        plan = plan_offload(shape, machine(available, *devices), wishes)
    except DoesNotFitError:
        return
    assert plan.context_length == (wishes.context_length or plan.context_length)
    assert plan.kv_type == (wishes.kv_type or "f16")
    assert plan.threads == (wishes.threads or 4)
    if wishes.gpu_layers is not None and devices:
        assert plan.gpu_layers == min(wishes.gpu_layers, shape.layer_count + 1)


@unhurried
@given(shapes, sizes, sizes, cards, sizes, wishes)
def test_more_memory_never_gives_a_shorter_context_or_fewer_layers(
    shape: ModelShape, available: int, more: int, devices: list[Device], more_on_cards: int, wishes: Wishes
):
    larger = [replace(each, free_bytes=each.free_bytes + more_on_cards) for each in devices]
    try:
        plan = plan_offload(shape, machine(available, *devices), wishes)
    except DoesNotFitError:
        return
    with_more = plan_offload(shape, machine(available + more, *larger), wishes)
    assert with_more.context_length >= plan.context_length
    assert with_more.gpu_layers >= plan.gpu_layers
