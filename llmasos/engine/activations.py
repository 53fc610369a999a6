"""What a model multiplies its weights with while it reads: sums of squares, by weight and column.

They say which columns of a weight matter, which quantizers want to know. Counted as llama.cpp's llama-imatrix counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from llmasos.engine.background import in_thread
from llmasos.engine.context import Context, ContextOptions, Reading
from llmasos.engine.model import Model
from llmasos.engine.pooled import PooledContext, PooledOptions, Text
from llmasos.engine.probes import InnerTensor, Probe
from llmasos.errors import LlmasosError
from llmasos.formats.floats import Array
from llmasos.progress import Progress

PRODUCT, PRODUCT_OF_EXPERTS = "MUL_MAT", "MUL_MAT_ID"
LAYERS = "blk."  # weights outside of layers are left out: those of the output do better without
LEAST_ROWS = 16  # of an input: less than that is no text


@dataclass(slots=True)
class Squares:
    """Sums (matrices, width) over so many rows (matrices), which grow."""

    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


class ActivationCollector:
    """Adds up, by the names of weights, what goes through contexts that its `probe` is given to."""

    def __init__(self) -> None:
        self.found: dict[str, Squares] = {}
        self.probe = Probe(_is_collected, self._add)

    def _add(self, product: InnerTensor) -> None:
        weight, inputs = product.sources[:2]
        name, values = _name_in_file(weight), inputs.read()
        if product.operation == PRODUCT_OF_EXPERTS:
            squares = self._of(name, matrices=weight.shape[1], width=values.shape[-1])
            _add_experts(squares, values[0], product.sources[2].read()[0, 0])
        else:
            stacks = weight.shape[:2]
            matrices = stacks[0] * stacks[1]
            squares = self._of(name, matrices=1, width=matrices * values.shape[-1])
            _add_stack(squares.sums.reshape(*stacks, -1), values)
            squares.counts += int(np.prod(values.shape[:3])) // matrices
        if not np.isfinite(squares.sums).all():
            raise LlmasosError(f"the model computes NaN or infinity: what `{name}` is multiplied with is no number")

    def _of(self, name: str, *, matrices: int, width: int) -> Squares:
        if name not in self.found:
            self.found[name] = Squares(np.zeros((matrices, width)), np.zeros(matrices, np.int64))
        return self.found[name]


def _is_collected(tensor: InnerTensor) -> bool:
    if tensor.operation == PRODUCT_OF_EXPERTS:
        return tensor.sources[1].type == "f32"
    if tensor.operation != PRODUCT:
        return False
    weight, inputs = tensor.sources[:2]
    return inputs.type == "f32" and inputs.shape[2] >= LEAST_ROWS and _name_in_file(weight).startswith(LAYERS)


def _name_in_file(weight: InnerTensor) -> str:
    """Copies for another device are called `device#name#number`."""
    name = weight.name
    return name.split("#")[1] if name.count("#") > 1 else name


def _add_experts(squares: Squares, values: Array, experts: Array) -> None:
    """Inputs (tokens, inputs of each, width), one for all chosen experts or one for each; experts (tokens, chosen)."""
    for place, chosen in enumerate(experts.T):
        rows = values[:, place % values.shape[1]]
        for expert in np.unique(chosen):
            meant = chosen == expert
            squares.sums[expert] += _column_squares(rows[meant])
            squares.counts[expert] += meant.sum()


def _add_stack(sums: Array, values: Array) -> None:
    """Inputs (a, b, rows, width) of matrices (c, d), which are taken in turns where there are fewer of them."""
    for outer, part in enumerate(values):
        for inner, rows in enumerate(part):
            sums[outer % sums.shape[0], inner % sums.shape[1]] += _column_squares(rows)


def _column_squares(rows: Array) -> Array:
    added: Array = np.add.reduce(np.square(rows), axis=0, dtype=np.float64)
    return added


def collect_activations(
    model: Model, chunks: Sequence[Sequence[int]], text_bytes: int, *, threads: int, is_pooled: bool, progress: Progress
) -> dict[str, Squares]:
    """Has a model read pieces of text of one length, each by itself, and returns what it multiplied its weights with.

    `text_bytes` is the size of the text, for the progress. `is_pooled` is true for models that don't write text.
    """
    collector, length = ActivationCollector(), len(chunks[0])
    with progress.work("reading what weights are multiplied with", text_bytes):
        if is_pooled:
            pooled = PooledContext(model, PooledOptions(length, threads, one_by_one=True), probe=collector.probe)
            read, close = partial(_read_pooled, pooled), pooled.close
        else:
            options = ContextOptions(length, threads, batch_size=length)
            context = Context(model, options, probe=collector.probe)
            read, close = partial(_read, context), context.close
        try:
            for number, chunk in enumerate(chunks, 1):
                read(chunk)
                progress.update(text_bytes * number // len(chunks))
        finally:
            close()
    return collector.found


def _read(context: Context, tokens: Sequence[int]) -> None:
    """All logits are wanted: llama.cpp leaves out of the last layer what only unwanted ones need."""
    context.forget(0)
    in_thread(lambda: context.decode([Reading(0, tokens, 0, len(tokens))]), context.abort)


def _read_pooled(context: PooledContext, tokens: Sequence[int]) -> None:
    context.read([Text(tokens)])
