"""A query and a document as one text: the tokens between which a model that ranks expects them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from llmasos.engine.model import Model
from llmasos.engine.pooled import Text
from llmasos.errors import BadInputError

PLACES = re.compile(r"\{(query|document)\}")  # in the template of a file


@dataclass(frozen=True, slots=True)
class Marks:
    """The tokens in front of a query, between it and a document, and behind that."""

    begin: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]

    def join(self, query: Sequence[int], document: Sequence[int]) -> Text:
        first = [*self.begin, *query, *self.between]
        return Text([*first, *document, *self.end], second_from=len(first))


def pair_maker(model: Model) -> Callable[[str, str], Text]:
    """What makes one text of a query and a document: by the template that the file brings for it, or else by marks.

    Raises BadInputError for a file that has neither.
    """
    if template := model.rerank_template:
        return partial(_filled, model, template)
    return partial(_marked, model, marks_of(model))


def marks_of(model: Model) -> Marks:
    """What the vocabulary says: `[CLS] query [SEP] document [SEP]`, or `<s> query </s></s> document </s>`.

    In front and behind stands what does so with any text; between the two the end of a text and a separator, each if
    the file wants it. Raises BadInputError if it wants nothing there.
    """
    around = tuple(model.tokenize("", add_special=True, parse_special=False))
    bos, eos, sep = map(model.special_token, ("bos", "eos", "sep"))
    ends = ((sep if eos is None else eos, model.adds("eos")), (sep, model.adds("sep")))
    between = tuple(token for token, is_wanted in ends if is_wanted and token is not None)
    if not between:
        raise BadInputError("this model's file does not say how a query and a document are put together")
    begin = around[:1] if around[:1] == (bos,) else ()
    return Marks(begin, between, around[len(begin) :])


def fill(template: str, query: str, document: str) -> str:
    """The template with the texts in their places; a place that a text itself names means nothing."""
    texts = {"query": query, "document": document}
    return PLACES.sub(lambda place: texts[place[1]], template)


def _filled(model: Model, template: str, query: str, document: str) -> Text:
    return Text(model.tokenize(fill(template, query, document), add_special=False, parse_special=True))


def _marked(model: Model, marks: Marks, query: str, document: str) -> Text:
    first, second = (model.tokenize(each, add_special=False, parse_special=False) for each in (query, document))
    return marks.join(first, second)
