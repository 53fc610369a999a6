"""From a LoRA adapter of PEFT's to a GGUF adapter that llama.cpp adds to a model as it runs.

The map of the model's own conversion says where each layer is in the GGUF, and what was done to its weight is done to
the factors: a reordering of a weight's rows is one of B's rows. What can't be done to factors, or would be lost in the
GGUF, is refused before anything is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from llmasos.conversion.architecture import Architecture, find_architecture
from llmasos.conversion.config import read_config
from llmasos.conversion.convert import Problems
from llmasos.conversion.gguf_sizes import find_gguf_architecture, tensor_shapes
from llmasos.conversion.peft import LoraModule, PeftAdapter, read_peft
from llmasos.conversion.plan import by, canonical_names, named
from llmasos.conversion.provenance import provenance_of
from llmasos.conversion.rules import (
    FirstRows,
    Keep,
    PairRotated,
    Part,
    Regrouped,
    Rule,
    Shape,
    Sizes,
    Transform,
    Transpose,
)
from llmasos.errors import BadInputError
from llmasos.formats.checkpoint import Checkpoint, open_checkpoint
from llmasos.formats.floats import Array, as_float32
from llmasos.formats.gguf import read_header
from llmasos.formats.lora import FACTORS, TOKEN_EMBEDDING, UNREACHED
from llmasos.progress import Progress
from llmasos.quantization.prepared import Prepared
from llmasos.quantization.types import FLOAT_TYPES, file_type
from llmasos.quantization.writer import TensorJob

ROW_TRANSFORMS = (Keep, PairRotated, Regrouped, FirstRows)
OUTPUT = "output.weight"
Factors = tuple[Array, Array]  # (outputs, rank) and (rank, inputs): their product is what is added to a weight


@dataclass(frozen=True, slots=True)
class Base:
    """The model that an adapter is for. `tensors` are its GGUF's, by name, if it is known which ones there are."""

    architecture: Architecture
    sizes: Sizes
    rules: tuple[Rule, ...]
    tensors: frozenset[str] | None


def convert_adapter(
    folder: Path, base: Base, output: Path, type_name: str = "F32", *, progress: Progress | None = None
) -> Path:
    """Converts a folder that PEFT wrote to a GGUF adapter for a model, and returns its path.

    Raises BadInputError that lists everything which is in the way, before any weight is read.
    """
    return prepare_adapter(folder, base, type_name).write(output, progress=progress)[0]


def prepare_adapter(folder: Path, base: Base, type_name: str = "F32") -> Prepared:
    """Looks at everything but the weights. Raises BadInputError with all the problems that there are.

    The types are F32, which loses nothing, F16 and BF16.
    """
    wanted = type_name.upper()
    if wanted not in FLOAT_TYPES:
        raise BadInputError(f"an adapter can't be {type_name}", hint=f"types: {', '.join(FLOAT_TYPES)}")
    adapter, problems = read_peft(folder), Problems(folder)
    planned, troubles = plan_factors(adapter, base)
    problems.add([*adapter.problems, *troubles])
    if problems:
        raise problems.error()
    alpha = Counter(module.alpha for module in adapter.modules.values()).most_common(1)[0][0]
    jobs = [job for each in planned for job in each.jobs(adapter.weights, base.sizes, alpha, wanted)]
    return Prepared(base.architecture.name, wanted, _metadata(folder, adapter, base, alpha, wanted), tuple(jobs))


def base_of_gguf(paths: Sequence[Path]) -> Base:
    """The model in a GGUF file, or in the parts of one. Raises BadInputError if llmasos doesn't know its kind."""
    headers = [read_header(path) for path in paths]
    architecture, sizes = find_gguf_architecture(headers)
    return Base(architecture, sizes, architecture.rules, frozenset(tensor_shapes(headers)))


def base_of_folder(folder: Path) -> Base:
    """The model of a checkpoint's folder, of which only `config.json` has to be there."""
    config = read_config(folder)
    architecture = find_architecture(config)
    config = config.with_defaults(architecture.defaults)
    sizes, rules = architecture.sizes(config), tuple(architecture.tensor_map(config))
    try:
        checkpoint = open_checkpoint(folder, config.get("quantization_config"))
    except BadInputError:  # its weights are elsewhere, or not whole, and only their names would be of use
        return Base(architecture, sizes, rules, None)
    stored, _ = canonical_names(checkpoint.tensors, architecture.canonical)
    present = {
        each.target.format(layer=layer)
        for each in rules
        for layer in each.layers(sizes)
        if each.sources(layer, sizes)[0] in stored
    }
    return Base(architecture, sizes, rules, frozenset(present))


@dataclass(frozen=True, slots=True)
class PlannedFactors:
    """What is added to one tensor of the GGUF: by one module, or by the modules of a stack of experts.

    `shape` is the tensor's, its slowest-running dimension first; an expert without a module gets zeros.
    """

    target: str
    shape: Shape
    rule: Rule
    modules: tuple[LoraModule | None, ...]

    @property
    def rank(self) -> int:
        """Smaller ranks in a stack are filled up with zeros."""
        return max(module.rank for module in self.modules if module)

    def jobs(self, weights: Checkpoint, sizes: Sizes, alpha: float, type_name: str) -> Iterator[TensorJob]:
        """`lora_a` and `lora_b`, whose product llama.cpp multiplies by `alpha` / rank.

        The embedding's stand the other way round, since llama.cpp picks rows of them.
        """
        *stack, outputs, inputs = self.shape
        is_embedding = self.target == TOKEN_EMBEDDING
        shapes = (
            ((outputs, self.rank), (inputs, self.rank)) if is_embedding else ((self.rank, inputs), (outputs, self.rank))
        )
        for side, (suffix, shape) in enumerate(zip(FACTORS, shapes, strict=True)):
            pieces = partial(self._pieces, weights, sizes, alpha, side, is_embedding)
            yield TensorJob(f"{self.target}{suffix}", (*stack, *shape), type_name, pieces)

    def _pieces(
        self, weights: Checkpoint, sizes: Sizes, alpha: float, side: int, is_embedding: bool
    ) -> Iterator[Array]:
        for module in self.modules:
            rows, columns = self._factors(module, weights, sizes, alpha)
            yield (rows, columns.T)[side] if is_embedding else (columns, rows)[side]

    def _factors(self, module: LoraModule | None, weights: Checkpoint, sizes: Sizes, alpha: float) -> Factors:
        outputs, inputs = self.shape[-2:]
        if module is None:
            return np.zeros((outputs, self.rank), np.float32), np.zeros((self.rank, inputs), np.float32)
        a, b = weights.read(module.a.name), weights.read(module.b.name)
        rows, columns = (a.T, b.T) if module.is_embedding else (b, a)
        strength = module.alpha / alpha * (self.rank / module.rank)  # 1 unless modules differ
        if strength != 1:
            if module.is_embedding:
                columns = as_float32(columns) * np.float32(strength)
            else:
                rows = as_float32(rows) * np.float32(strength)
        rows, columns = transform_factors(self.rule.transform, rows, columns, sizes)
        missing = self.rank - module.rank
        return np.pad(rows, ((0, 0), (0, missing))), np.pad(columns, ((0, missing), (0, 0)))


def transform_factors(transform: Transform, rows: Array, columns: Array, sizes: Sizes) -> Factors:
    """Factors of what a transform makes of the product of `rows` (outputs, rank) and `columns` (rank, inputs).

    A weight that the checkpoint has transposed has factors of its layer's function, so they are what is wanted already.
    Raises BadInputError for a transform that is no reordering or cutting of rows or columns.
    """
    if isinstance(transform, Transpose):
        return rows, columns
    if isinstance(transform, Part):
        if transform.axis % 2:
            return rows, transform.apply(columns, sizes)
        return transform.apply(rows, sizes), columns
    if type(transform) not in ROW_TRANSFORMS:
        raise BadInputError(f"{type(transform).__name__} can't be done to the factors of an adapter")
    return transform.apply(rows, sizes), columns


def plan_factors(adapter: PeftAdapter, base: Base) -> tuple[list[PlannedFactors], list[str]]:
    """Puts the modules of an adapter into the places that the base's map has for them; and says what has none."""
    own, problems = canonical_names([f"{name}.weight" for name in adapter.modules], base.architecture.canonical)
    modules = {name: adapter.modules[raw.removesuffix(".weight")] for name, raw in own.items()}
    planned: list[PlannedFactors] = []
    used, targets = set[str](), set[str]()
    for rule in base.rules:
        for layer in rule.layers(base.sizes):
            names, target = rule.sources(layer, base.sizes), rule.target.format(layer=layer)
            found = [name for name in names if name in modules]
            if not found or target in targets:
                continue
            used.update(found)
            targets.add(target)
            troubles = _troubles(target, rule, base, [modules[name] for name in found])
            problems += troubles
            if not troubles:
                each = tuple(modules.get(name) for name in names)
                planned.append(PlannedFactors(target, rule.target_shape(base.sizes), rule, each))
    unknown = [module.name for name, module in modules.items() if name not in used]
    return planned, [*problems, *named("the model has no place for", unknown)]


def _troubles(target: str, rule: Rule, base: Base, modules: Iterable[LoraModule]) -> list[str]:
    """What is in the way of adding the modules' factors to a tensor."""
    if base.tensors is not None and target not in base.tensors:
        reason = "; its output is the embedding of its tokens" if target == OUTPUT else ""
        return [f"the model has no tensor `{target}`{reason}"]
    if target == TOKEN_EMBEDDING and base.tensors is not None and OUTPUT not in base.tensors:
        return [f"the model's output is its embedding, and llama.cpp can't add to `{target}` alone"]
    shape = rule.source_shape(base.sizes)
    if len(shape) != 2 or target.endswith(UNREACHED):
        return [f"llama.cpp adds nothing to `{target}` as it runs"]
    if not isinstance(rule.transform, (Transpose, Part)) and type(rule.transform) not in ROW_TRANSFORMS:
        return [f"what is done to `{target}` can't be done to the factors of an adapter"]
    wanted = shape[::-1] if isinstance(rule.transform, Transpose) else shape
    return [
        f"{module.name} is {by(module.shape)}, and the model makes it {by(wanted)}"
        for module in modules
        if module.shape != wanted
    ]


def _metadata(folder: Path, adapter: PeftAdapter, base: Base, alpha: float, type_name: str) -> Mapping[str, Any]:
    origin: dict[str, Any] = {}
    if adapter.base_model:
        origin = {"general.base_model.count": 1, "general.base_model.0.name": adapter.base_model}
    return {
        "general.architecture": base.architecture.name,
        **provenance_of(folder).metadata(),
        "general.type": "adapter",
        **origin,
        "adapter.type": "lora",
        "adapter.lora.alpha": float(alpha),
        "general.file_type": file_type(type_name),
        "general.quantization_version": 2,
    }
