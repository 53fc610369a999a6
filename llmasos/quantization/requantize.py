"""From a GGUF to one of another type: what llama-quantize makes of it, to the last byte.

Metadata is copied as it stands, whatever is in it; tensors are mapped, decoded and encoded as they are written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmasos.errors import BadInputError, CorruptModelError
from llmasos.formats.gguf import GgufHeader
from llmasos.formats.gguf_tensors import GgufModel, GgufTensor, open_gguf_model
from llmasos.quantization.choices import Choices
from llmasos.quantization.decode import FLOATS, can_decode
from llmasos.quantization.header import ALIGNMENT_KEY, KINDS, LEAST_ALIGNMENT, Encoded, Typed, Value
from llmasos.quantization.importance import Importance
from llmasos.quantization.mixes import Tensor, choose_types, model_facts
from llmasos.quantization.prepared import Prepared
from llmasos.quantization.pruning import LAYER_COUNT, layers_kept, pruned_metadata, pruned_name
from llmasos.quantization.types import file_type
from llmasos.quantization.weighing import Weighed, weigh
from llmasos.quantization.writer import TensorJob

QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
VERSION_KEY, FILE_TYPE_KEY = "general.quantization_version", "general.file_type"
SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")
KIND_NAMES = {number: name for name, number in KINDS.items()}
SHOWN = 3

Named = tuple[str, GgufTensor]  # the name that the tensor will have, and the tensor


def prepare_quantization(
    paths: Sequence[Path], choices: Choices, importance: Importance | None = None, *, keep_split: bool = False
) -> Prepared:
    """Looks at everything but the weights of a model, given by its GGUF files in order.

    With `keep_split` every tensor stays in the file that it is in, and at its place there. Raises BadInputError for
    what can't be quantized, or not without `allow_requantize`, or not to that type, and for the importance matrix of
    another model; CorruptModelError.
    """
    model = open_gguf_model(paths, whole=())
    _require_model(model.header, paths[0])
    layer_count = model.header.number(LAYER_COUNT) or 0
    kept = layers_kept(choices.pruned_layers, layer_count) if choices.pruned_layers else None
    named = _named(model, paths, kept, keep_split=keep_split)
    types = choose_types(
        choices,
        [Tensor(name, tensor.shape, tensor.type) for name, tensor in named],
        model_facts(model.header.metadata),
        has_importance=importance is not None,
        are_ordered=keep_split,
    )
    _require_decodable(named, types, choices, paths[0])
    jobs = tuple(
        TensorJob(name, tensor.shape, types[name], lambda tensor=tensor: [tensor.rows()], tensor.type)  # type: ignore[misc]
        for name, tensor in named
    )
    weighed = Weighed(jobs, ())
    if importance:
        weighed = weigh(jobs, importance, choices.mix, {name: tensor.name for name, tensor in named}, model.tensors)
    metadata = _metadata(model.header, paths[0], choices.mix, kept, importance)
    part_lengths = _part_lengths(named, paths) if keep_split else ()
    return Prepared(
        model.header.architecture,
        choices.mix,
        metadata,
        weighed.jobs,
        part_lengths=part_lengths,
        notes=weighed.notes,
    )


def _require_model(header: GgufHeader, path: Path) -> None:
    kind = header.metadata.get("general.type", "model")
    if kind != "model" or header.architecture in ("unknown", "clip"):
        raise BadInputError(
            f"{path} can't be quantized: it says that it is `{kind if kind != 'model' else header.architecture}`",
            hint="an adapter gets its type when it is converted" if kind == "adapter" else None,
        )


def _named(model: GgufModel, paths: Sequence[Path], kept: Sequence[int] | None, *, keep_split: bool) -> list[Named]:
    """The tensors that stay; as they lie in the files if those are kept."""
    tensors = list(model.tensors.values())
    if keep_split:
        tensors.sort(key=lambda tensor: (paths.index(tensor.place.path), tensor.place.offset))
    if kept is None:
        return [(tensor.name, tensor) for tensor in tensors]
    return [(name, tensor) for tensor in tensors if (name := pruned_name(tensor.name, kept)) is not None]


def _part_lengths(named: Sequence[Named], paths: Sequence[Path]) -> tuple[int, ...]:
    """How many tensors each file holds. A file that pruning leaves without any is dropped, but for the first."""
    counts = [sum(tensor.place.path == path for _, tensor in named) for path in paths]
    return (counts[0], *filter(None, counts[1:]))


def _require_decodable(named: Sequence[Named], types: Mapping[str, str], choices: Choices, path: Path) -> None:
    changed = [tensor for name, tensor in named if types[name] != tensor.type]
    if unknown := [tensor for tensor in changed if not can_decode(tensor.type)]:
        raise BadInputError(f"the tensor `{unknown[0].name}` is {unknown[0].type}, which can't be made weights again")
    quantized = sorted({tensor.type for tensor in changed if tensor.type not in FLOATS})
    if quantized and not choices.allow_requantize:
        listed = ", ".join(quantized[:SHOWN]) + (" and more" if len(quantized) > SHOWN else "")
        raise BadInputError(
            f"{path.name} is quantized already ({listed}), and would lose more in {choices.mix} than it has to",
            hint="begin with the model in F16 or BF16, or its checkpoint; --allow-requantize does it all the same",
        )


def _metadata(
    header: GgufHeader, path: Path, mix: str, kept: Sequence[int] | None, importance: Importance | None
) -> dict[str, Value]:
    """The model's own, byte for byte; the parts' keys left out, and last what quantizing changes."""
    added = importance.metadata if importance else {}
    left_out = (*SPLIT_KEYS, VERSION_KEY, FILE_TYPE_KEY, *added)
    own = {key: value for key, value in header.metadata.items() if key not in left_out}
    if ALIGNMENT_KEY in own:
        own[ALIGNMENT_KEY] = max(LEAST_ALIGNMENT, own[ALIGNMENT_KEY])
    metadata: dict[str, Any] = {**own, VERSION_KEY: QUANTIZATION_VERSION, FILE_TYPE_KEY: file_type(mix), **added}
    if kept is not None:
        metadata = pruned_metadata(metadata, kept)
    encoded = {key: value for key, value in _encoded_values(header, path) if key != ALIGNMENT_KEY}
    return {
        key: encoded[key] if key in encoded and value is own.get(key) else _like(encoded.get(key), value)
        for key, value in metadata.items()
    }


def _encoded_values(header: GgufHeader, path: Path) -> Iterator[tuple[str, Encoded]]:
    try:
        with path.open("rb") as file:
            content = file.read(header.data_offset)
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
    if len(content) < header.data_offset:
        raise CorruptModelError(f"{path} has become shorter while it was used")
    for key, (start, end) in header.value_places.items():
        yield key, Encoded(content[start:end])


def _like(encoded: Encoded | None, value: Value) -> Value:
    """A new value; a list's items are stored as those of the old list are."""
    if encoded is None or not isinstance(value, list):
        return value
    (kind,) = struct.unpack_from("<I", encoded.content, 4)
    return Typed(value, KIND_NAMES[kind])
