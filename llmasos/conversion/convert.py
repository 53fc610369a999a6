"""From a checkpoint's folder to a GGUF, in one pass: checked whole first, then read, transformed, encoded and written.

Memory is bounded by the largest few tensors of the checkpoint: weights are mapped, and written as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from llmasos.conversion.architecture import Architecture, find_architecture
from llmasos.conversion.config import Config, read_config
from llmasos.conversion.generation import sampling_metadata
from llmasos.conversion.limits import require_possible
from llmasos.conversion.plan import PlannedTensor, canonical_names, make_pieces, plan_tensors
from llmasos.conversion.provenance import Provenance, provenance_of
from llmasos.conversion.rules import Shape, Sizes
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.conversion.types import AUTO, find_type, plain_type, resolve_auto
from llmasos.errors import BadInputError, WeightsTooLargeError
from llmasos.formats.checkpoint import Checkpoint, open_checkpoint
from llmasos.formats.floats import Array
from llmasos.formats.fp8 import parse_quantization
from llmasos.progress import Progress
from llmasos.quantization.mixes import Tensor, choose_types, model_facts
from llmasos.quantization.types import FLOAT_TYPES, file_type
from llmasos.quantization.writer import TensorJob, planned_size, write_gguf

PROBLEMS_SHOWN = 20
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
WIDE_TYPE = "BF16"  # of 16 bits, with the range of float32
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checkpoint that nothing keeps from being converted; none of its weights have been read."""

    architecture: str  # llama.cpp's name
    type_name: str  # the file type, never `auto`
    metadata: Mapping[str, Any]
    jobs: tuple[TensorJob, ...]
    instead: Prepared | None = None  # what is written if weights turn out too large for a type that nobody asked for

    @property
    def size(self) -> int:
        """In bytes, of the GGUF."""
        return planned_size(self.metadata, self.jobs)

    def write(self, output: Path, *, split_max_bytes: int = 0, progress: Progress | None = None) -> list[Path]:
        """Writes the GGUF, in parts of at most so many bytes if that is not 0, and returns the paths.

        Nothing is visible at `output` before all of it is there. Raises DiskFullError, before anything is written if
        the room can be known to be too small, and BadInputError for weights that can't be encoded.
        """
        progress = progress or Progress()
        try:
            return write_gguf(output, self.metadata, self.jobs, progress=progress, split_max_bytes=split_max_bytes)
        except WeightsTooLargeError as error:
            if self.instead is None:
                raise
            progress.note(f"{error.message}; writing {self.instead.type_name}")
        return self.instead.write(output, split_max_bytes=split_max_bytes, progress=progress)


def convert(
    folder: Path,
    output: Path,
    type_name: str = AUTO,
    *,
    provenance: Provenance | None = None,
    split_max_bytes: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Converts a Hugging Face checkpoint to a GGUF of a file type such as `BF16` or `Q4_K_M`; returns the files.

    Raises BadInputError that lists everything which is in the way, before any weight is read.
    """
    prepared = prepare(folder, type_name, provenance=provenance)
    return prepared.write(output, split_max_bytes=split_max_bytes, progress=progress)


def prepare(folder: Path, type_name: str = AUTO, *, provenance: Provenance | None = None) -> Prepared:
    """Looks at everything but the weights. Raises BadInputError with all the problems that there are."""
    mix = find_type(type_name)
    examined = _examine(folder)
    origin = _named_rightly(provenance or provenance_of(folder), examined.companions)
    general = {**origin.metadata(), **sampling_metadata(folder)}
    if mix != AUTO:
        return _prepare(examined, general, mix)
    mix = resolve_auto([(tensor.dtype, tensor.shape) for tensor in examined.tensors])
    wider = _prepare(examined, general, WIDE_TYPE)
    return wider if mix == WIDE_TYPE else replace(_prepare(examined, general, mix), instead=wider)


def _prepare(examined: Examined, general: Mapping[str, Any], mix: str) -> Prepared:
    architecture = examined.companions.architecture.name
    metadata = {
        "general.architecture": architecture,
        **general,
        **examined.companions.metadata,
        "general.quantization_version": QUANTIZATION_VERSION,  # these two last, where llama-quantize puts them
        "general.file_type": file_type(mix),
    }
    return Prepared(architecture, mix, metadata, tuple(_make_jobs(examined, mix, metadata)))


def _named_rightly(provenance: Provenance, companions: Companions) -> Provenance:
    name_for = companions.architecture.model_name
    return provenance if name_for is None else replace(provenance, name=name_for(provenance.name, companions.metadata))


def examine_companions(folder: Path) -> None:
    """Looks at everything but the files with weights, which need not be there yet. Raises as `prepare` does."""
    problems = Problems(folder)
    problems.attempt(lambda: parse_quantization(read_config(folder).get("quantization_config")))
    if _examine_companions(folder, problems) is None or problems:
        raise problems.error()


@dataclass(frozen=True, slots=True)
class Companions:
    """What the small files beside the weights say; `metadata` are hyper-parameters and tokenizer, keys in full."""

    config: Config
    architecture: Architecture
    sizes: Sizes
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Examined:
    """A checkpoint without problems, and where each tensor of its GGUF comes from."""

    companions: Companions
    checkpoint: Checkpoint
    tensors: Sequence[PlannedTensor]
    extra_tensors: Mapping[str, Array]


def _examine(folder: Path) -> Examined:
    problems = Problems(folder)
    companions = _examine_companions(folder, problems)
    quantization = read_config(folder).get("quantization_config")
    checkpoint = problems.attempt(lambda: open_checkpoint(folder, quantization))
    if companions is None or checkpoint is None:
        raise problems.error()
    tensors = _plan(companions, checkpoint, problems)
    if problems:
        raise problems.error()
    extra = companions.architecture.extra_tensors(companions.config, companions.sizes)
    return Examined(companions, checkpoint, tensors, extra)


def _examine_companions(folder: Path, problems: Problems) -> Companions | None:
    config = read_config(folder)
    architecture = problems.attempt(lambda: find_architecture(config))
    if architecture is None:
        return None
    config = config.with_defaults(architecture.defaults)
    sizes = problems.attempt(lambda: require_possible(architecture.sizes(config)))
    if sizes is None:
        return None
    problems.attempt(lambda: problems.add(architecture.problems(config)))
    tokenizer = problems.attempt(lambda: _tokenizer(architecture, config, folder))
    hyperparameters = problems.attempt(lambda: _hyperparameters(architecture, config, sizes, folder))
    if tokenizer is None or hyperparameters is None:
        return None
    return Companions(config, architecture, sizes, {**hyperparameters, **tokenizer})


class Problems:
    """Collects what is wrong with a model, so that a person hears of all of it at once; `done` is what can't be."""

    def __init__(self, folder: Path, done: str = "converted") -> None:
        self._folder, self._done = folder, done
        self._found: list[str] = []
        self._hint: str | None = None

    def attempt(self, step: Callable[[], Found]) -> Found | None:
        """What the step gives, or None if it finds something wrong."""
        try:
            return step()
        except BadInputError as error:
            self._found.append(error.message)
            self._hint = self._hint or error.hint
            return None

    def add(self, found: Iterable[str]) -> None:
        self._found += found

    def __bool__(self) -> bool:
        return bool(self._found)

    def error(self) -> BadInputError:
        if len(self._found) == 1:
            return BadInputError(self._found[0], hint=self._hint)
        listed = "".join(f"\n  - {problem}" for problem in self._found[:PROBLEMS_SHOWN])
        if len(self._found) > PROBLEMS_SHOWN:
            listed += f"\n  and {len(self._found) - PROBLEMS_SHOWN} more"
        return BadInputError(f"{self._folder} can't be {self._done}:{listed}", hint=self._hint)


def _tokenizer(architecture: Architecture, config: Config, folder: Path) -> dict[str, Any]:
    tokenizer = read_vocabulary(folder, config).metadata()
    return tokenizer if architecture.adjust_vocabulary is None else architecture.adjust_vocabulary(config, tokenizer)


def _hyperparameters(architecture: Architecture, config: Config, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The architecture's own keys, in full."""
    metadata = architecture.metadata(config, sizes)
    if architecture.folder_metadata is not None:
        metadata = {**metadata, **architecture.folder_metadata(folder)}
    return {architecture.key(key): value for key, value in metadata.items()}


def _plan(companions: Companions, checkpoint: Checkpoint, problems: Problems) -> list[PlannedTensor]:
    """The tensors, with their sources as the checkpoint names them."""
    architecture = companions.architecture
    own, twice = canonical_names(checkpoint.tensors, architecture.canonical)
    stored = {name: checkpoint.tensors[raw] for name, raw in own.items()}
    plan = plan_tensors(architecture.tensor_map(companions.config), companions.sizes, stored, architecture.ignores)
    problems.add([*twice, *plan.problems])
    return [tensor.renamed(own) for tensor in plan.tensors]


def _make_jobs(examined: Examined, mix: str, metadata: Mapping[str, Any]) -> Iterator[TensorJob]:
    shapes = {each.name: each.shape for each in examined.tensors}
    shapes |= {name: array.shape for name, array in examined.extra_tensors.items()}
    types = _choose_types(mix, shapes, metadata)
    for name, array in examined.extra_tensors.items():
        yield TensorJob(name, array.shape, types[name], partial(iter, (array,)))
    for tensor in examined.tensors:
        pieces = make_pieces(tensor, examined.checkpoint.read, examined.companions.sizes)
        yield TensorJob(tensor.name, tensor.shape, types[tensor.name], pieces)


def _choose_types(mix: str, shapes: Mapping[str, Shape], metadata: Mapping[str, Any]) -> Mapping[str, str]:
    if mix in FLOAT_TYPES:
        return {name: plain_type(name, shape, mix) for name, shape in shapes.items()}
    tensors = [Tensor(name, shape, plain_type(name, shape, "BF16")) for name, shape in shapes.items()]
    return choose_types(mix, tensors, model_facts(metadata))
