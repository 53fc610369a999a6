"""A grammar by rejection: tokens are chosen without it, and it is asked about those alone.

Asking it first about all 49,000 tokens of a vocabulary would cost 5 ms for each one chosen.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable
from typing import Any

from llmasos.engine.bindings import captured_complaints, lib, log
from llmasos.engine.grammar.soundness import examine
from llmasos.engine.model import Model
from llmasos.errors import BadInputError

# Seconds of computing for a call, and for each token that is asked about: a thousand times as long as usual. What takes
# longer would soon take for ever, and no call of llama.cpp's can be broken off.
LONGEST_CALL, LONGEST_TOKEN = 0.5, 20e-6


class GrammarCheck:
    """Where an answer stands in its grammar. Of control tokens only the `shown` have a text. Free it with `close`."""

    def __init__(self, model: Model, grammar: str, shown: frozenset[int] = frozenset()) -> None:
        """Raises BadInputError for what is no grammar."""
        self.model = model
        self.shown = shown
        self.nature = examine(grammar)
        log.clear()
        with captured_complaints() as complaints:
            self._grammar = lib.llama_sampler_init_grammar(model.vocabulary, grammar.encode(), b"root")
        if not self._grammar:
            raise BadInputError(f"the grammar can't be used: {complaints[0] or log.last_errors() or 'no reason'}")
        self._one = (lib.llama_token_data * 1)()

    def clone(self) -> GrammarCheck:
        """Another one that stands at the same place."""
        copy = object.__new__(GrammarCheck)
        copy.model, copy.nature, copy.shown = self.model, self.nature, self.shown
        copy._grammar, copy._one = lib.llama_sampler_clone(self._grammar), (lib.llama_token_data * 1)()
        return copy

    def admits(self, token: int) -> bool:
        """Whether the token may come next."""
        if not self._is_text(token):
            return False
        self._one[0] = lib.llama_token_data(token, 1.0, 0.0)
        self.strike_out(self._one, 1)
        return not math.isinf(self._one[0].logit)

    def strike_out(self, entries: Any, count: int) -> None:
        """Sets the logits of those of `count` llama_token_data to -infinity that may not come next."""
        array = lib.llama_token_data_array(entries, count, -1, False)
        self._take_time(lambda: lib.llama_sampler_apply(self._grammar, ctypes.byref(array)), count)

    def accept(self, token: int) -> None:
        """Goes on behind a token that is admitted; to accept another ends the process."""
        self._take_time(lambda: lib.llama_sampler_accept(self._grammar, token))

    def close(self) -> None:
        if self._grammar:
            lib.llama_sampler_free(self._grammar)
            self._grammar = None

    def _is_text(self, token: int) -> bool:
        """Whether what the grammar reads of a token is what is shown of it, and not too much at once.

        To llama.cpp a control token is its name, which an answer never shows.
        """
        if self.nature.names_tokens or token in self.shown or self.model.is_end(token):
            return True
        length, longest = len(self.model.piece(token)), self.nature.longest_piece
        return length > 0 and (longest is None or length <= longest)

    def _take_time(self, call: Callable[[], None], count: int = 1) -> None:
        begun = time.thread_time()
        call()
        if time.thread_time() - begun > LONGEST_CALL + LONGEST_TOKEN * count:
            raise BadInputError(
                "the grammar has too many ways to read what the answer says by now",
                hint="let the next character tell which alternative it belongs to",
            )


def stuck() -> BadInputError:
    return BadInputError("the grammar admits no token here", hint="the model has none for what would have to come")
