"""From a checkpoint's folder to a GGUF, in one pass: checked whole first, then read, transformed, encoded and written.

Memory is bounded by the largest few tensors of the checkpoint: weights are mapped, and written as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from llmasos.conversion.types import AUTO, as_choices, plain_type, resolve_auto
from llmasos.errors import BadInputError
from llmasos.formats.checkpoint import Checkpoint, open_checkpoint
from llmasos.formats.floats import Array
from llmasos.formats.fp8 import parse_quantization
from llmasos.progress import Progress
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Importance
from llmasos.quantization.mixes import Tensor, choose_types, model_facts
from llmasos.quantization.prepared import Prepared
from llmasos.quantization.pruning import LAYER_COUNT, layers_kept, pruned_metadata, pruned_name
from llmasos.quantization.types import FLOAT_TYPES, file_type
from llmasos.quantization.weighing import Weighed, weigh
from llmasos.quantization.writer import TensorJob

PROBLEMS_SHOWN = 20
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
WIDE_TYPE = "BF16"  # of 16 bits, with the range of float32
Found = TypeVar("Found")
Pieces = Callable[[], Iterable[Array]]


def convert(
    folder: Path,
    output: Path,
    wanted: str | Choices = AUTO,
    *,
    provenance: Provenance | None = None,
    split_max_bytes: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Converts a Hugging Face checkpoint to a GGUF of a file type such as `BF16` or `Q4_K_M`; returns the files.

    Raises BadInputError that lists everything which is in the way, before any weight is read.
    """
    prepared = prepare(folder, wanted, provenance=provenance)
    return prepared.write(output, split_max_bytes=split_max_bytes, progress=progress)


def prepare(
    folder: Path,
    wanted: str | Choices = AUTO,
    importance: Importance | None = None,
    *,
    provenance: Provenance | None = None,
) -> Prepared:
    """Looks at everything but the weights. Raises BadInputError with all the problems that there are.

    `wanted` is a file type, or choices in full, whose mix may be `auto`; then there is no importance to heed.
    """
    choices = as_choices(wanted)
    examined = _examine(folder)
    origin = _named_rightly(provenance or provenance_of(folder), examined.companions)
    general = {**origin.metadata(), **sampling_metadata(folder)}
    if choices.mix != AUTO:
        return _prepare(examined, general, choices, importance)
    mix = resolve_auto([(tensor.dtype, tensor.shape) for tensor in examined.tensors])
    wider = _prepare(examined, general, replace(choices, mix=WIDE_TYPE))
    if mix == WIDE_TYPE:
        return wider
    return replace(_prepare(examined, general, replace(choices, mix=mix)), instead=wider)


def _prepare(
    examined: Examined, general: Mapping[str, Any], choices: Choices, importance: Importance | None = None
) -> Prepared:
    architecture = examined.companions.architecture.name
    metadata = {
        "general.architecture": architecture,
        **general,
        **examined.companions.metadata,
        "general.quantization_version": QUANTIZATION_VERSION,  # these two last, where llama-quantize puts them
        "general.file_type": file_type(choices.mix),
        **(importance.metadata if importance else {}),
    }
    weighed = _make_jobs(examined, choices, metadata, importance)
    if kept := _layers_kept(choices, metadata):
        metadata = pruned_metadata(metadata, kept)
    notes = (*examined.companions.notes, *weighed.notes)
    return Prepared(architecture, choices.mix, metadata, weighed.jobs, notes=notes)


def _layers_kept(choices: Choices, metadata: Mapping[str, Any]) -> list[int]:
    """The layers that stay if some are pruned; else none are listed."""
    layer_count = metadata.get(f"{metadata['general.architecture']}.{LAYER_COUNT}", 0)
    return layers_kept(choices.pruned_layers, layer_count) if choices.pruned_layers else []


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
    notes: tuple[str, ...] = ()  # on what will differ from the original


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
    notes = problems.attempt(lambda: tuple(architecture.notes(config)))
    tokenizer = problems.attempt(lambda: _tokenizer(architecture, config, folder))
    hyperparameters = problems.attempt(lambda: _hyperparameters(architecture, config, sizes, folder))
    if tokenizer is None or hyperparameters is None or notes is None:
        return None
    return Companions(config, architecture, sizes, {**hyperparameters, **tokenizer}, notes)


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
    """The architecture's own keys, in full; what the configuration says goes before what other files say."""
    metadata = architecture.metadata(config, sizes)
    if architecture.folder_metadata is not None:
        metadata = {**architecture.folder_metadata(folder), **metadata}
    return {architecture.key(key): value for key, value in metadata.items()}


def _plan(companions: Companions, checkpoint: Checkpoint, problems: Problems) -> list[PlannedTensor]:
    """The tensors, with their sources as the checkpoint names them."""
    architecture = companions.architecture
    own, twice = canonical_names(checkpoint.tensors, architecture.canonical)
    stored = {name: checkpoint.tensors[raw] for name, raw in own.items()}
    plan = plan_tensors(architecture.tensor_map(companions.config), companions.sizes, stored, architecture.ignores)
    problems.add([*twice, *plan.problems])
    return [tensor.renamed(own) for tensor in plan.tensors]


def _make_jobs(
    examined: Examined, choices: Choices, metadata: Mapping[str, Any], importance: Importance | None
) -> Weighed:
    sources: list[tuple[str, Shape, Pieces]] = [
        (name, array.shape, partial(iter, (array,))) for name, array in examined.extra_tensors.items()
    ]
    for tensor in examined.tensors:
        pieces = make_pieces(tensor, examined.checkpoint.read, examined.companions.sizes)
        sources.append((tensor.name, tensor.shape, pieces))
    known = [name for name, _, _ in sources]
    old_names = dict(zip(known, known, strict=True))
    if kept := _layers_kept(choices, metadata):
        old_names = {new: old for old in known if (new := pruned_name(old, kept))}
        sources = [(new, shape, pieces) for old, shape, pieces in sources if (new := pruned_name(old, kept))]
    types = _choose_types(choices, {name: shape for name, shape, _ in sources}, metadata, importance is not None)
    jobs = tuple(TensorJob(name, shape, types[name], pieces) for name, shape, pieces in sources)
    return weigh(jobs, importance, choices.mix, old_names, known) if importance else Weighed(jobs, ())


def _choose_types(
    choices: Choices, shapes: Mapping[str, Shape], metadata: Mapping[str, Any], has_importance: bool
) -> Mapping[str, str]:
    """As llama-quantize would choose from a GGUF in BF16, or as a conversion to a plain type does."""
    plain = choices.mix if choices.mix in FLOAT_TYPES else WIDE_TYPE
    tensors = [Tensor(name, shape, plain_type(name, shape, plain)) for name, shape in shapes.items()]
    return choose_types(choices, tensors, model_facts(metadata), has_importance=has_importance)
