"""One of many texts as grammar, decided character by character."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator

from llmasos.engine.grammar.gbnf import EMPTY, Node, Rules, Text, choice, series

_FEW_TEXTS = 8


def text_choice(texts: Iterable[str], rules: Rules) -> Node:
    """One of the texts. Of many, what several begin with stands once: else llama.cpp would follow each by itself."""
    distinct = sorted(set(texts))
    if len(distinct) <= _FEW_TEXTS:
        return choice(map(Text, distinct))
    return choice(_branches(distinct, 0, rules))


def _branches(texts: list[str], done: int, rules: Rules) -> Iterator[Node]:
    """What may follow the first `done` characters, which all of the sorted texts have in common."""
    for _, group in itertools.groupby(texts, lambda text: text[: done + 1]):
        alike = list(group)
        if len(alike) == 1:
            yield Text(alike[0][done:]) if len(alike[0]) > done else EMPTY
        else:
            shared = len(os.path.commonprefix([alike[0], alike[-1]]))
            rest = rules.share("rest", choice(_branches(alike, shared, rules)))
            yield series(alike[0][done:shared], rest)
