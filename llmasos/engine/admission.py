"""The tokens that a grammar admits, found by asking it about as few as will do."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from llmasos.engine.bindings import lib
from llmasos.engine.candidates import LikeliestTokens
from llmasos.engine.context import Context, logits_at
from llmasos.engine.grammar_check import GrammarCheck, stuck
from llmasos.engine.vocabulary import AFTER_BLANK, BEGINNINGS, BLANK, ENDS, Shortest, Tokens, vocabulary_of
from llmasos.kernels import TOP_MOST

ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data
MANY = 2_048  # tokens: to ask about more takes longer than about the likeliest
FEW = 16  # of the likeliest that are enough are often found at once
FIRST_ASKED, MORE_ASKED = 256, 8  # tokens, then times as many: so that it shows early if a grammar takes too long
TRIED, LEAST_TRIED = 8, 64  # times as many of the likeliest are asked about as are enough

Entries = npt.NDArray[np.void]
Logits = npt.NDArray[np.float32]


class AdmittedTokens:
    """What a chain may choose among that needs `enough` of the likeliest, or all if that is None."""

    def __init__(self, grammar: GrammarCheck, enough: int | None) -> None:
        self._grammar, self._enough = grammar, enough
        self._size = grammar.model.vocabulary_size
        tried = None if enough is None else min(max(TRIED * enough, LEAST_TRIED), TOP_MOST)
        self._likeliest = None if tried is None else LikeliestTokens(self._size, tried)
        self._found = np.empty(0, ENTRY)

    def find(self, context: Context, index: int) -> Any:
        """A llama_token_data_array by the logits at an index of the last pass; it dies with the next call.

        Raises BadInputError if the grammar admits none.
        """
        is_easy = self._enough is not None and self._enough <= FEW
        found = self._among_likeliest(context, index) if is_easy else None
        if found is None:
            tokens = _worth_asking(self._grammar)
            if len(tokens) > MANY:
                found = None if is_easy else self._among_likeliest(context, index)
                tokens = tokens if found is not None else _worth_asking(self._grammar, after_blanks=True)
            if found is None:
                row = np.frombuffer(logits_at(context, index, self._size), np.float32)
                found = admitted(self._grammar, tokens, row[tokens])
        self._found = found
        if not len(self._found):
            raise stuck()
        return lib.llama_token_data_array(_pointer(self._found), len(self._found), -1, False)

    def _among_likeliest(self, context: Context, index: int) -> Entries | None:
        """The likeliest of all tokens, as far as they are admitted; None if these are not enough."""
        found = self._likeliest.find(context, index) if self._likeliest else None
        if found is None or self._enough is None:
            return None
        entries = np.frombuffer(
            ctypes.cast(found.data, ctypes.POINTER(lib.llama_token_data * found.size)).contents, ENTRY
        )
        kept = admitted(self._grammar, entries["id"], entries["logit"])
        return kept if len(kept) >= self._enough else None


def all_admitted(grammar: GrammarCheck, row: Logits) -> Entries:
    """Every token that may come next, in the tokens' order, with its logit of the row (tokens)."""
    tokens = _worth_asking(grammar)
    return admitted(grammar, tokens, row[tokens])


def admitted(grammar: GrammarCheck, tokens: Tokens, logits: Logits) -> Entries:
    """Which of the tokens may come next, with their logits (tokens)."""
    is_text = _is_text(grammar, tokens)
    entries = np.zeros(np.count_nonzero(is_text), ENTRY)
    entries["id"], entries["logit"] = tokens[is_text], logits[is_text]
    done, count = 0, FIRST_ASKED
    while done < len(entries):
        part = entries[done : done + count]
        grammar.strike_out(_pointer(part), len(part))
        done, count = done + count, count * MORE_ASKED
    return entries[entries["logit"] > -np.inf]


def _worth_asking(grammar: GrammarCheck, *, after_blanks: bool = False) -> Tokens:
    """Tokens among which are all that may come: where a byte may not, no token that begins with it may.

    Not so where tokens go by their names; nor where a class excludes a character of several bytes, whose first byte
    llama.cpp then excludes for all. With `after_blanks` the bytes after a blank are asked about too.
    """
    if grammar.nature.names_tokens:
        return np.arange(grammar.model.vocabulary_size, dtype=np.int32)
    vocabulary = vocabulary_of(grammar.model)
    firsts = _admitted_beginnings(grammar, vocabulary.first_bytes)
    seconds: Iterable[int] = range(AFTER_BLANK, BEGINNINGS)
    if BLANK not in firsts:
        seconds = ()
    elif after_blanks:
        seconds = _admitted_beginnings(grammar, vocabulary.after_blanks)
    return vocabulary.beginning_with([*firsts, ENDS, *seconds], also=grammar.shown)


def _admitted_beginnings(grammar: GrammarCheck, shortest: Shortest) -> list[int]:
    """The beginnings of which it is not known that no token with them may come."""
    kept = admitted(grammar, shortest.tokens, np.zeros(len(shortest.tokens), np.float32))
    is_possible = np.isin(shortest.tokens, kept["id"])
    if grammar.nature.excludes_wide:
        is_possible |= shortest.is_wide
    return [*shortest.beginnings[is_possible].tolist(), *shortest.others]


def _is_text(grammar: GrammarCheck, tokens: Tokens) -> npt.NDArray[np.bool_]:
    """What `GrammarCheck.admits` asks of a token's text, of many at once."""
    nature, vocabulary = grammar.nature, vocabulary_of(grammar.model)
    if nature.names_tokens:
        return np.ones(len(tokens), bool)
    is_text: npt.NDArray[np.bool_] = vocabulary.has_text[tokens]
    for shown in grammar.shown:
        is_text |= tokens == shown
    return is_text if nature.longest_piece is None else is_text & (vocabulary.lengths[tokens] <= nature.longest_piece)


def _pointer(entries: Entries) -> Any:
    return ctypes.cast(entries.ctypes.data, lib.llama_token_data_p)
