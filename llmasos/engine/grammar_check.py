"""A grammar by rejection: tokens are chosen without it, and it is asked about those alone.

Asking it first about all 49,000 tokens of a vocabulary would cost 5 ms for each one chosen.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

from llmasos.engine.bindings import captured_complaints, lib, log
from llmasos.engine.context import Context, logits_at
from llmasos.engine.model import Model
from llmasos.errors import BadInputError


class GrammarCheck:
    """Where an answer stands in its grammar. Free it with `close`."""

    def __init__(self, model: Model, grammar: str) -> None:
        """Raises BadInputError for what is no grammar, with llama.cpp's reason."""
        log.clear()
        with captured_complaints() as complaints:
            self._grammar = lib.llama_sampler_init_grammar(model.vocabulary, grammar.encode(), b"root")
        if not self._grammar:
            raise BadInputError(f"the grammar can't be used: {complaints[0] or log.last_errors() or 'no reason'}")
        self._size = model.vocabulary_size
        self._all: Any = None

    def clone(self) -> GrammarCheck:
        """Another one that stands at the same place."""
        copy = object.__new__(GrammarCheck)
        copy._grammar, copy._size, copy._all = lib.llama_sampler_clone(self._grammar), self._size, None
        return copy

    def sample(self, chain: Any, context: Context, index: int) -> int:
        """What a chain of samplers chooses by the logits at an index of the last pass, among what is admitted.

        Only if its first choice is refused are all tokens put to the grammar. The token counts as accepted.
        """
        token = _apply(chain, self._fill(context, index))
        if not self.admits([token])[0]:
            candidates = self._fill(context, index)
            lib.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
            token = _apply(chain, candidates)
            if not self.admits([token])[0]:
                raise BadInputError("the grammar admits no token here")
        self.accept(token)
        return token

    def admits(self, tokens: Sequence[int]) -> list[bool]:
        """Which of the tokens may come next."""
        entries = (lib.llama_token_data * len(tokens))(*(lib.llama_token_data(token, 1.0, 0.0) for token in tokens))
        array = lib.llama_token_data_array(entries, len(tokens), -1, False)
        lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return [not math.isinf(entry.logit) for entry in entries]

    def accept(self, token: int) -> None:
        lib.llama_sampler_accept(self._grammar, token)

    def close(self) -> None:
        if self._grammar:
            lib.llama_sampler_free(self._grammar)
            self._grammar = None

    def _fill(self, context: Context, index: int) -> Any:
        """Every token with its logit, for a chain to choose from."""
        import numpy as np  # 0.1 s that only an answer with a grammar pays

        if self._all is None:
            self._all = (lib.llama_token_data * self._size)()
        view = np.frombuffer(self._all, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        view["id"] = np.arange(self._size, dtype=np.int32)
        view["logit"] = np.frombuffer(logits_at(context, index, self._size), dtype=np.float32)
        return lib.llama_token_data_array(self._all, self._size, -1, False)


def _apply(chain: Any, candidates: Any) -> int:
    lib.llama_sampler_apply(chain, ctypes.byref(candidates))
    return int(candidates.data[candidates.selected].id)
