"""Embeddings: texts to vectors by a model that was made for it, with the pooling that its file names.

Many texts go through each forward pass. A context of its own, as such a model writes nothing.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from llmasos.engine.bindings import in_thread, lib, log, make_quietly
from llmasos.engine.context import Batch, Reading
from llmasos.engine.model import Model
from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError

TEXTS_AT_ONCE = 64
NO_POOLING, RANK_POOLING = 0, 4  # llama_pooling_type


class Embedder:
    """`with` frees the context; the model belongs to whoever loaded it. Any thread may ask, one is served at a time.

    A text has at most `longest` tokens: such models read a text whole, in one pass.
    """

    def __init__(self, model: Model, *, longest: int, threads: int) -> None:
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = longest
        params.n_seq_max, params.kv_unified = min(TEXTS_AT_ONCE, longest), True
        params.n_threads = params.n_threads_batch = threads
        params.embeddings = params.no_perf = True
        self.handle: Any = make_quietly(lambda: lib.llama_init_from_model(model.handle, params))
        if not self.handle:
            raise BadInputError(f"no context can be made for this model: {log.last_errors() or 'no reason given'}")
        self.model, self.longest = model, longest
        self.width: int = lib.llama_model_n_embd(model.handle)
        self._batch = Batch(longest)
        self._asking = threading.Lock()
        if (pooling := lib.llama_pooling_type(self.handle)) in (NO_POOLING, RANK_POOLING):
            self.close()
            why = "it ranks texts" if pooling == RANK_POOLING else "it has no pooling, which makes one vector of a text"
            raise BadInputError(f"this model gives no embeddings: {why}")

    def embed(self, texts: Sequence[Sequence[int]], *, normalize: bool = True) -> list[list[float]]:
        """A vector of `width` numbers for the tokens of each text, of length 1 unless `normalize` is off.

        Raises PromptTooLongError and BadInputError for a text that is too long, or none.
        """
        for tokens in texts:
            if not tokens:
                raise BadInputError("a text is empty", hint="leave it out")
            if len(tokens) > self.longest:
                raise PromptTooLongError(len(tokens), self.longest)
        vectors: list[list[float]] = []
        with self._asking:
            if not self.handle:
                raise LlmasosError("this model is closed")
            for group in _groups(texts, self.longest):
                vectors += in_thread(lambda group=group: self._pass(group))  # type: ignore[misc]
        return [_normalized(vector) for vector in vectors] if normalize else vectors

    def close(self) -> None:
        if self.handle:
            self._batch.free()
            lib.llama_free(self.handle)
            self.handle = None

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pass(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        if memory := lib.llama_get_memory(self.handle):
            lib.llama_memory_clear(memory, True)
        self._batch.fill([Reading(number, tokens, 0, len(tokens)) for number, tokens in enumerate(texts)])
        if (result := lib.llama_decode(self.handle, self._batch.handle)) != 0:
            raise LlmasosError(f"llama.cpp failed in a forward pass ({result}): {log.last_errors() or 'no reason'}")
        return [self._vector(number) for number in range(len(texts))]

    def _vector(self, number: int) -> list[float]:
        pointer = lib.llama_get_embeddings_seq(self.handle, number)
        return list(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * self.width)).contents)


def _groups(texts: Sequence[Sequence[int]], room: int) -> Iterator[list[Sequence[int]]]:
    """Texts in their order, as many at a time as one pass takes."""
    group: list[Sequence[int]] = []
    for tokens in texts:
        if group and (len(group) == TEXTS_AT_ONCE or sum(map(len, group)) + len(tokens) > room):
            yield group
            group = []
        group.append(tokens)
    if group:
        yield group


def _normalized(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
