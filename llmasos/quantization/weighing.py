"""Giving tensors that are to be quantized their importance; what becomes of those that there is none for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmasos.errors import UnsuitableTypeError
from llmasos.quantization.importance import Importance
from llmasos.quantization.mixes import EMBEDDINGS, OUTPUT, needs_importance
from llmasos.quantization.types import FLOAT_TYPES
from llmasos.quantization.writer import TensorJob


@dataclass(frozen=True, slots=True)
class Weighed:
    """Tensors to write with their importance, and notes on what there was none for."""

    jobs: tuple[TensorJob, ...]
    notes: tuple[str, ...]


def weigh(
    jobs: Sequence[TensorJob], importance: Importance, mix: str, names: Mapping[str, str], known: Iterable[str]
) -> Weighed:
    """As llama-quantize does: a tensor without importance is quantized all the same, if its type allows that.

    `names` are what the tensors were called before pruning, `known` all that the model had. Raises UnsuitableTypeError
    where the type does not allow it, and BadInputError for an importance matrix of another model.
    """
    if not importance.entries:  # it has yet to be made
        return Weighed(tuple(jobs), ())
    importance.require_fitting(known)
    weighed, omitted = [], []
    for job in jobs:
        is_changed = job.type not in FLOAT_TYPES and job.stored_as != job.type
        weights = importance.weights(names[job.name], job.shape) if is_changed else None
        weighed.append(replace(job, importance=weights))
        if not is_changed or weights is not None:
            continue
        if needs_importance(mix, job.name, job.type):
            raise UnsuitableTypeError(
                f"{importance.file} tells nothing of `{job.name}`, which can't be made {job.type} then",
                hint="give this tensor another type: --tensor-type REGEX=TYPE; or collect importance anew",
            )
        if job.name != OUTPUT and job.name not in EMBEDDINGS:
            omitted.append(job.name)
    note = f"{importance.file} tells nothing of {len(omitted)} of the tensors, such as `{(*omitted, '')[0]}`"
    return Weighed(tuple(weighed), (note,) if omitted else ())
