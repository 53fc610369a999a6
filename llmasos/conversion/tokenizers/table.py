"""A vocabulary while it is put together: a row for each of the model's tokens, filled from several files in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmasos.conversion.tokenizers.tokenizer_files import AddedToken
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

SPACE = "\u2581"  # what SentencePiece writes for a space
PADDING_SCORE = -10000.0
ADDED_SCORE = -1000.0

# What tokenizers list as text although it is a mark: from llama.cpp's converter.
MARKS = frozenset(("<pad>", "<mask>", "<2mass>", "[@BOS@]"))
MARK_ENDS = (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))


class Table:
    """A row for each token of the model, the first filled as given.

    Rows that nothing is put into stay padding: matrices often have more rows than there are tokens.
    """

    def __init__(
        self, size: int, tokens: Sequence[str] = (), scores: Sequence[float] = (), types: Sequence[TokenType] = ()
    ) -> None:
        self.size = size
        spare = range(len(tokens), size)
        self.tokens = [*tokens[:size], *map(padding, spare)]
        self.scores = [*scores[:size], *[PADDING_SCORE] * len(spare)]
        self.types = [*types[:size], *[TokenType.UNUSED] * len(spare)]

    def put(self, number: int, text: str, score: float, kind: TokenType) -> None:
        """Fills a row; does nothing for a token that the model has no row for."""
        if number < self.size:
            self.tokens[number], self.scores[number], self.types[number] = text, score, kind

    def add(self, token: AddedToken) -> None:
        """Puts an added token in: one that only programs write, or one that is found in a text before all others."""
        if token.special or looks_like_a_mark(token.text):
            self.put(token.id, token.text, ADDED_SCORE, TokenType.CONTROL)
        else:
            self.put(token.id, unescaped(token.text), ADDED_SCORE, TokenType.USER_DEFINED)

    def is_free(self, number: int) -> bool:
        return number < self.size and self.tokens[number] == padding(number)

    def vocabulary(self, model: str, more: Mapping[str, Any]) -> Vocabulary:
        """Raises BadInputError if two tokens have the same text: llama.cpp would not survive that."""
        check_distinct(self.tokens)
        return Vocabulary(model, "default", self.tokens, self.types, self.scores, more=more)


def padding(number: int) -> str:
    return f"[PAD{number}]"


def unescaped(text: str) -> str:
    """An added token's text as it stands in a prompt."""
    return text.replace(SPACE, " ")


def looks_like_a_mark(text: str) -> bool:
    return text in MARKS or any(text.startswith(first) and text.endswith(last) for first, last in MARK_ENDS)


def check_distinct(tokens: Sequence[str]) -> None:
    """Raises BadInputError, naming it, if a text stands for two tokens."""
    if len(set(tokens)) == len(tokens):
        return
    first: dict[str, int] = {}
    for number, text in enumerate(tokens):
        if first.setdefault(text, number) != number:
            raise BadInputError(
                f"the tokenizer has {text!r} twice, as token {first[text]} and as token {number}",
                hint="tokenizer_config.json or added_tokens.json may list a token under a wrong number",
            )
