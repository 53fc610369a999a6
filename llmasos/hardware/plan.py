"""The offload plan: layers, context, KV cache and threads for a model on a machine. Pure arithmetic over values.

llama.cpp counts the output as a layer, and as the first to offload: N "GPU layers" are the output and the last N - 1
layers, each with its part of the KV cache. The embeddings of tokens stay in main memory (llama-model.cpp:
load_tensors).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmasos.errors import DoesNotFitError
from llmasos.hardware.machine import Machine
from llmasos.hardware.shape import ModelShape
from llmasos.units import MIB, format_bytes

MICRO_BATCH_SIZE = 512  # tokens of one forward pass (n_ubatch); a larger batch is read in pieces of it
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
    """What the user fixed; None leaves it to the plan.

    `wanted_tokens`: how long prompt and answer will be. `wanted_cells`: tokens that all sequences together would have,
    if more than one is worked on at a time.
    """

    context_length: int | None = None
    gpu_layers: int | None = None
    kv_type: str | None = None
    threads: int | None = None
    batch_size: int = 512
    wanted_tokens: int | None = None
    wanted_cells: int = 0
    flash_attention: bool | None = None  # None counts as on: llama.cpp turns it off only where it can't be had


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be loaded, and where. Bytes are estimates.

    `cells` are the tokens that the KV cache holds of all sequences together, `context_length` those of one at most.
    `gpu_layers` counts as llama.cpp does, the output being one. `tensor_split` has one number a card, how many of them
    it gets; empty leaves the split to llama.cpp. `beyond_training`: the context is longer than what the model learned.
    """

    gpu_layers: int
    layer_count: int
    context_length: int
    cells: int
    kv_type: str
    threads: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    reason: str
    tensor_split: tuple[float, ...] = ()
    beyond_training: bool = False

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes


@dataclass(frozen=True, slots=True)
class _Offload:
    gpu_layers: int
    tensor_split: tuple[float, ...]
    reason: str


def plan_offload(shape: ModelShape, machine: Machine, wishes: Wishes) -> Plan:
    """Decides. Raises DoesNotFitError with the numbers if not even the shortest context fits in main memory.

    The cards are never overfilled, unless by layers that the user asked for.
    """
    return _plan(_choose_offload(shape, machine, wishes), shape, machine, wishes)


def plan_context(plan: Plan, shape: ModelShape, machine: Machine, wishes: Wishes) -> Plan:
    """The same plan with its context chosen anew, for a model whose weights are loaded: the layers stay where they are.

    `machine` is as it was before the weights were loaded. Raises as `plan_offload` does.
    """
    return _plan(_Offload(plan.gpu_layers, plan.tensor_split, plan.reason), shape, machine, wishes)


def kv_cache_bytes(shape: ModelShape, context_length: int, wishes: Wishes, layers: slice = slice(None)) -> int:
    """Keys and values of `context_length` tokens in the given layers, and recurrent states.

    The sliding window counts in full, as contexts are made with llama.cpp's default of `swa_full`.
    """
    values = shape.value_lengths[layers]
    if wishes.flash_attention is False and values:  # transposed values are padded to the longest (v_trans)
        values = (max(shape.value_lengths),) * len(values)
    values_per_token = sum(shape.key_lengths[layers]) + sum(values)
    states = len(shape.layer_bytes[layers]) * shape.state_bytes
    return int(_padded(context_length) * values_per_token * KV_BYTES[wishes.kv_type or "f16"]) + states


def compute_bytes(shape: ModelShape, context_length: int, wishes: Wishes) -> int:
    """The buffer for one forward pass: a few activations a token, and its logits or its attention, which take turns.

    Measured, in MiB, and estimated for SmolLM2 and gemma-3-270m at a context of 8192: 98 (137) and 515 (554). Without
    flash attention at 131,072: 2566 (2857) and 1546 (1578).
    """
    tokens = min(wishes.batch_size, MICRO_BATCH_SIZE)
    has_flash_attention = wishes.flash_attention is not False
    mask = 2 * (2 if has_flash_attention else 4)  # f16 or f32; a sliding window has a second one
    attention = _padded(context_length) * (mask + (0 if has_flash_attention else 4 * shape.head_count))
    return COMPUTE_BASE_BYTES + tokens * (max(4 * shape.vocabulary_size, attention) + 32 * shape.embedding_length)


def _padded(context_length: int) -> int:
    return -(-context_length // CONTEXT_STEP) * CONTEXT_STEP


def describe(plan: Plan, machine: Machine) -> str:
    """One line: what was chosen and why."""
    warning = " (longer than the model was trained for)" if plan.beyond_training else ""
    return (
        f"{_describe_place(plan, machine)}, {plan.threads} threads, context {plan.context_length}{warning}, "
        f"KV cache {plan.kv_type}: "
        f"weights {format_bytes(plan.weights_bytes)} + KV cache {format_bytes(plan.kv_cache_bytes)} + "
        f"compute {format_bytes(plan.compute_bytes)} of {format_bytes(machine.available_bytes)} available "
        f"({plan.reason})"
    )


def _describe_place(plan: Plan, machine: Machine) -> str:
    if plan.gpu_layers == 0:
        return "CPU"
    cards = ", ".join(card.description for card in machine.cards)
    if plan.gpu_layers == 1:
        return f"the output only on {cards}"
    count = plan.gpu_layers - 1
    layers = f"all {count}" if count == plan.layer_count else f"{count} of {plan.layer_count}"
    return f"{layers} layers and the output on {cards}"


def _plan(offload: _Offload, shape: ModelShape, machine: Machine, wishes: Wishes) -> Plan:
    """The plan around a choice of layers, with the longest context that the asked one allows."""

    def fits(length: int) -> bool:
        here = _main_bytes(shape, length, wishes, offload.gpu_layers)
        return here <= machine.available_bytes and _cards_hold(offload, shape, machine, length, wishes)

    length = _longest_context(shape, wishes, fits)
    cells = _most_cells(length, wishes.wanted_cells, fits)
    plan = Plan(
        gpu_layers=offload.gpu_layers,
        layer_count=shape.layer_count,
        context_length=length,
        cells=cells,
        kv_type=wishes.kv_type or "f16",
        threads=wishes.threads or machine.cores,
        weights_bytes=shape.weights_bytes + (shape.tied_bytes if offload.gpu_layers else 0),
        kv_cache_bytes=kv_cache_bytes(shape, cells, wishes),
        compute_bytes=compute_bytes(shape, cells, wishes),
        reason=offload.reason,
        tensor_split=offload.tensor_split,
        beyond_training=length > shape.trained_context_length,
    )
    _refuse_what_does_not_fit(plan, shape, machine, wishes)
    return plan


# Graphics cards.


def _choose_offload(shape: ModelShape, machine: Machine, wishes: Wishes) -> _Offload:
    """As many layers as fit on the cards with their part of the asked context, or as many as were asked for."""
    if not machine.cards:
        return _Offload(0, (), "no GPU that this build can use")
    if wishes.gpu_layers is not None:
        return _offload_as_asked(min(wishes.gpu_layers, shape.layer_count + 1), shape, machine, wishes)
    length = _asked_context(shape, wishes)
    rooms = _rooms(shape, machine, length, wishes)
    counts = range(1, shape.layer_count + 2)
    found = bisect_left(
        counts, True, key=lambda count: _place(_card_costs(shape, count, length, wishes), rooms) is None
    )
    reason = "all of it fits" if found == len(counts) else f"{format_bytes(sum(rooms))} free on the GPU"
    if found == 0:
        return _Offload(0, (), f"only {reason}")
    return _Offload(found, _split(_card_costs(shape, found, length, wishes), rooms), reason)


def _offload_as_asked(count: int, shape: ModelShape, machine: Machine, wishes: Wishes) -> _Offload:
    """That many layers, split for the longest context with which they fit; by llama.cpp where they fit with none."""

    if count == 0:
        return _Offload(0, (), "as asked")

    def split(length: int) -> tuple[float, ...] | None:
        costs, rooms = _card_costs(shape, count, length, wishes), _rooms(shape, machine, length, wishes)
        return None if _place(costs, rooms) is None else _split(costs, rooms)

    length = _longest_context(shape, wishes, lambda length: split(length) is not None)
    return _Offload(count, split(length) or (), "as asked")


def _card_costs(shape: ModelShape, gpu_layers: int, length: int, wishes: Wishes) -> list[int]:
    """Bytes on a card for each of the last layers, in their order, and for the output, which is the last of them."""
    if gpu_layers == 0:
        return []
    first = shape.layer_count + 1 - gpu_layers
    layers = [
        shape.layer_bytes[layer] + kv_cache_bytes(shape, length, wishes, slice(layer, layer + 1))
        for layer in range(first, shape.layer_count)
    ]
    return [*layers, shape.output_bytes + shape.tied_bytes]


def _rooms(shape: ModelShape, machine: Machine, length: int, wishes: Wishes) -> list[int]:
    """Bytes on each card for weights and cache."""
    kept = KEPT_FREE_GPU_BYTES + compute_bytes(shape, length, wishes)
    return [max(0, card.free_bytes - kept) for card in machine.cards]


def _place(costs: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """How many of the costs, in their order, each room gets if it is filled up first; None if they don't all fit."""
    counts, start = [], 0
    for room in rooms:
        end = start
        while end < len(costs) and costs[end] <= room:
            room -= costs[end]
            end += 1
        counts.append(end - start)
        start = end
    return counts if start == len(costs) else None


def _split(costs: Sequence[int], rooms: Sequence[int]) -> tuple[float, ...]:
    """A split for llama.cpp with the cards about equally full, of costs that fit. Empty for one card.

    Whole numbers whose sum is that of the layers come out of llama.cpp's arithmetic as they went in.
    """
    if len(rooms) == 1:
        return ()
    levels = range(1, 1001)  # thousandths of each room; the lowest that holds everything
    found = bisect_left(levels, True, key=lambda level: _place(costs, _share(rooms, level)) is not None)
    return tuple(map(float, _place(costs, _share(rooms, levels[found])) or ()))


def _share(rooms: Sequence[int], level: int) -> list[int]:
    return [room * level // 1000 for room in rooms]


def _cards_hold(offload: _Offload, shape: ModelShape, machine: Machine, length: int, wishes: Wishes) -> bool:
    costs = _card_costs(shape, offload.gpu_layers, length, wishes)
    start = 0
    for count, room in zip(
        offload.tensor_split or (offload.gpu_layers,), _rooms(shape, machine, length, wishes), strict=False
    ):
        if sum(costs[start : start + int(count)]) > room:
            return False
        start += int(count)
    return True


# Main memory and the context.


def _asked_context(shape: ModelShape, wishes: Wishes) -> int:
    """The context to try for: the user's, or one with room for what is known to come, within what the model learned."""
    if wishes.context_length is not None:
        return wishes.context_length
    wanted = max(DEFAULT_CONTEXT_LENGTH, wishes.wanted_tokens or 0)
    return min(_padded(wanted), shape.trained_context_length)


def _longest_context(shape: ModelShape, wishes: Wishes, fits: Callable[[int], bool]) -> int:
    """The asked length; if it isn't the user's, the longest up to it that fits, or the shortest if none does."""
    asked = _asked_context(shape, wishes)
    if wishes.context_length is not None:
        return asked
    lengths = range(min(SHORTEST_CONTEXT_LENGTH, asked), asked + CONTEXT_STEP, CONTEXT_STEP)
    found = bisect_left(lengths, True, key=lambda length: not fits(min(length, asked)))
    return min(lengths[max(0, found - 1)], asked)


def _most_cells(length: int, wanted: int, fits: Callable[[int], bool]) -> int:
    """The wanted number of cells, or the largest that fits; never less than one sequence may have."""
    wanted = max(length, wanted)
    counts: list[int] = [*range(length, wanted, CONTEXT_STEP), wanted]
    found = bisect_left(counts, True, key=lambda count: not fits(count))
    return counts[max(0, found - 1)]


def _main_bytes(shape: ModelShape, length: int, wishes: Wishes, gpu_layers: int) -> int:
    """What main memory must have available, for what is not on a card."""
    cache = kv_cache_bytes(shape, length, wishes, _layers_here(shape, gpu_layers))
    return _weights_here(shape, gpu_layers) + cache + compute_bytes(shape, length, wishes) + KEPT_FREE_BYTES


def _layers_here(shape: ModelShape, gpu_layers: int) -> slice:
    return slice(0, shape.layer_count + 1 - max(1, gpu_layers))


def _weights_here(shape: ModelShape, gpu_layers: int) -> int:
    layers = sum(shape.layer_bytes[_layers_here(shape, gpu_layers)])
    return shape.input_bytes + layers + (0 if gpu_layers else shape.output_bytes)


def _refuse_what_does_not_fit(plan: Plan, shape: ModelShape, machine: Machine, wishes: Wishes) -> None:
    needed = _main_bytes(shape, plan.cells, wishes, plan.gpu_layers)
    available = machine.available_bytes
    if needed <= available:
        return
    weights = _weights_here(shape, plan.gpu_layers)
    cache = needed - KEPT_FREE_BYTES - weights - plan.compute_bytes
    raise DoesNotFitError(
        f"this needs {format_bytes(needed - KEPT_FREE_BYTES)} of memory (weights {format_bytes(weights)}, "
        f"KV cache {format_bytes(cache)} for {plan.context_length} tokens, "
        f"compute {format_bytes(plan.compute_bytes)}) and {format_bytes(available)} is available",
        hint="try a smaller model or quantization, a shorter --context-length, or --kv-type q8_0",
    )
