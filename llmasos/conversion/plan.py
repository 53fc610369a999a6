"""The plan of a conversion: every tensor of the GGUF with what makes it, or everything that is in the way.

Made from names and shapes alone, before a single weight is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmasos.conversion.rules import Rule, Shape, Sizes
from llmasos.formats.floats import Array
from llmasos.formats.stored import StoredTensor

WEIGHT_TYPES = ("F64", "F32", "F16", "BF16")  # of a checkpoint, as it is read
NAMES_SHOWN = 5  # of those that share one problem


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the GGUF: its name, its shape (slowest-running dimension first) and the tensors that make it."""

    name: str
    shape: Shape
    sources: tuple[str, ...]  # by their canonical names
    rule: Rule
    dtype: str  # of the first source

    def renamed(self, own_names: Mapping[str, str]) -> PlannedTensor:
        """The same with its sources as the checkpoint itself names them."""
        return replace(self, sources=tuple(own_names[name] for name in self.sources))


@dataclass(slots=True)
class Plan:
    """`problems` are sentences for people; with any of them there is nothing to convert."""

    tensors: list[PlannedTensor] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan_tensors(
    rules: Iterable[Rule], sizes: Sizes, stored: Mapping[str, StoredTensor], ignores: Callable[[str], bool]
) -> Plan:
    """Puts the tensors of a checkpoint, by their canonical names, into the places that the rules have for them.

    Rules of one target are alternatives: layouts of different ages. The first whose source is there is taken.
    """
    plan, used, missing = Plan(), set[str](), list[str]()
    for alternatives in _by_target(rules):
        for layer in alternatives[0].layers(sizes):
            rule = next((each for each in alternatives if each.sources(layer, sizes)[0] in stored), alternatives[0])
            names = rule.sources(layer, sizes)
            used.update(names)
            absent = [name for name in names if name not in stored]
            if absent:
                missing += absent if not rule.optional or len(absent) < len(names) else []
                continue
            plan.problems += _troubles(rule, sizes, names, stored)
            plan.tensors.append(_planned(rule, layer, sizes, names, stored))
    unknown = [name for name in stored if name not in used and not ignores(name)]
    plan.problems += [*named("the checkpoint lacks", missing), *named("there is no place for", unknown)]
    return plan


def _by_target(rules: Iterable[Rule]) -> list[list[Rule]]:
    groups: dict[str, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule.target, []).append(rule)
    return list(groups.values())


def canonical_names(names: Collection[str], canonical: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """Canonical name -> the checkpoint's own, and problems: two tensors can't stand for the same one."""
    own: dict[str, str] = {}
    twice = [name for name in names if own.setdefault(canonical(name), name) != name]
    return own, [f"two tensors stand for `{canonical(name)}`: {own[canonical(name)]} and {name}" for name in twice]


def make_pieces(tensor: PlannedTensor, read: Callable[[str], Array], sizes: Sizes) -> Callable[[], Iterator[Array]]:
    """What gives the tensor's values, a source at a time, so that a stack of experts is never whole in memory."""

    def pieces() -> Iterator[Array]:
        for name in tensor.sources:
            yield tensor.rule.transform.apply(read(name), sizes)

    return pieces


def _planned(
    rule: Rule, layer: int, sizes: Sizes, names: Sequence[str], stored: Mapping[str, StoredTensor]
) -> PlannedTensor:
    target = rule.target.format(layer=layer)
    return PlannedTensor(target, rule.target_shape(sizes), tuple(names), rule, stored[names[0]].dtype)


def _troubles(rule: Rule, sizes: Sizes, names: Sequence[str], stored: Mapping[str, StoredTensor]) -> list[str]:
    wanted, troubles = rule.source_shape(sizes), []
    for name in names:
        tensor = stored[name]
        if tensor.shape != wanted:
            troubles.append(f"{name} is {by(tensor.shape)}, and config.json makes it {by(wanted)}")
        if tensor.dtype not in WEIGHT_TYPES:
            troubles.append(f"{name} holds {tensor.dtype}, which are no weights")
    return troubles


def by(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def named(what: str, names: Sequence[str]) -> list[str]:
    """The sentence with the first of the names, or nothing if there are none."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return [f"{what} {', '.join(names[:NAMES_SHOWN])}{more}"] if names else []
