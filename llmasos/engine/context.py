"""A context: the KV cache of a model and the forward passes over it. One thread at a time.

Sequences share one pool of cells (llama.cpp's unified cache): a long one may take what others leave, and a prefix that
several have in common is held once. Or each has cells of its own: that is faster for many that have nothing in common,
and their numbers do not depend on each other.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.engine.adapter import Adapter, apply_adapters
from llmasos.engine.bindings import Flag, lib, log, make_quietly
from llmasos.engine.model import Model
from llmasos.engine.scheduler import LOGIT_ROWS
from llmasos.errors import BadInputError, DoesNotFitError, LlmasosError
from llmasos.hardware.pace import Pace
from llmasos.hardware.plan import MICRO_BATCH_SIZE

if TYPE_CHECKING:  # it brings NumPy, 0.1 s that answers don't need
    from llmasos.engine.control import Control
    from llmasos.engine.probes import Probe

KV_TYPE_IDS = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}  # ggml_type


MOST_SEQUENCES = 256  # LLAMA_MAX_SEQ
WORTH_COPYING_SHARE = 64  # copying all cells of one takes the time of reading this part of them (one in 64), or less


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens of a sequence for a forward pass, from `position` on; the logits of the last `logit_count` are wanted."""

    sequence: int
    tokens: Sequence[int]
    position: int
    logit_count: int = 1


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """Lengths in tokens. `flash_attention` None leaves it to llama.cpp.

    `parallel` sequences are worked on at a time, all together have `cells` tokens, or as many as one may have if that
    is 0. `kept` more may be remembered for those that will begin like them. With `adapts` fewer threads than `threads`
    compute while others use the cores. Without `pooled` each of them has `context_length` cells of its own. Of prompts
    that are scored `logit_rows` rows of logits are made at a time. With `one_by_one` each forward pass reads for one of
    them alone (`reproducible`). With `guesses` tokens are guessed ahead where that pays (`speculation`).
    """

    context_length: int
    threads: int
    batch_size: int = 512
    kv_type: str = "f16"
    flash_attention: bool | None = None
    parallel: int = 1
    cells: int = 0
    kept: int = 0
    adapts: bool = False
    pooled: bool = True
    one_by_one: bool = False
    guesses: bool = False
    logit_rows: int = LOGIT_ROWS

    @property
    def sequences(self) -> int:
        """How many llama.cpp has to tell apart."""
        return min(self.parallel + self.kept, MOST_SEQUENCES)

    @property
    def all_cells(self) -> int:
        """Tokens that all sequences together may have."""
        return max(self.cells, self.context_length) if self.pooled else self.sequences * self.context_length


def reproducible(options: ContextOptions) -> ContextOptions:
    """The same options, but that nothing computed for a sequence depends on others or on what was before.

    The shape of a pass, the place in the cache, and how attention is added up all move the last digits.
    """
    return replace(options, one_by_one=True, pooled=False, flash_attention=False, adapts=False, kept=0, guesses=False)


class Aborted(Exception):  # noqa: N818 - a signal between two threads, never an error shown to people
    """A forward pass was stopped by `abort`."""


class Context:
    """Holds the keys and values of every sequence. Positions of a sequence go on without a gap.

    A `probe` looks into every pass; what it raises comes out of `decode`.
    """

    def __init__(
        self,
        model: Model,
        options: ContextOptions,
        adapters: Sequence[Adapter] = (),
        *,
        control: Control | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._abort = Flag()
        params = _context_params(options)
        params.abort_callback, params.abort_callback_data = self._abort.abort_callback(), self._abort.data
        if probe:
            probe.attach(params)
        self._probe = probe
        self.handle: Any = make_quietly(lambda: lib.llama_init_from_model(model.handle, params))
        if not self.handle:
            raise _failure(options)
        if adapters:
            apply_adapters(self.handle, adapters)
        if control:
            control.apply(self.handle)
        self.options = options
        self._pace = Pace(options.threads) if options.adapts else None
        # llama.cpp rounds the context up and, if it was made short, the batch down; what was asked for holds here.
        self.capacity: int = min(options.all_cells, lib.llama_n_ctx(self.handle))
        self.length: int = min(options.context_length, self.capacity)
        self.batch_size: int = min(options.batch_size, lib.llama_n_batch(self.handle))
        self._memory = lib.llama_get_memory(self.handle)
        self.is_recurrent = lib.llama_model_is_recurrent(model.handle) or lib.llama_model_is_hybrid(model.handle)
        self._batch = Batch(self.batch_size)

    @property
    def shares_cells(self) -> bool:
        """Whether sequences hold once what they begin with alike."""
        return self.options.pooled and not self.options.one_by_one and not self.is_recurrent

    def decode(self, readings: Sequence[Reading]) -> list[int]:
        """One forward pass of at most `batch_size` tokens; for each reading the index of its last token's logits.

        A wanted logit row before the last has the index before, and so on. Raises Aborted after `abort`: then parts of
        the pass may be in the cache and have to be forgotten.
        """
        if self._pace and self._pace.look():
            lib.llama_set_n_threads(self.handle, self._pace.threads, self._pace.threads)
        # llama.cpp reads those together whose numbers follow each other, if each has cells of its own (split_equal)
        ordered = readings if self.options.pooled else sorted(readings, key=lambda reading: reading.sequence)
        last_indices = self._batch.fill(ordered)
        result = lib.llama_decode(self.handle, self._batch.handle)
        if self._pace:
            self._pace.rest()
        if self._probe:
            self._probe.raise_failure()
        if result == 2:
            raise Aborted
        if result != 0:
            raise LlmasosError(
                f"llama.cpp failed in a forward pass ({result}): {log.last_errors() or 'no reason given'}"
            )
        ends = dict(zip((reading.sequence for reading in ordered), last_indices, strict=True))
        return [ends[reading.sequence] for reading in readings]

    def copy(self, source: int, target: int, length: int) -> bool:
        """Gives an empty sequence the first `length` positions of another, of a pool in the same cells.

        False if the model can't, as a recurrent one has but the state at its end, or if reading them is quicker.
        """
        if self.is_recurrent and lib.llama_memory_seq_pos_max(self._memory, source) != length - 1:
            return False
        if self.options.pooled:
            lib.llama_memory_seq_cp(self._memory, source, target, 0, length)
            return True
        if length * WORTH_COPYING_SHARE < self.length:
            return False
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)  # all cells are copied at the next pass
        return self.forget(length, sequence=target)

    def forget(self, start: int, end: int = -1, *, sequence: int = 0) -> bool:
        """Drops the positions from `start` up to `end` (-1: all that follow).

        False if the model can't (a recurrent one): then only `clear` helps.
        """
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, end))

    def shift(self, start: int, end: int, *, sequence: int = 0) -> bool:
        """Drops the positions from `start` up to `end` and moves the later ones down into their place.

        False if the model can't.
        """
        if not lib.llama_memory_can_shift(self._memory) or not self.forget(start, end, sequence=sequence):
            return False
        lib.llama_memory_seq_add(self._memory, sequence, end, -1, start - end)
        return True

    def save(self, sequence: int, tokens: Sequence[int], path: Path) -> bool:
        """Writes the keys and values of a sequence to a file, behind these tokens."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        return bool(lib.llama_state_seq_save_file(self.handle, os.fsencode(path), sequence, array, len(tokens)))

    def restore(self, sequence: int, token_count: int, path: Path) -> bool:
        """Reads keys and values from a file that has so many tokens into an empty sequence.

        False if they are not what this context holds, or there is no room; then the sequence may hold a part.
        """
        array, count = (ctypes.c_int32 * token_count)(), ctypes.c_size_t()
        place = ctypes.byref(count)
        return bool(lib.llama_state_seq_load_file(self.handle, os.fsencode(path), sequence, array, token_count, place))

    def abort(self) -> None:
        """Stops the forward pass that runs now, or the next one. From any thread."""
        self._abort.set()

    def rearm(self) -> None:
        """Takes back `abort`."""
        self._abort.clear()

    def close(self) -> None:
        if self.handle:
            self._batch.free()
            lib.llama_free(self.handle)
            self.handle = None


class Batch:
    """llama.cpp's batch, filled by whole slices: token by token, Python would be what prompts wait for.

    With a `width` it holds vectors of so many numbers in place of tokens.
    """

    def __init__(self, size: int, *, width: int = 0) -> None:
        self.handle = lib.llama_batch_init(size, width, 1)

        def view(pointer: Any, kind: Any) -> Any:
            return ctypes.cast(pointer, ctypes.POINTER(kind * size)).contents

        self._tokens = None if width else view(self.handle.token, ctypes.c_int32)
        self._positions = view(self.handle.pos, ctypes.c_int32)
        self._wanted = view(self.handle.logits, ctypes.c_int8)
        view(self.handle.n_seq_id, ctypes.c_int32)[:] = [1] * size
        self._sequences = self.handle.seq_id

    def fill(self, readings: Sequence[Reading]) -> list[int]:
        start, last_indices = 0, []
        for reading in readings:
            count = len(reading.tokens)
            end = start + count
            if self._tokens is not None:
                self._tokens[start:end] = reading.tokens
            self._positions[start:end] = range(reading.position, reading.position + count)
            self._wanted[start:end] = [0] * (count - reading.logit_count) + [1] * reading.logit_count
            for index in range(start, end):
                self._sequences[index][0] = reading.sequence
            last_indices.append(end - 1)
            start = end
        self.handle.n_tokens = start
        return last_indices

    def fill_vectors(self, arrays: Iterable[Any]) -> None:
        """The vectors of the readings, in their order: arrays of float32 (tokens, width)."""
        place = ctypes.addressof(self.handle.embd.contents)
        for array in arrays:
            ctypes.memmove(place, array.ctypes.data, array.nbytes)
            place += array.nbytes

    def free(self) -> None:
        lib.llama_batch_free(self.handle)


def _context_params(options: ContextOptions) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx, params.kv_unified = options.all_cells, options.pooled
    batch_size = max(options.batch_size, options.sequences)  # llama.cpp aborts if a pass can't hold a token of each
    params.n_batch, params.n_ubatch = batch_size, min(batch_size, MICRO_BATCH_SIZE)
    params.n_seq_max = options.sequences
    params.n_threads = params.n_threads_batch = options.threads
    params.type_k = params.type_v = KV_TYPE_IDS[options.kv_type]
    if options.flash_attention is not None:
        params.flash_attn_type = int(options.flash_attention)
    params.no_perf = True
    return params


def _failure(options: ContextOptions) -> LlmasosError:
    reason = log.last_errors() or "llama.cpp gives no reason"
    if "alloc" in reason:
        return DoesNotFitError(
            f"no memory for a context of {options.context_length} tokens: {reason}",
            hint="try a shorter --context-length",
        )
    return BadInputError(f"no context can be made for this model: {reason}", hint="try other loading options")


def logits_at(context: Context, index: int, vocabulary_size: int) -> Any:
    """A ctypes view of the logits at an index of the last pass; it dies with the next one."""
    pointer = lib.llama_get_logits_ith(context.handle, index)
    return ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * vocabulary_size)).contents
