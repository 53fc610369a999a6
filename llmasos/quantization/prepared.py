"""A GGUF that is ready to be written, whatever it is made of: its types and its size can be told beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmasos.errors import UnsuitableTypeError
from llmasos.progress import Progress
from llmasos.quantization.writer import TensorJob, part_paths, planned_size, write_gguf


@dataclass(frozen=True, slots=True)
class TypeShare:
    """What has one type in a model: so many tensors, of so many bytes together."""

    tensor_count: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that nothing keeps from being written; none of its weights have been read."""

    architecture: str  # llama.cpp's name
    type_name: str  # the file type, never `auto`
    metadata: Mapping[str, Any]
    jobs: tuple[TensorJob, ...]
    instead: Prepared | None = None  # what is written if weights turn out too large for a type that nobody asked for
    part_lengths: tuple[int, ...] = ()  # the numbers of tensors in each file, in the order of `jobs`, if they are fixed
    notes: tuple[str, ...] = ()  # on what will differ from the original: told when it is written

    @property
    def size(self) -> int:
        """In bytes, of the GGUF."""
        return planned_size(self.metadata, self.jobs, part_lengths=self.part_lengths)

    @property
    def shares(self) -> dict[str, TypeShare]:
        """What has which type, the most bytes first."""
        shares: dict[str, TypeShare] = {}
        for job in self.jobs:
            before = shares.get(job.type, TypeShare(0, 0))
            shares[job.type] = TypeShare(before.tensor_count + 1, before.byte_count + job.byte_count)
        return dict(sorted(shares.items(), key=lambda item: -item[1].byte_count))

    def paths(self, output: Path) -> list[Path]:
        """The files that `write` writes if it isn't told to split."""
        return part_paths(output, len(self.part_lengths) or 1)

    def write(self, output: Path, *, split_max_bytes: int = 0, progress: Progress | None = None) -> list[Path]:
        """Writes the GGUF, in parts of at most so many bytes if that is not 0, and returns the paths.

        Nothing is visible at `output` before all of it is there. Raises DiskFullError, before anything is written if
        the room can be known to be too small, and BadInputError for weights that can't be encoded.
        """
        progress = progress or Progress()
        for note in self.notes:
            progress.note(note)
        try:
            return write_gguf(
                output,
                self.metadata,
                self.jobs,
                progress=progress,
                split_max_bytes=split_max_bytes,
                part_lengths=self.part_lengths,
            )
        except UnsuitableTypeError as error:
            if self.instead is None:
                raise
            progress.note(f"{error.message}; writing {self.instead.type_name}")
        return replace(self.instead, notes=()).write(output, split_max_bytes=split_max_bytes, progress=progress)
