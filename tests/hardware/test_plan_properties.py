"""The offload plan, whatever the model, the machine and the wishes: memory and cards are never overfilled, more memory
never gives less, wishes are kept, and the second plan keeps to the first."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.errors import DoesNotFitError
from llmasos.hardware.machine import Device, Machine
from llmasos.hardware.plan import (
    KEPT_FREE_BYTES,
    KEPT_FREE_GPU_BYTES,
    KV_BYTES,
    SHORTEST_CONTEXT_LENGTH,
    Plan,
    Wishes,
    compute_bytes,
    kv_cache_bytes,
    plan_context,
    plan_offload,
)
from llmasos.hardware.shape import ModelShape

MIB, GIB = 1024**2, 1024**3

sizes = st.integers(0, 4 * GIB) | st.integers(4 * GIB, 64 * GIB)
lengths = st.integers(0, 1024)
layers = st.lists(st.tuples(st.integers(1, 256 * MIB), lengths, lengths), max_size=12)
shapes = st.builds(
    lambda layers, **rest: ModelShape(
        architecture="x",
        layer_bytes=tuple(weights for weights, _, _ in layers),
        key_lengths=tuple(keys for _, keys, _ in layers),
        value_lengths=tuple(values for _, _, values in layers),
        **rest,
    ),
    layers,
    input_bytes=st.integers(0, GIB),
    output_bytes=st.integers(1, GIB),
    tied_bytes=st.just(0) | st.integers(0, GIB),
    state_bytes=st.just(0) | st.integers(0, 8 * MIB),
    head_count=st.integers(0, 128),
    vocabulary_size=st.integers(0, 300_000),
    embedding_length=st.integers(0, 16_384),
    trained_context_length=st.integers(1, 2**20),
)
devices = st.lists(
    st.builds(
        lambda free, kind: Device("CUDA0", "Made-up 9000", kind, free, free), sizes, st.sampled_from(["gpu", "igpu"])
    ),
    max_size=4,
)
machines = st.builds(lambda available, devices: Machine(64 * GIB, available, 4, tuple(devices)), sizes, devices)
wishes = st.builds(
    Wishes,
    context_length=st.none() | st.integers(1, 2**17),
    gpu_layers=st.none() | st.integers(0, 20),
    kv_type=st.none() | st.sampled_from(sorted(KV_BYTES)),
    threads=st.none() | st.integers(1, 64),
    batch_size=st.integers(1, 4096),
    wanted_tokens=st.none() | st.integers(1, 2**18),
    flash_attention=st.none() | st.booleans(),
)
unhurried = settings(deadline=None)


def planned(shape: ModelShape, here: Machine, wishes: Wishes) -> Plan | None:
    try:
        return plan_offload(shape, here, wishes)
    except DoesNotFitError as error:
        assert "is available" in error.message
        return None


def placement(plan: Plan, here: Machine) -> list[int | None]:
    """The card of each layer and, last, of the output; None is main memory. As in llama-model.cpp, with its floats."""
    start, count = plan.layer_count + 1 - plan.gpu_layers, len(here.cards)
    shares = plan.tensor_split or [card.free_bytes for card in here.cards]
    sums = list(accumulate(np.float32(share) for share in shares))
    ends = [each / sums[-1] if sums[-1] else np.float32(1) for each in sums]
    return [
        None
        if layer < start or count == 0
        else bisect_right(ends, np.float32(layer - start) / np.float32(plan.gpu_layers))
        for layer in range(plan.layer_count + 1)
    ]


def load_of(place: int | None, shape: ModelShape, plan: Plan, wishes: Wishes, here: Machine) -> int:
    """Weights and cache that end up on that card, or in main memory."""
    places = placement(plan, here)
    cache = [kv_cache_bytes(shape, plan.context_length, wishes, slice(i, i + 1)) for i in range(shape.layer_count)]
    layers = sum(shape.layer_bytes[i] + cache[i] for i in range(shape.layer_count) if places[i] == place)
    output = shape.output_bytes + (shape.tied_bytes if place is not None else 0)
    return layers + (output if places[-1] == place else 0) + (shape.input_bytes if place is None else 0)


def assert_nothing_is_overfilled(shape: ModelShape, plan: Plan, wishes: Wishes, here: Machine) -> None:
    compute = compute_bytes(shape, plan.context_length, wishes)
    assert load_of(None, shape, plan, wishes, here) + compute + KEPT_FREE_BYTES <= here.available_bytes
    for index, card in enumerate(here.cards):
        load = load_of(index, shape, plan, wishes, here)
        assert load == 0 or load + compute + KEPT_FREE_GPU_BYTES <= card.free_bytes


@unhurried
@given(shapes, machines, wishes)
def test_neither_memory_nor_a_card_is_overfilled(shape: ModelShape, here: Machine, wishes: Wishes):
    wishes = replace(wishes, gpu_layers=None)
    plan = planned(shape, here, wishes)
    if plan:
        assert_nothing_is_overfilled(shape, plan, wishes, here)


@unhurried
@given(shapes, machines, wishes)
def test_layers_that_were_asked_for_overfill_no_memory_and_no_card_that_a_shorter_context_could_save(
    shape: ModelShape, here: Machine, wishes: Wishes
):
    plan = planned(shape, here, wishes)
    if plan:
        main = load_of(None, shape, plan, wishes, here) + plan.compute_bytes + KEPT_FREE_BYTES
        assert main <= here.available_bytes
    if plan and plan.context_length > SHORTEST_CONTEXT_LENGTH and wishes.context_length is None:
        assert_nothing_is_overfilled(shape, plan, wishes, here)


@unhurried
@given(shapes, machines, wishes)
def test_one_more_layer_would_not_fit_on_one_card(shape: ModelShape, here: Machine, wishes: Wishes):
    wishes = replace(wishes, gpu_layers=None, context_length=4096)
    plan = planned(shape, here, wishes)
    if plan and len(here.cards) == 1 and plan.gpu_layers <= plan.layer_count:
        more = replace(plan, gpu_layers=plan.gpu_layers + 1)
        load = load_of(0, shape, more, wishes, here)
        assert load + plan.compute_bytes + KEPT_FREE_GPU_BYTES > here.cards[0].free_bytes


@unhurried
@given(shapes, machines, wishes)
def test_wishes_are_kept(shape: ModelShape, here: Machine, wishes: Wishes):
    plan = planned(shape, here, wishes)
    if plan is None:
        return
    assert plan.context_length == (wishes.context_length or plan.context_length)
    assert plan.kv_type == (wishes.kv_type or "f16")
    assert plan.threads == (wishes.threads or 4)
    assert plan.beyond_training == (plan.context_length > shape.trained_context_length)
    assert wishes.context_length or not plan.beyond_training
    if wishes.gpu_layers is not None and here.cards:
        assert plan.gpu_layers == min(wishes.gpu_layers, shape.layer_count + 1)


@unhurried
@given(shapes, machines, sizes, sizes, wishes)
def test_more_memory_never_gives_a_shorter_context_or_fewer_layers(
    shape: ModelShape, here: Machine, more: int, more_on_cards: int, wishes: Wishes
):
    larger = tuple(replace(each, free_bytes=each.free_bytes + more_on_cards) for each in here.devices)
    plan = planned(shape, here, wishes)
    if plan is None:
        return
    with_more = planned(shape, replace(here, available_bytes=here.available_bytes + more, devices=larger), wishes)
    assert with_more is not None
    assert with_more.context_length >= plan.context_length
    assert with_more.gpu_layers >= plan.gpu_layers


@unhurried
@given(shapes, machines, wishes, st.none() | st.integers(1, 2**18))
def test_the_second_plan_keeps_to_the_first_and_overfills_nothing(
    shape: ModelShape, here: Machine, wishes: Wishes, wanted_tokens: int | None
):
    wishes = replace(wishes, gpu_layers=None)
    first = planned(shape, here, wishes)
    if first is None:
        return
    assert plan_context(first, shape, here, wishes) == first
    known = replace(wishes, wanted_tokens=wanted_tokens)
    second = plan_context(first, shape, here, known)
    kept = (second.gpu_layers, second.tensor_split, second.reason, second.weights_bytes)
    assert kept == (first.gpu_layers, first.tensor_split, first.reason, first.weights_bytes)
    assert_nothing_is_overfilled(shape, second, known, here)


@unhurried
@given(shapes, machines, wishes, st.integers(1, 2**18), st.integers(0, 2**18))
def test_wanting_more_tokens_never_gives_a_shorter_context(
    shape: ModelShape, here: Machine, wishes: Wishes, wanted_tokens: int, more: int
):
    first = planned(shape, here, wishes)
    if first is None:
        return
    less, longer = (
        plan_context(first, shape, here, replace(wishes, wanted_tokens=wanted))
        for wanted in (wanted_tokens, wanted_tokens + more)
    )
    assert longer.context_length >= less.context_length
