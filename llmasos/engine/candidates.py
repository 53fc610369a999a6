"""The tokens that may be chosen, in the form in which llama.cpp's samplers take them."""

from __future__ import annotations

import ctypes
from typing import Any

from llmasos.engine.bindings import lib
from llmasos.engine.context import Context, logits_at
from llmasos.kernels import TOP_MOST, find_kernels

FOUND = -1  # what the kernel returns


class LikeliestTokens:
    """The `count` likeliest tokens: all that a chain can choose among which cuts the others off anyway.

    A kernel finds 40 of 49,000 in 4 µs; to put all of them into llama.cpp's form takes its samplers 50, and to lower
    some of them first 180.
    """

    def __init__(self, vocabulary_size: int, count: int) -> None:
        self._width, self._count = vocabulary_size, min(count, vocabulary_size)
        self._kernels = find_kernels() if self._count <= TOP_MOST else None
        self._entries = (lib.llama_token_data * self._count)() if self._kernels else None
        self._place = ctypes.addressof(self._entries) if self._entries else 0

    def find(self, context: Context, index: int) -> Any:
        """A llama_token_data_array, the likeliest first, by the logits at an index of the last pass.

        None where the kernels are missing, or what they find is no distribution. It dies with the next call.
        """
        if self._kernels is None:
            return None
        row = lib.llama_get_logits_ith(context.handle, index)
        level, find = self._kernels.level, self._kernels.library.llmasos_row_candidates
        if find(level, row, self._width, self._count, self._place) != FOUND:
            return None
        return lib.llama_token_data_array(self._entries, self._count, -1, False)


class AllTokens:
    """Every token, for a chain that may choose any."""

    def __init__(self, vocabulary_size: int) -> None:
        self._size = vocabulary_size
        self._entries = (lib.llama_token_data * vocabulary_size)()

    def find(self, context: Context, index: int) -> Any:
        """A llama_token_data_array, in the tokens' order, by the logits at an index of the last pass."""
        import numpy as np  # 0.1 s that only an answer with a grammar pays

        view = np.frombuffer(self._entries, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        view["id"] = np.arange(self._size, dtype=np.int32)
        view["logit"] = np.frombuffer(logits_at(context, index, self._size), dtype=np.float32)
        return lib.llama_token_data_array(self._entries, self._size, -1, False)
