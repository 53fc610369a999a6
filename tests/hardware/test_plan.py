"""The offload plan by examples: main memory, cards, and the second plan. Its properties: test_plan_properties.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmasos.errors import DoesNotFitError
from llmasos.hardware.machine import Device, Machine
from llmasos.hardware.plan import (
    KEPT_FREE_BYTES,
    KEPT_FREE_GPU_BYTES,
    MICRO_BATCH_SIZE,
    Wishes,
    compute_bytes,
    describe,
    kv_cache_bytes,
    plan_context,
    plan_offload,
)
from llmasos.hardware.shape import ModelShape

MIB, GIB = 1024**2, 1024**3
NO_WISHES = Wishes()

# 10 layers of 100 MiB, 200 MiB before and 120 MiB after them; a token keeps 40 KiB in f16
SHAPE = ModelShape(
    architecture="x",
    layer_bytes=(100 * MIB,) * 10,
    input_bytes=200 * MIB,
    output_bytes=120 * MIB,
    tied_bytes=0,
    key_lengths=(1024,) * 10,
    value_lengths=(1024,) * 10,
    state_bytes=0,
    head_count=8,
    vocabulary_size=32_000,
    embedding_length=128,
    trained_context_length=32_768,
)
COMPUTE = compute_bytes(SHAPE, 4096, NO_WISHES)
CACHE_4096 = 160 * MIB
CACHE_256 = 10 * MIB


def machine(available_bytes: int, *devices: Device) -> Machine:
    return Machine(64 * GIB, available_bytes, 4, devices)


def card(free_bytes: int, kind: str = "gpu") -> Device:
    return Device("CUDA0", "Made-up 9000", kind, free_bytes, free_bytes)


def room_for(layers: int, output_bytes: int = 120 * MIB) -> int:
    """What a card must have free so that so many layers with their part of the cache fit, and the output."""
    return output_bytes + layers * (100 * MIB + CACHE_4096 // 10) + COMPUTE + KEPT_FREE_GPU_BYTES


# Main memory.


def test_a_model_that_fits_gets_the_usual_context():
    plan = plan_offload(SHAPE, machine(16 * GIB), NO_WISHES)
    assert (plan.context_length, plan.kv_type, plan.threads, plan.gpu_layers) == (4096, "f16", 4, 0)
    assert (plan.weights_bytes, plan.kv_cache_bytes) == (1320 * MIB, CACHE_4096)
    assert plan.total_bytes == 1320 * MIB + CACHE_4096 + COMPUTE


@pytest.mark.parametrize(
    ("wanted_tokens", "trained", "context_length"),
    [(None, 32_768, 4096), (100, 32_768, 4096), (4097, 32_768, 4352), (99_999, 32_768, 32_768), (100, 1000, 1000)],
)
def test_the_context_has_room_for_what_is_to_come_within_what_the_model_learned(
    wanted_tokens: int | None, trained: int, context_length: int
):
    shape = replace(SHAPE, trained_context_length=trained)
    assert plan_offload(shape, machine(16 * GIB), Wishes(wanted_tokens=wanted_tokens)).context_length == context_length


def test_little_memory_gives_the_longest_context_that_fits():
    available = 1320 * MIB + COMPUTE + KEPT_FREE_BYTES + 5 * CACHE_256
    assert plan_offload(SHAPE, machine(available), NO_WISHES).context_length == 1280
    assert plan_offload(SHAPE, machine(available - 1), NO_WISHES).context_length == 1024
    assert plan_offload(SHAPE, machine(available - 3 * CACHE_256), NO_WISHES).context_length == 512


def test_what_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(DoesNotFitError) as error:
        plan_offload(SHAPE, machine(1 * GIB), NO_WISHES)
    assert error.value.exit_code == 4
    assert error.value.message == (
        "this needs 1.5 GB of memory (weights 1.4 GB, KV cache 21.0 MB for 512 tokens, compute 101 MB) "
        "and 1.1 GB is available"
    )
    assert "--context-length" in str(error.value.hint)


def test_a_context_that_was_asked_for_is_never_shortened():
    available = 1320 * MIB + COMPUTE + KEPT_FREE_BYTES + CACHE_4096
    assert plan_offload(SHAPE, machine(available), Wishes(context_length=4096)).context_length == 4096
    with pytest.raises(DoesNotFitError, match="for 8192 tokens"):
        plan_offload(SHAPE, machine(available), Wishes(context_length=8192))


def test_a_context_may_be_asked_for_beyond_what_the_model_learned_and_the_plan_tells():
    here = machine(16 * GIB)
    within, beyond = (plan_offload(SHAPE, here, Wishes(context_length=length)) for length in (32_768, 65_536))
    assert (within.context_length, within.beyond_training) == (32_768, False)
    assert (beyond.context_length, beyond.beyond_training) == (65_536, True)
    assert "context 65536 (longer than the model was trained for), KV" in describe(beyond, here)


@pytest.mark.parametrize(
    ("kv_type", "bytes_a_value"), [("f32", 4), ("f16", 2), ("bf16", 2), ("q8_0", 34 / 32), ("q4_0", 18 / 32)]
)
def test_a_quantized_cache_takes_less(kv_type: str, bytes_a_value: float):
    plan = plan_offload(SHAPE, machine(16 * GIB), Wishes(kv_type=kv_type))
    assert (plan.kv_type, plan.kv_cache_bytes) == (kv_type, 4096 * 20_480 * bytes_a_value)


def test_the_cache_is_padded_as_llama_cpp_pads_it():
    assert kv_cache_bytes(SHAPE, 1000, NO_WISHES) == kv_cache_bytes(SHAPE, 1024, NO_WISHES) == 4 * CACHE_256


def test_without_flash_attention_values_are_padded_to_the_longest_layer():
    shape = replace(SHAPE, value_lengths=(2048,) + (1024,) * 9)
    assert kv_cache_bytes(shape, 4096, NO_WISHES) == 168 * MIB
    assert kv_cache_bytes(shape, 4096, Wishes(flash_attention=False)) == 240 * MIB


def test_a_recurrent_models_states_do_not_grow_with_the_context():
    shape = replace(SHAPE, key_lengths=(0,) * 10, value_lengths=(0,) * 10, state_bytes=2 * MIB, head_count=0)
    assert kv_cache_bytes(shape, 512, NO_WISHES) == kv_cache_bytes(shape, 65_536, NO_WISHES) == 20 * MIB
    assert plan_offload(shape, machine(16 * GIB), Wishes(flash_attention=False)).kv_cache_bytes == 20 * MIB


def test_a_small_batch_takes_less_and_a_large_one_is_read_in_pieces():
    small, usual, large = (compute_bytes(SHAPE, 4096, Wishes(batch_size=size)) for size in (64, MICRO_BATCH_SIZE, 4096))
    assert small < usual == large


# Of SmolLM2-135M and gemma-3-270m: layers, values of a layer's keys, heads, vocabulary, embedding.
SMOL = replace(
    SHAPE, layer_bytes=(0,) * 30, key_lengths=(192,) * 30, value_lengths=(192,) * 30,
    head_count=9, vocabulary_size=49_152, embedding_length=576,
)  # fmt: skip
GEMMA = replace(
    SHAPE, layer_bytes=(0,) * 18, key_lengths=(256,) * 18, value_lengths=(256,) * 18,
    head_count=4, vocabulary_size=262_144, embedding_length=640,
)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "context_length", "flash_attention", "batch_size", "cache_mib", "compute_mib"),
    [
        (SMOL, 1000, True, 512, 22.5, 98.25), (SMOL, 8192, True, 512, 180, 98.25), (SMOL, 8192, True, 64, 180, 12.28),
        (SMOL, 8192, False, 512, 180, 166.38), (SMOL, 32_768, False, 512, 720, 646.38),
        (SMOL, 131_072, True, 512, 2880, 141.51), (SMOL, 131_072, False, 512, 2880, 2566.38),
        (GEMMA, 2048, True, 512, 36, 514.5), (GEMMA, 131_072, True, 512, 2304, 514.5),
        (GEMMA, 131_072, False, 512, 2304, 1545.76), (GEMMA, 131_072, False, 64, 2304, 193.22),
    ],
)  # fmt: skip
def test_the_arithmetic_is_at_least_what_llama_cpp_was_seen_to_take(
    shape: ModelShape, context_length: int, flash_attention: bool, batch_size: int, cache_mib: float, compute_mib: float
):
    wishes = Wishes(flash_attention=flash_attention, batch_size=batch_size)
    assert kv_cache_bytes(shape, context_length, wishes) == cache_mib * MIB
    assert compute_mib <= compute_bytes(shape, context_length, wishes) / MIB <= 1.2 * compute_mib + 160


# Graphics cards.


@pytest.mark.parametrize(
    ("free_bytes", "gpu_layers", "reason"),
    [
        (room_for(10) + 100 * MIB, 11, "all of it fits"),
        (room_for(10), 11, "all of it fits"),
        (room_for(10) - 1, 10, "1.3 GB free on the GPU"),
        (room_for(5), 6, "734 MB free on the GPU"),
        (room_for(5) - 1, 5, "734 MB free on the GPU"),
        (room_for(0), 1, "126 MB free on the GPU"),
        (room_for(0) - 1, 0, "only 126 MB free on the GPU"),
        (0, 0, "only 0 B free on the GPU"),
    ],
)
def test_the_output_and_as_many_layers_as_fit_go_to_the_card(free_bytes: int, gpu_layers: int, reason: str):
    plan = plan_offload(SHAPE, machine(16 * GIB, card(free_bytes)), NO_WISHES)
    assert (plan.gpu_layers, plan.reason, plan.tensor_split) == (gpu_layers, reason, ())


def test_an_output_tied_to_the_embeddings_costs_a_copy_of_them_on_the_card():
    tied = replace(SHAPE, output_bytes=0, tied_bytes=200 * MIB)
    room = room_for(3, output_bytes=200 * MIB)
    plan = plan_offload(tied, machine(16 * GIB, card(room)), NO_WISHES)
    assert (plan.gpu_layers, plan.weights_bytes) == (4, 1400 * MIB)
    assert plan_offload(tied, machine(16 * GIB, card(room - 1)), NO_WISHES).gpu_layers == 3
    assert plan_offload(tied, machine(16 * GIB), NO_WISHES).weights_bytes == 1200 * MIB


def test_what_is_on_the_card_is_not_needed_in_memory_but_the_embeddings_are():
    least = 200 * MIB + COMPUTE + KEPT_FREE_BYTES
    assert plan_offload(SHAPE, machine(least, card(24 * GIB)), NO_WISHES).gpu_layers == 11
    with pytest.raises(DoesNotFitError):
        plan_offload(SHAPE, machine(least - 1, card(24 * GIB)), NO_WISHES)
    with pytest.raises(DoesNotFitError):
        plan_offload(SHAPE, machine(least), NO_WISHES)


def test_unequal_cards_get_what_each_has_room_for():
    two = machine(16 * GIB, card(room_for(5, output_bytes=0)), card(room_for(2)))
    plan = plan_offload(SHAPE, two, NO_WISHES)
    assert (plan.gpu_layers, plan.tensor_split) == (8, (5, 3))


def test_cards_with_room_to_spare_are_filled_equally():
    plan = plan_offload(SHAPE, machine(16 * GIB, card(24 * GIB), card(24 * GIB)), NO_WISHES)
    assert (plan.gpu_layers, plan.tensor_split) == (11, (6, 5))


def test_a_full_card_beside_a_free_one_takes_nothing_away():
    plan = plan_offload(SHAPE, machine(16 * GIB, card(room_for(5)), card(0)), NO_WISHES)
    assert (plan.gpu_layers, plan.tensor_split) == (6, (6, 0))


def test_an_integrated_card_is_used_only_where_there_is_no_other():
    integrated, discrete = card(24 * GIB, "igpu"), card(room_for(5))
    assert plan_offload(SHAPE, machine(16 * GIB, integrated, discrete), NO_WISHES).gpu_layers == 6
    assert plan_offload(SHAPE, machine(16 * GIB, integrated), NO_WISHES).gpu_layers == 11


def test_layers_on_the_card_are_as_many_as_asked_if_there_is_one():
    assert plan_offload(SHAPE, machine(16 * GIB, card(0)), Wishes(gpu_layers=7)).gpu_layers == 7
    assert plan_offload(SHAPE, machine(16 * GIB, card(0)), Wishes(gpu_layers=999)).gpu_layers == 11
    assert plan_offload(SHAPE, machine(16 * GIB, card(24 * GIB)), Wishes(gpu_layers=0)).gpu_layers == 0
    without = plan_offload(SHAPE, machine(16 * GIB), Wishes(gpu_layers=7))
    assert (without.gpu_layers, without.reason) == (0, "no GPU that this build can use")


def test_layers_that_were_asked_for_leave_a_shorter_context_if_they_fit_with_one():
    tight = card(room_for(8) - 1)
    plan = plan_offload(SHAPE, machine(16 * GIB, tight), Wishes(gpu_layers=9))
    assert (plan.gpu_layers, plan.context_length, plan.reason) == (9, 3840, "as asked")


# The second plan, when the prompt's length is known.


def test_the_second_plan_keeps_the_layers_and_their_reason():
    two = machine(16 * GIB, card(room_for(5, output_bytes=0)), card(room_for(2)))
    first = plan_offload(SHAPE, two, NO_WISHES)
    second = plan_context(first, SHAPE, two, Wishes(wanted_tokens=20_000, gpu_layers=3))
    assert (second.gpu_layers, second.tensor_split, second.reason) == (8, (5, 3), first.reason)


def test_the_second_context_is_as_long_as_memory_and_cards_allow():
    roomy, tight = machine(16 * GIB, card(24 * GIB)), machine(16 * GIB, card(room_for(5) + 8 * MIB))
    first = plan_offload(SHAPE, tight, NO_WISHES)
    assert plan_context(first, SHAPE, roomy, Wishes(wanted_tokens=20_000)).context_length == 20_224
    # of 8 MiB more on the card 5 layers' caches can grow by 1 MiB, 256 tokens, each
    assert plan_context(first, SHAPE, tight, Wishes(wanted_tokens=20_000)).context_length == 4096 + 256


def test_the_second_plan_refuses_what_does_not_fit_in_memory():
    here = machine(1700 * MIB)
    first = plan_offload(SHAPE, here, NO_WISHES)
    with pytest.raises(DoesNotFitError, match="for 32768 tokens"):
        plan_context(first, SHAPE, here, Wishes(context_length=32_768))


# In words.


def test_a_plan_is_told_in_one_line():
    here = machine(16 * GIB, card(room_for(5)))
    assert describe(plan_offload(SHAPE, here, NO_WISHES), here) == (
        "5 of 10 layers and the output on Made-up 9000, 4 threads, context 4096, KV cache f16: "
        "weights 1.4 GB + KV cache 168 MB + compute 101 MB of 17.2 GB available (734 MB free on the GPU)"
    )


@pytest.mark.parametrize(
    ("gpu_layers", "place"),
    [
        (0, "CPU, "),
        (1, "the output only on Made-up 9000, "),
        (2, "1 of 10 layers and the output on Made-up 9000, "),
        (11, "all 10 layers and the output on Made-up 9000, "),
    ],
)
def test_the_output_is_told_apart_from_the_layers(gpu_layers: int, place: str):
    here = machine(16 * GIB, card(24 * GIB))
    assert describe(plan_offload(SHAPE, here, Wishes(gpu_layers=gpu_layers)), here).startswith(place)
