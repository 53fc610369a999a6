"""Forward passes of models that make one row of numbers of a text: a vector, or scores, by a pooling over its tokens.

Many texts go through each pass. A context of its own, as such a model writes nothing.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llmasos.engine.background import in_thread
from llmasos.engine.bindings import lib, log, make_quietly
from llmasos.engine.context import KV_TYPE_IDS, Batch, Reading
from llmasos.engine.model import Model
from llmasos.errors import BadInputError, LlmasosError, PromptTooLongError
from llmasos.formats.purpose import Pooling

if TYPE_CHECKING:
    from llmasos.engine.probes import Probe

TEXTS_AT_ONCE = 64
TOKENS_AT_ONCE = 512  # of several texts; a longer pass is no quicker, and much slower without flash attention


@dataclass(frozen=True, slots=True)
class PooledOptions:
    """`longest`: the tokens of a text at most. `flash_attention` None leaves it to llama.cpp.

    Without `in_pieces` a text is read in one pass however long it is, as a model has to that reads both ways. With
    `one_by_one` a text's numbers do not depend on those beside it.
    """

    longest: int
    threads: int
    flash_attention: bool | None = None
    kv_type: str = "f16"
    in_pieces: bool = False
    one_by_one: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens to read. Those from `second_from` on are a second text, where there are two."""

    tokens: Sequence[int]
    second_from: int | None = None


VectorsOf = Callable[[Text], Any]  # float32 (tokens, width): what stands for the tokens where the model begins


class PooledContext:
    """`close` frees the context; the model belongs to whoever loaded it. Any thread may ask, one is served at a time.

    `pooling` None is that of the file. With `vectors_of` the model is given those in place of tokens. A `probe` looks
    into every pass; what it raises comes out of `read`.
    """

    def __init__(
        self,
        model: Model,
        options: PooledOptions,
        *,
        pooling: Pooling | None = None,
        vectors_of: VectorsOf | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._texts_at_once = 1 if options.one_by_one else min(TEXTS_AT_ONCE, options.longest)
        params = _context_params(options, pooling, self._texts_at_once)
        if probe:
            probe.attach(params)
        self._probe = probe
        self.handle: Any = make_quietly(lambda: lib.llama_init_from_model(model.handle, params))
        if not self.handle:
            raise BadInputError(f"no context can be made for this model: {log.last_errors() or 'no reason given'}")
        self.pooling: int = lib.llama_pooling_type(self.handle)
        width: int = lib.llama_model_n_embd(model.handle)
        self.width = model.score_count if self.pooling == Pooling.RANK else width
        self._model, self._longest, self._vectors_of = model, options.longest, vectors_of
        self._batch = Batch(options.longest, width=width if vectors_of else 0)
        self._asking = threading.Lock()

    def require_room(self, text: Text, name: str) -> None:
        """Raises PromptTooLongError, in which the text is called `name`, for one that is too long."""
        if (count := len(text.tokens)) > self._longest:
            longer = "raise --context-length, or " if self._longest < self._model.trained_context_length else ""
            raise PromptTooLongError(count, self._longest, name=name, hint=f"{longer}give it in parts")

    def read(self, texts: Sequence[Text]) -> list[list[float]]:
        """A row of `width` numbers for each text, none of which may be empty or too long."""
        rows: list[list[float]] = []
        with self._asking:
            if not self.handle:
                raise LlmasosError("this model is closed")
            for group in groups(texts, self._texts_at_once, min(TOKENS_AT_ONCE, self._longest)):
                rows += in_thread(partial(self._pass, group))
        return rows

    def close(self) -> None:
        """Waits for whoever is being served."""
        with self._asking:
            if self.handle:
                self._batch.free()
                lib.llama_free(self.handle)
                self.handle = None

    def _pass(self, texts: Sequence[Text]) -> list[list[float]]:
        if memory := lib.llama_get_memory(self.handle):
            lib.llama_memory_clear(memory, True)
        self._batch.fill([Reading(number, text.tokens, 0, len(text.tokens)) for number, text in enumerate(texts)])
        if self._vectors_of:
            self._batch.fill_vectors(map(self._vectors_of, texts))
        result = lib.llama_decode(self.handle, self._batch.handle)
        if self._probe:
            self._probe.raise_failure()
        if result != 0:
            raise LlmasosError(f"llama.cpp failed in a forward pass ({result}): {log.last_errors() or 'no reason'}")
        return [self._row(number) for number in range(len(texts))]

    def _row(self, number: int) -> list[float]:
        pointer = lib.llama_get_embeddings_seq(self.handle, number)
        return list(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * self.width)).contents)


def groups(texts: Sequence[Text], most: int, room: int) -> Iterator[list[Text]]:
    """Texts in their order, at most so many at a time, with `room` tokens together; a longer one goes by itself."""
    group: list[Text] = []
    left = room
    for text in texts:
        if group and (len(group) == most or len(text.tokens) > left):
            yield group
            group, left = [], room
        group.append(text)
        left -= len(text.tokens)
    if group:
        yield group


def _context_params(options: PooledOptions, pooling: Pooling | None, texts_at_once: int) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = options.longest
    params.n_ubatch = min(options.longest, TOKENS_AT_ONCE) if options.in_pieces else options.longest
    params.n_seq_max, params.kv_unified = texts_at_once, True
    params.n_threads = params.n_threads_batch = options.threads
    params.type_k = params.type_v = KV_TYPE_IDS[options.kv_type]
    params.embeddings = params.no_perf = True
    if options.flash_attention is not None:
        params.flash_attn_type = int(options.flash_attention)
    if pooling is not None:
        params.pooling_type = pooling
    return params
