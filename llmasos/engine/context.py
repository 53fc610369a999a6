"""A context: the KV cache of a model and the forward passes over it. One thread at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmasos.engine.adapter import Adapter, apply_adapters
from llmasos.engine.bindings import Flag, lib, log, make_quietly
from llmasos.engine.model import Model
from llmasos.errors import BadInputError, DoesNotFitError, LlmasosError
from llmasos.hardware.plan import MICRO_BATCH_SIZE

KV_TYPE_IDS = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}  # ggml_type


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """Lengths in tokens. `flash_attention` None leaves it to llama.cpp."""

    context_length: int
    threads: int
    batch_size: int = 512
    kv_type: str = "f16"
    flash_attention: bool | None = None
    sequences: int = 1


class Aborted(Exception):  # noqa: N818 - a signal between two threads, never an error shown to people
    """A forward pass was stopped by `abort`. `kept`: what was in the cache before it still is."""

    def __init__(self, *, kept: bool) -> None:
        super().__init__()
        self.kept = kept


class Context:
    """Holds the keys and values of every sequence. Positions of a sequence go on without a gap."""

    def __init__(self, model: Model, options: ContextOptions, adapters: Sequence[Adapter] = ()) -> None:
        self._abort = Flag()
        params = _context_params(options)
        params.abort_callback, params.abort_callback_data = self._abort.abort_callback(), self._abort.data
        self.handle: Any = make_quietly(lambda: lib.llama_init_from_model(model.handle, params))
        if not self.handle:
            raise _failure(options)
        if adapters:
            apply_adapters(self.handle, adapters)
        self.options = options
        # llama.cpp rounds the context up and, if it was made short, the batch down; what was asked for holds here.
        self.length: int = min(options.context_length, lib.llama_n_ctx_seq(self.handle))
        self.batch_size: int = min(options.batch_size, lib.llama_n_batch(self.handle))
        self._memory = lib.llama_get_memory(self.handle)
        self._batch = lib.llama_batch_init(self.batch_size, 0, 1)

    def decode(self, tokens: Sequence[int], position: int, *, sequence: int = 0, wants_logits: bool = True) -> None:
        """One forward pass of at most `batch_size` tokens at `position`; logits of the last one if wanted.

        Raises Aborted after `abort`; then the positions of this call are not in the cache, and where the model can't
        take back a part of a pass (a recurrent one), nothing is.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = False
        batch.logits[len(tokens) - 1] = wants_logits
        result = lib.llama_decode(self.handle, batch)
        if result == 2:
            kept = self.forget(position, sequence=sequence)
            if not kept:
                self.clear()
            raise Aborted(kept=kept)
        if result != 0:
            raise LlmasosError(
                f"llama.cpp failed in a forward pass ({result}): {log.last_errors() or 'no reason given'}"
            )

    def forget(self, start: int, end: int = -1, *, sequence: int = 0) -> bool:
        """Drops the positions from `start` up to `end` (-1: all that follow).

        False if the model can't (a recurrent one): then only `clear` helps.
        """
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, end))

    def shift(self, start: int, end: int, *, sequence: int = 0) -> None:
        """Drops the positions from `start` up to `end` and moves the later ones down into their place."""
        if not lib.llama_memory_can_shift(self._memory) or not self.forget(start, end, sequence=sequence):
            raise LlmasosError("this model can't forget the middle of its context", hint="choose another --on-overflow")
        lib.llama_memory_seq_add(self._memory, sequence, end, -1, start - end)

    def clear(self) -> None:
        lib.llama_memory_clear(self._memory, True)

    def abort(self) -> None:
        """Stops the forward pass that runs now, or the next one. From any thread."""
        self._abort.set()

    def rearm(self) -> None:
        """Takes back `abort`."""
        self._abort.clear()

    def close(self) -> None:
        if self.handle:
            lib.llama_batch_free(self._batch)
            lib.llama_free(self.handle)
            self.handle = None


def _context_params(options: ContextOptions) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx = options.context_length
    params.n_batch, params.n_ubatch = options.batch_size, min(options.batch_size, MICRO_BATCH_SIZE)
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


def logits_of_last(context: Context, vocabulary_size: int) -> Any:
    """A ctypes view of the last token's logits; it dies with the next forward pass."""
    pointer = lib.llama_get_logits_ith(context.handle, -1)
    return ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * vocabulary_size)).contents
