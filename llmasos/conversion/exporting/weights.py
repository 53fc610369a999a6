"""The tensors of a checkpoint made of a GGUF's: the tensor map of the architecture, read backwards.

A tensor that no transform has moved about is dequantized and written a few megabytes at a time; the others are whole in
memory once, as float32, one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from llmasos.conversion.plan import by, named
from llmasos.conversion.rules import Keep, Rule, Shape, Sizes
from llmasos.errors import BadInputError
from llmasos.formats.floats import Array, as_float32
from llmasos.formats.gguf_tensors import GgufTensor
from llmasos.formats.safetensors_writer import TensorToWrite
from llmasos.quantization.decode import can_decode, decode
from llmasos.quantization.encode import FLOATS
from llmasos.quantization.pool import CHUNK_ITEMS, cut


@dataclass(frozen=True, slots=True)
class ExportedTensor:
    """A tensor of the checkpoint, by the family's own name, and the one of the GGUF that it is made of."""

    name: str
    shape: Shape
    rule: Rule
    stored: GgufTensor

    def written_as(self, type_name: str) -> TensorToWrite:
        return TensorToWrite(self.name, type_name, self.shape)


@dataclass(slots=True)
class ExportPlan:
    """`problems` are sentences for people; with any of them there is nothing to export."""

    tensors: list[ExportedTensor] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan_export(
    rules: Sequence[Rule], sizes: Sizes, stored: Mapping[str, GgufTensor], placeless: Collection[str]
) -> ExportPlan:
    """Every tensor of the checkpoint, outer ones first and then by layer. Those in `placeless` need no place in it."""
    places = [(rule.target.format(layer=layer), layer, rule) for layer, rule in _in_order_of_layers(rules, sizes)]
    missing = [target for target, _, rule in places if target not in stored and not rule.optional]
    known = {*placeless, *(target for target, _, _ in places)}
    unknown = [name for name in stored if name not in known]
    plan = ExportPlan(problems=[*named("the file lacks", missing), *named("a checkpoint has no place for", unknown)])
    if missing:  # sizes that those would tell are missing too
        return plan
    for target, layer, rule in places:
        if target in stored:
            [name] = rule.sources(layer, sizes)
            plan.problems += _troubles(stored[target], rule, sizes)
            plan.tensors.append(ExportedTensor(name, rule.source_shape(sizes), rule, stored[target]))
    return plan


def _in_order_of_layers(rules: Sequence[Rule], sizes: Sizes) -> Iterator[tuple[int, Rule]]:
    yield from ((0, rule) for rule in rules if "{layer}" not in rule.target)
    for layer in range(sizes["layers"]):
        yield from ((layer, rule) for rule in rules if "{layer}" in rule.target)


def _troubles(tensor: GgufTensor, rule: Rule, sizes: Sizes) -> list[str]:
    troubles, wanted = [], rule.target_shape(sizes)
    if tensor.shape != wanted:
        troubles.append(f"{tensor.name} is {by(tensor.shape)}, and the metadata makes it {by(wanted)}")
    if not can_decode(tensor.type):
        troubles.append(f"{tensor.name} is stored as {tensor.type}, which can't be made weights again")
    return troubles


def read_values(tensor: GgufTensor) -> Array:
    """A small tensor's values, in its shape."""
    return decode(tensor.rows(), tensor.type).reshape(tensor.shape)


def export_tasks(
    tensor: ExportedTensor, type_name: str, sizes: Sizes, pool: ThreadPoolExecutor
) -> Iterator[Callable[[], Array]]:
    """What gives the tensor's bytes, part by part, in the order in which they stand in the file."""
    if type(tensor.rule.transform) is Keep:
        stored = tensor.stored
        width = stored.shape[-1]
        for rows in cut(stored.rows(), stored.place.shape[-1], max(1, CHUNK_ITEMS // width)):
            yield functools.partial(_decode_and_encode, rows, tensor, type_name)
        return
    values = tensor.rule.transform.undo(_decode_whole(tensor.stored, pool), sizes)
    width = values.shape[-1]
    for chunk in cut(values, width, max(1, CHUNK_ITEMS // width)):
        yield functools.partial(_encode, chunk, tensor, type_name)


def _decode_whole(stored: GgufTensor, pool: ThreadPoolExecutor) -> Array:
    rows = stored.rows()
    chunks = cut(rows, stored.place.shape[-1], max(1, CHUNK_ITEMS // stored.shape[-1]))
    decoded = list(pool.map(functools.partial(decode, tensor_type=stored.type), chunks))
    return (decoded[0] if len(decoded) == 1 else np.concatenate(decoded)).reshape(stored.shape)


def _decode_and_encode(rows: Array, tensor: ExportedTensor, type_name: str) -> Array:
    return _encode(decode(rows, tensor.stored.type), tensor, type_name)


def _encode(values: Array, tensor: ExportedTensor, type_name: str) -> Array:
    """Raises BadInputError for finite weights that float16 has no number for."""
    encoded = FLOATS[type_name](np.ascontiguousarray(values))
    if type_name == "F16" and np.isinf(encoded).any() and not np.isinf(as_float32(values)).any():
        raise BadInputError(f"`{tensor.stored.name}` holds values too large for F16", hint="choose -t bf16")
    return encoded
