"""The offload plan: layers, context, KV cache and threads for a model on a machine. Pure arithmetic over values."""

from __future__ import annotations

from dataclasses import dataclass

from llmasos.errors import DoesNotFitError
from llmasos.hardware.machine import Device, Machine
from llmasos.hardware.shape import ModelShape
from llmasos.units import MIB, format_bytes

DEFAULT_CONTEXT_LENGTH = 4096
SHORTEST_CONTEXT_LENGTH = 512
CONTEXT_STEP = 256  # llama.cpp pads the context to this
KEPT_FREE_BYTES = 256 * MIB  # left to the system and to what can't be foreseen
KEPT_FREE_GPU_BYTES = 512 * MIB
COMPUTE_BASE_BYTES = 32 * MIB

# bytes for each value, from the sizes of ggml's quantization blocks
KV_BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0,
    "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user fixed; None leaves it to the plan. `wanted_tokens`: how long prompt and answer will be."""

    context_length: int | None = None
    gpu_layers: int | None = None
    kv_type: str | None = None
    threads: int | None = None
    batch_size: int = 512
    wanted_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be loaded, and where. Bytes are estimates."""

    gpu_layers: int
    layer_count: int
    context_length: int
    kv_type: str
    threads: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    reason: str

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes


def plan_offload(shape: ModelShape, machine: Machine, wishes: Wishes) -> Plan:
    """Decides. Raises DoesNotFitError with the numbers if not even the shortest context fits."""
    kv_type = wishes.kv_type or "f16"
    compute = compute_bytes(shape, wishes.batch_size)
    gpu_layers, reason = _choose_gpu_layers(shape, machine.cards, wishes, kv_type, compute)
    on_card = _resident_bytes(shape, gpu_layers)
    room = machine.available_bytes - KEPT_FREE_BYTES - compute - (shape.weights_bytes - on_card)
    context_length = _choose_context(shape, wishes, kv_type, gpu_layers, room)
    cache = kv_cache_bytes(shape, context_length, kv_type)
    plan = Plan(
        gpu_layers, shape.layer_count, context_length, kv_type, wishes.threads or machine.cores,
        shape.weights_bytes, cache, compute, reason,
    )  # fmt: skip
    _refuse_what_does_not_fit(shape, plan, machine)
    return plan


def kv_cache_bytes(shape: ModelShape, context_length: int, kv_type: str, layers: slice = slice(None)) -> int:
    """Keys and values of `context_length` tokens in the given layers."""
    values = sum(shape.key_lengths[layers]) + sum(shape.value_lengths[layers])
    return int(context_length * values * KV_BYTES[kv_type])


def compute_bytes(shape: ModelShape, batch_size: int) -> int:
    """The buffer for one batch: its logits and a few activations a token (measured: 98 to 103 MiB for SmolLM2's 96)."""
    return COMPUTE_BASE_BYTES + min(batch_size, 512) * (shape.vocabulary_size + 8 * shape.embedding_length) * 4


def describe(plan: Plan, machine: Machine) -> str:
    """One line: what was chosen and why."""
    cards = ", ".join(card.description for card in machine.cards)
    place = f"{plan.gpu_layers} of {plan.layer_count} layers on {cards}" if plan.gpu_layers else "CPU"
    return (
        f"{place}, {plan.threads} threads, context {plan.context_length}, KV cache {plan.kv_type}: "
        f"weights {format_bytes(plan.weights_bytes)} + KV cache {format_bytes(plan.kv_cache_bytes)} + "
        f"compute {format_bytes(plan.compute_bytes)} of {format_bytes(machine.available_bytes)} available "
        f"({plan.reason})"
    )


def _choose_gpu_layers(
    shape: ModelShape, cards: tuple[Device, ...], wishes: Wishes, kv_type: str, compute: int
) -> tuple[int, str]:
    """How many layers, the output counting as one more, go to the cards: as many as fit with their cache."""
    if not cards:
        return 0, "no GPU that this build can use"
    if wishes.gpu_layers is not None:
        return min(wishes.gpu_layers, shape.layer_count + 1), "as asked"
    context_length = _asked_context(shape, wishes)
    room = sum(max(0, card.free_bytes - KEPT_FREE_GPU_BYTES - compute) for card in cards)
    for count in range(shape.layer_count + 1, 0, -1):
        cached = slice(max(0, shape.layer_count - count), None)
        if _resident_bytes(shape, count) + kv_cache_bytes(shape, context_length, kv_type, cached) <= room:
            return count, "all of it fits" if count > shape.layer_count else f"{format_bytes(room)} free on the GPU"
    return 0, f"only {format_bytes(room)} free on the GPU"


def _resident_bytes(shape: ModelShape, gpu_layers: int) -> int:
    """Weights on the card: llama.cpp offloads the last layers first, and the output with the first of them."""
    if gpu_layers <= 0:
        return 0
    layers = sum(shape.layer_bytes[max(0, shape.layer_count - gpu_layers) :])
    return layers + (shape.other_bytes if gpu_layers > shape.layer_count else 0)


def _asked_context(shape: ModelShape, wishes: Wishes) -> int:
    """The context to try for: the user's, or one with room for what is known to come, within what the model learned."""
    if wishes.context_length is not None:
        return wishes.context_length
    wanted = max(DEFAULT_CONTEXT_LENGTH, wishes.wanted_tokens or 0)
    return min(-(-wanted // CONTEXT_STEP) * CONTEXT_STEP, shape.trained_context_length)


def _choose_context(shape: ModelShape, wishes: Wishes, kv_type: str, gpu_layers: int, room: int) -> int:
    """The asked length, or half of it until the cache that stays in main memory fits."""
    length = _asked_context(shape, wishes)
    if wishes.context_length is not None:
        return length
    least = min(SHORTEST_CONTEXT_LENGTH, length)
    on_cpu = slice(0, max(0, shape.layer_count - gpu_layers))
    while length > least and kv_cache_bytes(shape, length, kv_type, on_cpu) > room:
        length = max(least, length // 2)
    return length


def _refuse_what_does_not_fit(shape: ModelShape, plan: Plan, machine: Machine) -> None:
    on_cpu = slice(0, max(0, shape.layer_count - plan.gpu_layers))
    cache = kv_cache_bytes(shape, plan.context_length, plan.kv_type, on_cpu)
    weights = shape.weights_bytes - _resident_bytes(shape, plan.gpu_layers)
    available = machine.available_bytes
    needed = weights + cache + plan.compute_bytes
    if needed + KEPT_FREE_BYTES <= available:
        return
    raise DoesNotFitError(
        f"this needs {format_bytes(needed)} of memory (weights {format_bytes(weights)}, KV cache {format_bytes(cache)} "
        f"for {plan.context_length} tokens, compute {format_bytes(plan.compute_bytes)}) "
        f"and {format_bytes(available)} is available",
        hint="try a smaller model or quantization, a shorter --context-length, or --kv-type q8_0",
    )
