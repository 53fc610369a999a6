"""From a GGUF back to a Hugging Face checkpoint: weights dequantized, configuration and tokenizer as files again.

Checked whole first; then the tensors are read, undone, rounded and written as they come.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from llmasos.conversion.architecture import Architecture, all_architectures, no_extra_tensors
from llmasos.conversion.convert import Problems
from llmasos.conversion.exporting.configuration import UNDERSTOOD
from llmasos.conversion.exporting.described import Described
from llmasos.conversion.exporting.folder import filled_whole
from llmasos.conversion.exporting.generation import generation_config
from llmasos.conversion.exporting.tokenizer import tokenizer_files, vocabulary_of
from llmasos.conversion.exporting.weights import ExportedTensor, export_tasks, plan_export, read_values
from llmasos.conversion.exporting.words import special_ids
from llmasos.conversion.generation import FILE as GENERATION
from llmasos.conversion.gguf_sizes import find_gguf_architecture
from llmasos.conversion.rules import Sizes
from llmasos.conversion.tokenizers.tokenizer_files import CONFIG, TOKENIZER
from llmasos.conversion.tokenizers.vocabulary import Vocabulary
from llmasos.errors import BadInputError
from llmasos.files import disk_full_is_an_error, require_room
from llmasos.formats.gguf import GgufHeader
from llmasos.formats.gguf_tensors import GgufModel, open_gguf_model
from llmasos.formats.safetensors_writer import INDEX, FileToWrite, index_text, plan_files
from llmasos.hardware.machine import usable_cores
from llmasos.progress import Progress
from llmasos.quantization.pool import CHUNKS_IN_FLIGHT, in_order, worker_pool, write_all

TYPES = {"BF16": "bfloat16", "F32": "float32", "F16": "float16"}  # as safetensors and as config.json call them
DEFAULT_TYPE = "BF16"
MOST_FILE_BYTES = 5_000_000_000  # of tensors in one file, by transformers' custom


@dataclass(frozen=True, slots=True)
class PreparedExport:
    """A model that nothing keeps from being exported; none of its weights have been read.

    `texts` holds the checkpoint's small files by name; `left_out` the keys of the metadata that it has no place for.
    """

    architecture: str  # transformers' class
    type_name: str
    tensors: tuple[ExportedTensor, ...]
    sizes: Sizes
    texts: Mapping[str, str]
    left_out: tuple[str, ...]

    @property
    def files(self) -> list[FileToWrite]:
        """The files with weights."""
        return plan_files([tensor.written_as(self.type_name) for tensor in self.tensors], MOST_FILE_BYTES)

    @property
    def size(self) -> int:
        """In bytes, of all files."""
        return sum(file.byte_count for file in self.files) + sum(len(text.encode()) for text in self.texts.values())

    def write(self, folder: Path, *, progress: Progress | None = None) -> list[Path]:
        """Writes the checkpoint into a folder that is new or empty, and returns its files.

        Nothing is visible in it before all of it is there. Raises BadInputError for a place that can't be written and
        for weights that the type has no numbers for, BusyError, and DiskFullError, before anything is read if the room
        can be known to be too small.
        """
        progress, files = progress or Progress(), self.files
        for key in self.left_out:
            progress.note(f"a checkpoint has no place for {key}, which is left out")
        texts = {**self.texts, **({INDEX: index_text(files)} if len(files) > 1 else {})}
        with (
            disk_full_is_an_error(folder / CONFIG),
            filled_whole(folder, last=CONFIG) as place,
            progress.work(f"writing {folder.resolve().name}", sum(file.byte_count for file in files)),
        ):
            require_room(place, self.size, "the checkpoint")
            for name, text in texts.items():
                (place / name).parent.mkdir(exist_ok=True)
                (place / name).write_text(text, encoding="utf-8", newline="")
            self._write_weights(place, files, progress)
        return sorted(folder / name for name in (*texts, *(file.name for file in files)))

    def _write_weights(self, place: Path, files: Sequence[FileToWrite], progress: Progress) -> None:
        by_name = {tensor.name: tensor for tensor in self.tensors}
        workers, done = usable_cores(), 0
        with worker_pool(workers) as pool:
            for file in files:
                tasks = (
                    task
                    for tensor in file.tensors
                    for task in export_tasks(by_name[tensor.name], self.type_name, self.sizes, pool)
                )
                with FileIO(place / file.name, "w") as written:
                    write_all(written, np.frombuffer(file.header, np.uint8))
                    done += len(file.header)
                    for content in in_order(pool, tasks, CHUNKS_IN_FLIGHT * workers):
                        write_all(written, content)
                        done += content.nbytes
                        progress.update(done)


def export(
    paths: Sequence[Path], folder: Path, type_name: str = DEFAULT_TYPE, *, progress: Progress | None = None
) -> list[Path]:
    """Exports a model, given by its GGUF files in order, as a checkpoint of the type BF16, F32 or F16.

    Raises BadInputError that lists everything which is in the way, before any weight is read.
    """
    return prepare_export(paths, type_name).write(folder, progress=progress)


def find_type(name: str) -> str:
    """A type of weights by its name in capitals or small letters. Raises BadInputError, with those there are."""
    if name.upper() not in TYPES:
        raise BadInputError(f"a checkpoint can't be `{name}`", hint="types: bf16, f32, f16")
    return name.upper()


def prepare_export(paths: Sequence[Path], type_name: str = DEFAULT_TYPE) -> PreparedExport:
    """Looks at everything but the weights. Raises BadInputError with all the problems that there are."""
    type_name, model = find_type(type_name), open_gguf_model(paths)
    problems = Problems(paths[0], "exported")
    vocabulary = problems.attempt(lambda: vocabulary_of(model.header.metadata))
    found = problems.attempt(lambda: _find_architecture(model.header))
    if found is None:
        raise problems.error()
    architecture, sizes = found
    plan = plan_export(architecture.rules, sizes, model.tensors, _placeless(architecture))
    problems.add(plan.problems)
    context_length = model.header.number("context_length", 0) or 0
    tokenizer = problems.attempt(lambda: tokenizer_files(vocabulary, context_length)) if vocabulary else None
    config = None if plan.problems else problems.attempt(lambda: _config(architecture, model, sizes))
    if problems or vocabulary is None or tokenizer is None or config is None:
        raise problems.error()
    _check_count(vocabulary, sizes, problems)
    config |= {**_ids(vocabulary), "torch_dtype": TYPES[type_name]}
    generation = generation_config(model.header.metadata, vocabulary)
    texts = {name: _text(name, value) for name, value in {CONFIG: config, GENERATION: generation, **tokenizer}.items()}
    left_out = tuple(_left_out(model.header))
    return PreparedExport(architecture.classes[0], type_name, tuple(plan.tensors), sizes, texts, left_out)


def _find_architecture(header: GgufHeader) -> tuple[Architecture, Sizes]:
    exportable = sorted({each.name for each in all_architectures() if each.config_of is not None})
    if header.architecture not in exportable:
        raise BadInputError(
            f"models of the architecture {header.architecture} can't be exported; {', '.join(exportable)} can"
        )
    architecture, sizes = find_gguf_architecture([header])
    if architecture.config_of is None:
        raise BadInputError(f"it is one of {architecture.classes[0]}, which can't be exported")
    return architecture, sizes


def _placeless(architecture: Architecture) -> tuple[str, ...]:
    """Tensors that a conversion computes and an export reads its parameters from."""
    return () if architecture.extra_tensors is no_extra_tensors else ("rope_freqs.weight",)


def _config(architecture: Architecture, model: GgufModel, sizes: Sizes) -> dict[str, Any]:
    assert architecture.config_of is not None
    tensors = model.tensors
    described = Described(
        architecture.name, model.header.metadata, sizes, tensors.keys(), lambda name: read_values(tensors[name])
    )
    return architecture.config_of(described)


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    ids = special_ids(vocabulary)
    return {f"{kind}_token_id": ids[kind] for kind in ("bos", "eos", "pad") if kind in ids}


def _check_count(vocabulary: Vocabulary, sizes: Sizes, problems: Problems) -> None:
    if len(vocabulary.tokens) > sizes["vocab"]:
        problems.add([f"there are {len(vocabulary.tokens)} tokens and embeddings of {sizes['vocab']}"])
        raise problems.error()


def _left_out(header: GgufHeader) -> Iterator[str]:
    own: Collection[str] = [key for key in header.metadata if key.startswith(f"{header.architecture}.")]
    yield from (key for key in own if key.removeprefix(f"{header.architecture}.") not in UNDERSTOOD)


def _text(name: str, value: dict[str, Any] | str) -> str:
    """JSON is indented for people, but for tokenizer.json: half a million merges would take many seconds."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=None if name == TOKENIZER else 2) + "\n"
