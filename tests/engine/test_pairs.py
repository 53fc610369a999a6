"""A query and a document become the tokens that the family's own tokenizer makes of the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from doubles.token_ids import vocabulary_of
from doubles.vocabularies import FOLDER, write_vocabulary
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.engine.model import Model
from llmasos.engine.pairs import Marks, fill, marks_of, pair_maker
from llmasos.engine.pooled import Text
from llmasos.errors import BadInputError

QUERY, DOCUMENT = "the cat sat", "one dog ran"
WANTED = [f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")]


def metadata_of(folder: Path, kind: str) -> dict[str, Any]:
    return read_vocabulary(write_vocabulary(folder, kind), Config({})).metadata()


@pytest.fixture(params=["bert", "xlm-roberta", "t5"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Tokenizer, Model]]:
    with vocabulary_of(tmp_path, metadata_of(tmp_path, request.param), "bert") as model:
        yield Tokenizer.from_file(str(FOLDER / request.param / "tokenizer.json")), model


def test_a_pair_is_that_of_the_familys_tokenizer(family: tuple[Tokenizer, Model]):
    tokenizer, model = family
    expected = tokenizer.encode(QUERY, DOCUMENT)
    text = pair_maker(model)(QUERY, DOCUMENT)
    assert list(text.tokens) == expected.ids
    second = [place for place, number in enumerate(expected.sequence_ids) if number == 1]
    assert text.second_from == second[0]


def test_what_bert_takes_for_the_second_text_begins_behind_the_separator(tmp_path: Path):
    with vocabulary_of(tmp_path, metadata_of(tmp_path, "bert"), "bert") as model:
        text = pair_maker(model)(QUERY, DOCUMENT)
    types = Tokenizer.from_file(str(FOLDER / "bert" / "tokenizer.json")).encode(QUERY, DOCUMENT).type_ids
    assert [int(place >= (text.second_from or 0)) for place in range(len(text.tokens))] == types


def test_a_file_of_old_that_says_nothing_is_read_as_berts_are(tmp_path: Path):
    stated = metadata_of(tmp_path, "bert")
    silent = {key: value for key, value in stated.items() if key not in WANTED and "eos" not in key}
    with vocabulary_of(tmp_path, stated, "bert") as model:
        marks = marks_of(model)
    with vocabulary_of(tmp_path, silent, "bert") as model:
        assert marks_of(model) == marks


def test_names_of_special_tokens_in_a_text_are_text(tmp_path: Path):
    with vocabulary_of(tmp_path, metadata_of(tmp_path, "bert"), "bert") as model:
        text = pair_maker(model)("a [SEP] b", DOCUMENT)
        assert list(text.tokens).count(marks_of(model).end[0]) == 2


def test_a_vocabulary_that_puts_nothing_between_two_texts_is_refused(tmp_path: Path):
    with (
        vocabulary_of(tmp_path, metadata_of(tmp_path, "gpt2")) as model,
        pytest.raises(BadInputError, match="does not say how a query and a document are put together"),
    ):
        pair_maker(model)


def test_marks_stand_around_and_between():
    marks = Marks((1,), (2, 3), (2,))
    assert marks.join([10, 11], [20]) == Text([1, 10, 11, 2, 3, 20, 2], second_from=5)


def test_a_template_is_filled_and_what_the_texts_say_means_nothing():
    template = "<q>{query}</q><d>{document}</d>{other}"
    assert fill(template, "why {document}?", "so {query}") == "<q>why {document}?</q><d>so {query}</d>{other}"


def test_a_files_own_template_goes_before_its_marks(tmp_path: Path):
    stated = metadata_of(tmp_path, "qwen3") | {
        "tokenizer.chat_template.rerank": "<|im_start|>{query} {document}<|im_end|>"
    }
    with vocabulary_of(tmp_path, stated) as model:
        text = pair_maker(model)(QUERY, DOCUMENT)
        filled = model.tokenize(f"<|im_start|>{QUERY} {DOCUMENT}<|im_end|>", add_special=False, parse_special=True)
        assert text == Text(filled)
