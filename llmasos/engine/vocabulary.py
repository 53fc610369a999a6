"""How a model's tokens begin, so that a grammar is asked about a few of them instead of all."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from llmasos.engine.bindings import shared
from llmasos.engine.model import Model
from llmasos.kernels import find_kernels

Tokens = npt.NDArray[np.int32]
Beginnings = npt.NDArray[np.int16]  # a first byte, or AFTER_BLANK and the byte after a blank, or one of the others

ENDS, HAS_NO_TEXT, AFTER_BLANK, BEGINNINGS = 256, 257, 258, 258 + 256  # the kernels' numbers
BLANK, WIDE = ord(" "), 0x80  # bytes from 0x80 on are parts of characters

_known: weakref.WeakKeyDictionary[Model, Vocabulary] = weakref.WeakKeyDictionary()


class Shortest:
    """Beginnings that some token has and nothing more: `tokens` are these, one for each; `others` have none."""

    def __init__(self, beginnings: Beginnings, lengths: npt.NDArray[np.int32], first: int, length: int) -> None:
        is_shortest = (beginnings >= first) & (beginnings < first + 256) & (lengths == length)
        shortest = np.flatnonzero(is_shortest).astype(np.int32)
        self.beginnings, places = np.unique(beginnings[shortest], return_index=True)
        self.tokens: Tokens = shortest[places]
        self.others = sorted(set(range(first, first + 256)) - set(self.beginnings.tolist()))
        self.is_wide = self.beginnings - first >= WIDE


class Vocabulary:
    """Tokens by how their text begins.

    Those that end an answer, and those that have no text, are by themselves; what follows a blank is told apart, since
    most tokens begin with one.
    """

    def __init__(self, beginnings: Beginnings, lengths: npt.NDArray[np.int32]) -> None:
        """`beginnings` and `lengths`, in bytes, of all tokens (tokens)."""
        self.has_text = beginnings != HAS_NO_TEXT
        self.lengths = np.where(beginnings == ENDS, 0, lengths)
        self.first_bytes = Shortest(beginnings, lengths, 0, 1)
        self.after_blanks = Shortest(beginnings, lengths, AFTER_BLANK, 2)
        self._beginnings = beginnings

    def beginning_with(self, beginnings: Collection[int], also: Collection[int] = ()) -> Tokens:
        """The tokens that begin so, and those named beside, in their order."""
        is_wanted = np.zeros(BEGINNINGS, bool)
        is_wanted[list(beginnings)] = True
        is_found = is_wanted[self._beginnings]
        is_found[list(also)] = True
        return np.flatnonzero(is_found).astype(np.int32)


def vocabulary_of(model: Model) -> Vocabulary:
    """Made when it is first asked for: a few milliseconds with the kernels, some hundred without."""
    if model not in _known:
        _known[model] = Vocabulary(*_read(model))
    return _known[model]


def _read(model: Model) -> tuple[Beginnings, npt.NDArray[np.int32]]:
    size = model.vocabulary_size
    beginnings, lengths = np.empty(size, np.int16), np.empty(size, np.int32)
    if kernels := find_kernels():
        own = [ctypes.cast(each, ctypes.c_void_p) for each in (shared.llama_token_to_piece, shared.llama_vocab_is_eog)]
        places = beginnings.ctypes.data, lengths.ctypes.data
        if kernels.library.llmasos_beginnings(*own, model.vocabulary, size, *places) == 0:
            return beginnings, lengths
    for token in range(size):
        piece = model.piece(token)
        beginnings[token] = ENDS if model.is_end(token) else _beginning_of(piece)
        lengths[token] = len(piece)
    return beginnings, lengths


def _beginning_of(piece: bytes) -> int:
    if not piece:
        return HAS_NO_TEXT
    return AFTER_BLANK + piece[1] if len(piece) > 1 and piece[0] == BLANK else piece[0]
