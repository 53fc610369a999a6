"""The tensor map of an architecture, as data: which tensors of a checkpoint become which tensor of a GGUF, and how.

A rule's names hold `{layer}`, and `{part}` where many tensors become one. Shapes are written in sizes that the
configuration gives (`"queries hidden"`), slowest-running dimension first as in PyTorch, so that a checkpoint is checked
whole before anything is read. A transform moves values about, or adds to them; most can be undone, so that the same map
leads back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from llmasos.formats.floats import Array, as_float32

Sizes = Mapping[str, int]
Shape = tuple[int, ...]


class Transform(Protocol):
    """What is done to one tensor of the checkpoint; arrays hold values as `formats.floats` says."""

    def apply(self, array: Array, sizes: Sizes) -> Array: ...

    def undo(self, array: Array, sizes: Sizes) -> Array: ...

    def shape(self, shape: Shape, sizes: Sizes) -> Shape:
        """The shape that `apply` gives to a tensor of that shape."""
        ...


@dataclass(frozen=True, slots=True)
class Keep:
    """The tensor as it is."""

    def apply(self, array: Array, sizes: Sizes) -> Array:
        return array

    def undo(self, array: Array, sizes: Sizes) -> Array:
        return array

    def shape(self, shape: Shape, sizes: Sizes) -> Shape:
        return shape


@dataclass(frozen=True, slots=True)
class Transpose(Keep):
    """GPT-2's layers keep their matrices the other way round."""

    def apply(self, array: Array, sizes: Sizes) -> Array:
        return array.T

    def undo(self, array: Array, sizes: Sizes) -> Array:
        return array.T

    def shape(self, shape: Shape, sizes: Sizes) -> Shape:
        return shape[::-1]


@dataclass(frozen=True, slots=True)
class PairRotated(Keep):
    """Rows of a head put side by side that rotate together.

    Hugging Face's rotary embedding turns row i of a head with row i + half of it; llama.cpp's for this architecture
    turns neighbours. `heads` names the size that counts the heads.
    """

    heads: str

    def apply(self, array: Array, sizes: Sizes) -> Array:
        return self._swap(array, (sizes[self.heads], 2, -1))

    def undo(self, array: Array, sizes: Sizes) -> Array:
        return self._swap(array, (sizes[self.heads], -1, 2))

    def _swap(self, array: Array, grouping: tuple[int, int, int]) -> Array:
        return array.reshape(*grouping, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


@dataclass(frozen=True, slots=True)
class AddOne(Keep):
    """Gemma's norms are stored as the difference from 1. Float16 is added to as float16, as the original does."""

    def apply(self, array: Array, sizes: Sizes) -> Array:
        if array.dtype == np.float16:
            return array + np.float16(1)
        return as_float32(array) + np.float32(1)

    def undo(self, array: Array, sizes: Sizes) -> Array:
        return as_float32(array) - np.float32(1)


@dataclass(frozen=True, slots=True)
class Part(Keep):
    """One of `count` equal parts of a tensor, cut along `axis`; the first is 0."""

    index: int
    count: int
    axis: int = 0

    def apply(self, array: Array, sizes: Sizes) -> Array:
        return np.split(array, self.count, axis=self.axis)[self.index]  # a view

    def shape(self, shape: Shape, sizes: Sizes) -> Shape:
        axis = self.axis % len(shape)
        return (*shape[:axis], shape[axis] // self.count, *shape[axis + 1 :])


@dataclass(frozen=True, slots=True)
class FirstRows(Keep):
    """As many rows as the size named `rows` says; what is beyond is padding."""

    rows: str

    def apply(self, array: Array, sizes: Sizes) -> Array:
        return array[: sizes[self.rows]]

    def shape(self, shape: Shape, sizes: Sizes) -> Shape:
        return (min(shape[0], sizes[self.rows]), *shape[1:])


@dataclass(frozen=True, slots=True)
class Regrouped(Keep):
    """Fused queries, keys and values, put in order: all queries, then all keys, then all values.

    In the checkpoint they stand group by group: the queries that share a key, that key, its value. There are as many
    groups as `kv_heads`.
    """

    def apply(self, array: Array, sizes: Sizes) -> Array:
        rest = array.shape[1:]
        groups = array.reshape(sizes["kv_heads"], -1, sizes["head_dim"], *rest)
        return np.concatenate([part.reshape(-1, *rest) for part in np.split(groups, (-2, -1), axis=1)])

    def undo(self, array: Array, sizes: Sizes) -> Array:
        keys = sizes["keys"]
        parts = np.split(array, (-2 * keys, -keys))
        shape = (sizes["kv_heads"], -1, sizes["head_dim"], *array.shape[1:])
        return np.concatenate([part.reshape(shape) for part in parts], axis=1).reshape(array.shape)


KEEP = Keep()


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor of the GGUF and where it comes from.

    With `{part}` in `source` the tensors of all parts, counted by the size `parts`, are stacked along a new first
    dimension. `shape` is that of one source tensor. A tensor that is `optional` may be missing.
    """

    source: str
    target: str
    shape: str
    transform: Transform = KEEP
    optional: bool = False
    parts: str = ""

    def sources(self, layer: int, sizes: Sizes) -> tuple[str, ...]:
        """The names of the tensors that make the target of that layer."""
        if not self.parts:
            return (self.source.format(layer=layer),)
        return tuple(self.source.format(layer=layer, part=part) for part in range(sizes[self.parts]))

    def source_shape(self, sizes: Sizes) -> Shape:
        return tuple(size_of(name, sizes) for name in self.shape.split())

    def target_shape(self, sizes: Sizes) -> Shape:
        shape = self.transform.shape(self.source_shape(sizes), sizes)
        return (sizes[self.parts], *shape) if self.parts else shape

    def layers(self, sizes: Sizes) -> Iterator[int]:
        yield from range(sizes["layers"]) if "{layer}" in self.target else range(1)


def size_of(text: str, sizes: Sizes) -> int:
    """`hidden`, `2*feed_forward`, `3`: a product of sizes and numbers."""
    product = 1
    for factor in text.split("*"):
        product *= int(factor) if factor.isdecimal() else sizes[factor]
    return product


def rule(source: str, target: str, shape: str, transform: Transform = KEEP, **options: Any) -> Rule:
    """A rule outside the layers, or one with its `{layer}` written out."""
    return Rule(source, target, shape, transform, **options)


def layer_rules(prefix: str, *rules: Rule) -> tuple[Rule, ...]:
    """Rules of one layer: sources begin with `prefix`, which holds `{layer}`; targets with `blk.{layer}.`."""
    return tuple(
        Rule(
            f"{prefix}{each.source}",
            f"blk.{{layer}}.{each.target}",
            each.shape,
            each.transform,
            each.optional,
            each.parts,
        )
        for each in rules
    )


def with_bias(each: Rule, *, optional: bool = True) -> tuple[Rule, Rule]:
    """The rule of a weight, and that of its bias, whose shape is the weight's first dimension."""
    bias = Rule(
        each.source.removesuffix("weight") + "bias",
        each.target.removesuffix("weight") + "bias",
        each.shape.split()[0],
        each.transform,
        optional,
        each.parts,
    )
    return each, bias


def separate_experts(prefix: str, *, gate: str, up: str, down: str) -> tuple[Rule, ...]:
    """Rules of a layer whose experts are tensors of their own: `prefix`, the expert's number, a part of it."""
    inner, outer = "expert_feed_forward hidden", "hidden expert_feed_forward"
    return tuple(
        Rule(f"{prefix}.{{part}}.{name}.weight", f"ffn_{target}_exps.weight", shape, parts="experts")
        for name, target, shape in ((gate, "gate", inner), (up, "up", inner), (down, "down", outer))
    )


def stacked_experts(prefix: str) -> tuple[Rule, ...]:
    """Rules of a layer whose experts lie in two tensors: `gate_up_proj`, gates before ups, and `down_proj`."""
    gate_and_up = (f"{prefix}.gate_up_proj", "experts 2*expert_feed_forward hidden")
    return (
        Rule(gate_and_up[0], "ffn_gate_exps.weight", gate_and_up[1], Part(0, 2, axis=1)),
        Rule(gate_and_up[0], "ffn_up_exps.weight", gate_and_up[1], Part(1, 2, axis=1)),
        Rule(f"{prefix}.down_proj", "ffn_down_exps.weight", "experts hidden expert_feed_forward"),
    )
