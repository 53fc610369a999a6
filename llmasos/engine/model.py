"""A model in memory: its weights and its vocabulary."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.engine.background import do_nothing
from llmasos.engine.bindings import Flag, lib, log, make_quietly
from llmasos.errors import BadInputError, CorruptModelError, LlmasosError

LARGEST_PIECE = 256  # bytes of a token; longer ones are asked for again


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How llama.cpp is to load the weights."""

    gpu_layers: int = 0
    mmap: bool = True
    mlock: bool = False
    tensor_split: tuple[float, ...] = ()  # each card's share; empty leaves it to llama.cpp
    vocabulary_only: bool = False  # no weights: such a model makes tokens and text of each other, and nothing else

    @property
    def load_mode(self) -> int:
        modes = {
            (True, True): lib.LLAMA_LOAD_MODE_MMAP_MLOCK,
            (True, False): lib.LLAMA_LOAD_MODE_MMAP,
            (False, True): lib.LLAMA_LOAD_MODE_MLOCK,
            (False, False): lib.LLAMA_LOAD_MODE_NONE,
        }
        return int(modes[self.mmap, self.mlock])


class Model:
    """Weights and vocabulary. Thread-safe but for `close`; free it after every context made from it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.vocabulary = lib.llama_model_get_vocab(handle)
        self.vocabulary_size: int = lib.llama_vocab_n_tokens(self.vocabulary)
        self.trained_context_length: int = lib.llama_model_n_ctx_train(handle)

    @property
    def template(self) -> str | None:
        """The chat template inside the file, in Jinja, or None."""
        return self._template(None)

    @property
    def tool_template(self) -> str | None:
        """Its template for conversations with tools, where the file has one for these alone."""
        return self._template(b"tool_use")

    @property
    def rerank_template(self) -> str | None:
        """Its template for a query and a document, with `{query}` and `{document}` in their places, or None."""
        return self._template(b"rerank")

    def _template(self, name: bytes | None) -> str | None:
        text = lib.llama_model_chat_template(self.handle, name)
        return text.decode("utf-8", "replace") if text else None

    @property
    def score_count(self) -> int:
        """How many numbers a classifier's head gives; 1 for models without one."""
        return int(lib.llama_model_n_cls_out(self.handle))

    @property
    def needs_encoder(self) -> bool:
        """True for models that read through an encoder (T5 and its like), which the engine does not drive."""
        return bool(lib.llama_model_has_encoder(self.handle))

    def special_text(self, kind: str) -> str:
        """The text of the `bos` or `eos` token; empty if the model has none."""
        token = self.special_token(kind)
        return "" if token is None else lib.llama_vocab_get_text(self.vocabulary, token).decode("utf-8", "replace")

    def special_token(self, kind: str) -> int | None:
        """The `bos`, `eos` or `sep` token; None if the model has none."""
        token: int = getattr(lib, f"llama_vocab_{kind}")(self._open_vocabulary())
        return token if token >= 0 else None

    def adds(self, kind: str) -> bool:
        """Whether the model wants a `bos` before a text, an `eos` behind it, a `sep` between two."""
        return bool(getattr(lib, f"llama_vocab_get_add_{kind}")(self._open_vocabulary()))

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids.

        `add_special` adds what the model wants around a text (BOS); `parse_special` reads `<|special|>` names as the
        tokens that they name, which only templates may ask for.
        """
        raw = text.encode("utf-8", "replace")
        count = len(raw) + 8
        while True:
            tokens = (ctypes.c_int32 * count)()
            found = lib.llama_tokenize(
                self._open_vocabulary(), raw, len(raw), tokens, count, add_special, parse_special
            )
            if found >= 0:
                return tokens[:found]
            if -found <= count:
                raise BadInputError(f"the text can't be split into tokens ({len(raw)} bytes)")
            count = -found

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; those of control tokens only if `special`."""
        size = LARGEST_PIECE
        while True:
            buffer = ctypes.create_string_buffer(size)
            found = lib.llama_token_to_piece(self._open_vocabulary(), token, buffer, size, 0, special)
            if found >= 0:
                return buffer.raw[:found]
            size = -found

    def _open_vocabulary(self) -> Any:
        if not self.handle:
            raise LlmasosError("this model is closed")
        return self.vocabulary

    def detokenize(self, tokens: Sequence[int], *, shown: Set[int] = frozenset()) -> str:
        """Token ids to text, without control tokens but those `shown`."""
        pieces = (self.piece(token, special=token in shown) for token in tokens)
        return b"".join(pieces).decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """True for every token that ends an answer."""
        return bool(lib.llama_vocab_is_eog(self.vocabulary, token))

    def close(self) -> None:
        if self.handle:
            lib.llama_model_free(self.handle)
            self.handle = None


def load_model(paths: Sequence[Path], options: ModelOptions, *, meanwhile: Callable[[], None] = do_nothing) -> Model:
    """Loads a GGUF from its shards, in their order; `meanwhile` is called while that goes on.

    Ctrl-C ends loading at once. Raises CorruptModelError with llama.cpp's reason. A file that nobody vouches for can
    abort the process: try it first (`trial`).
    """
    goes_on = Flag(is_set=True)
    params = lib.llama_model_default_params()
    params.n_gpu_layers = options.gpu_layers
    params.load_mode = options.load_mode
    params.vocab_only = options.vocabulary_only
    params.progress_callback, params.progress_callback_user_data = goes_on.progress_callback(), goes_on.data
    if options.tensor_split:
        shares = (ctypes.c_float * lib.llama_max_devices())(*options.tensor_split)
        params.tensor_split = ctypes.cast(shares, ctypes.POINTER(ctypes.c_float))
    names = (ctypes.c_char_p * len(paths))(*(os.fsencode(path) for path in paths))
    handle = make_quietly(lambda: _load(names, params), goes_on.clear, meanwhile)
    if not handle:
        raise CorruptModelError(f"{paths[0].name} can't be loaded: {log.last_errors() or 'llama.cpp gives no reason'}")
    return Model(handle)


def _load(names: Any, params: Any) -> Any:
    if len(names) > 1:
        return lib.llama_model_load_from_splits(names, len(names), params)
    return lib.llama_model_load_from_file(names[0], params)
