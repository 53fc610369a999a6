"""A type for each tensor of a model, so that all take a wanted size and the model diverges the least from its source.

What errors in a tensor cost is their weighed squares times a factor of the tensor's kind, for errors in values move the
answers otherwise than errors in queries. The factors are measured: one kind of tensors at a time is made small, and the
model compared with its source. The rest is arithmetic (`allocation`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llmasos.errors import BadInputError
from llmasos.formats.gguf_tensors import GgufTensor
from llmasos.hardware.machine import usable_cores
from llmasos.progress import Progress
from llmasos.quality.allocation import Option, allocate
from llmasos.quality.errors_of_types import fitting, weighted_errors
from llmasos.quantization.encode import ONLY_WITH_IMPORTANCE
from llmasos.quantization.importance import Importance
from llmasos.quantization.mixes import Tensor, is_quantizable
from llmasos.quantization.pool import worker_pool
from llmasos.quantization.types import TYPES

CANDIDATES = (
    "IQ2_XXS", "IQ2_S", "Q2_K", "IQ3_XXS", "Q3_K", "IQ4_XS", "IQ4_NL", "Q4_K", "Q4_0", "Q4_1", "Q5_0", "Q5_K", "Q5_1",
    "Q6_K", "Q8_0",
)  # fmt: skip
MEASURED_BITS = 4.6  # about what the tensors of a kind are made to take while its factor is measured
LEAST_DIVERGENCE = 1e-7  # nats; less is noise
LEAST_SHARE = 0.55  # of the bits that all have on average: fewer are too few for any tensor

Types = Mapping[str, str]
Measure = Callable[[Types], float]  # the mean divergence from the source with these tensors in these types


@dataclass(frozen=True, slots=True)
class Target:
    """How large all tensors may be together: so many bytes, or so many bits for each weight on average."""

    byte_count: int | None = None
    bits_per_weight: float | None = None

    def bytes_for(self, tensors: Sequence[GgufTensor]) -> int:
        if self.byte_count is not None:
            return self.byte_count
        assert self.bits_per_weight is not None
        return int(self.bits_per_weight * sum(map(_weight_count, tensors)) / 8)


def choose_for_target(
    tensors: Sequence[GgufTensor],
    architecture: str,
    importance: Importance,
    target: Target,
    measure: Measure | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, str]:
    """The types of the tensors that may be quantized. Without `measure`, errors count alike in all kinds.

    Raises BadInputError for a size that can't be reached, and for importance of another model.
    """
    chosen = [each for each in tensors if is_quantizable(Tensor(each.name, each.shape, each.type), architecture)]
    room = target.bytes_for(tensors) - sum(_byte_count(each, each.type) for each in tensors if each not in chosen)
    least_bits = LEAST_SHARE * 8 * room / sum(map(_weight_count, chosen))
    types = {each.name: _possible(each, importance, least_bits) for each in chosen}
    errors = _errors(chosen, types, importance, progress or Progress())
    factors = _factors(chosen, errors, measure, progress or Progress()) if measure else {}
    options = {
        each.name: [
            Option(name, _byte_count(each, name), error * factors.get(kind_of(each.name), 1.0))
            for name, error in errors[each.name].items()
        ]
        for each in chosen
    }
    return {name: option.type for name, option in allocate(options, room).items()}


def kind_of(name: str) -> str:
    """What a tensor is, whichever layer it is in: `ffn_down.weight` of `blk.7.ffn_down.weight`."""
    return re.sub(r"^blk\.\d+\.", "", name)


def _errors(
    tensors: Sequence[GgufTensor], types: Mapping[str, Sequence[str]], importance: Importance, progress: Progress
) -> dict[str, dict[str, float]]:
    """By tensor and type."""

    def weigh(tensor: GgufTensor) -> dict[str, float]:
        return weighted_errors(tensor, types[tensor.name], importance.weights(tensor.name, tensor.shape))

    found: dict[str, dict[str, float]] = {}
    done, total = 0, sum(_byte_count(each, each.type) for each in tensors)
    with worker_pool(usable_cores()) as pool, progress.work("weighing errors", total):
        for each, errors in zip(tensors, pool.map(weigh, tensors), strict=True):
            found[each.name] = errors
            done += _byte_count(each, each.type)
            progress.update(done)
    return found


def _possible(tensor: GgufTensor, importance: Importance, least_bits: float) -> list[str]:
    """Types that can hold it, those of fewer bits only where there is no other."""
    types = fitting(CANDIDATES, tensor.shape[-1])
    if importance.weights(tensor.name, tensor.shape) is None:
        types = [each for each in types if each not in ONLY_WITH_IMPORTANCE]
    types = [each for each in types if _bits(each) >= least_bits] or types
    if not types:
        raise BadInputError(f"no type can hold the tensor `{tensor.name}`: its rows are {tensor.shape[-1]} weights")
    return types


def _factors(
    tensors: Sequence[GgufTensor], errors: Mapping[str, Mapping[str, float]], measure: Measure, progress: Progress
) -> dict[str, float]:
    """Divergence for each unit of weighed error, by kind."""
    kinds: dict[str, list[GgufTensor]] = {}
    for each in tensors:
        kinds.setdefault(kind_of(each.name), []).append(each)
    factors = {}
    for kind, members in kinds.items():
        progress.note(f"measuring what errors in {kind} cost")
        types = {each.name: _type_to_measure(errors[each.name]) for each in members}
        error = sum(errors[name][chosen] for name, chosen in types.items())
        factors[kind] = max(measure(types), LEAST_DIVERGENCE) / error if error else 0.0
    return factors


def _type_to_measure(types: Mapping[str, float]) -> str:
    return min(types, key=lambda each: abs(_bits(each) - MEASURED_BITS))


def _bits(tensor_type: str) -> float:
    """For each weight."""
    found = TYPES[tensor_type]
    return 8 * found.block_bytes / found.block_weights


def _weight_count(tensor: GgufTensor) -> int:
    return math.prod(tensor.shape)


def _byte_count(tensor: GgufTensor, tensor_type: str) -> int:
    width = tensor.shape[-1]
    return _weight_count(tensor) // width * TYPES[tensor_type].row_bytes(width)
