"""Tokenizers written again: the ids that llama.cpp gives, for every kind of vocabulary that can be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from doubles.token_ids import texts, vocabulary_of
from doubles.vocabularies import BYTE_LEVEL_KINDS, MIXED_TEXT, tokenizer_json, write_vocabulary
from llmasos.conversion.config import Config
from llmasos.conversion.exporting import tokenizer as exported
from llmasos.conversion.exporting.byte_level import SYNONYMS
from llmasos.conversion.exporting.sentencepiece import merges_of
from llmasos.conversion.tokenizers.pre_tokenizers import FAMILIES, steps_of
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.conversion.tokenizers.vocabulary import Vocabulary
from llmasos.errors import BadInputError

SENTENCEPIECE_KINDS = ("llama2", "mistral", "phi3", "gemma")
# llama.cpp's rule for Falcon is not the family's own; what is written is the family's.
KINDS = [*(kind for kind in BYTE_LEVEL_KINDS if kind != "falcon"), *SENTENCEPIECE_KINDS]
SPACE = "\u2581"


def metadata_of(kind: str, folder: Path) -> dict[str, Any]:
    return read_vocabulary(write_vocabulary(folder / kind, kind), Config({})).metadata()


def written(metadata: dict[str, Any], context_length: int = 128) -> dict[str, Any]:
    return exported.tokenizer_files(exported.vocabulary_of(metadata), context_length)


def tokenizer_of(metadata: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(written(metadata)["tokenizer.json"]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_are_llama_cpp_s(kind, tmp_path):
    metadata = metadata_of(kind, tmp_path)
    tokenizer = tokenizer_of(metadata)
    marks = [token["content"] for token in written(metadata)["tokenizer.json"]["added_tokens"]][:4]
    with vocabulary_of(tmp_path, metadata) as model:
        for text in (MIXED_TEXT, *texts(300, marks)):
            expected = model.tokenize(text, add_special=True, parse_special=True)
            assert tokenizer.encode(text).ids == list(expected), text


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "llama2", "gemma"])
def test_what_is_encoded_is_decoded_again(kind, tmp_path):
    tokenizer = tokenizer_of(metadata_of(kind, tmp_path))
    assert tokenizer.decode(tokenizer.encode(MIXED_TEXT).ids) == MIXED_TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_read_again_it_is_the_same_vocabulary(kind, tmp_path):
    metadata = metadata_of(kind, tmp_path)
    (tmp_path / "back").mkdir()
    for name, value in written(metadata).items():
        text = value if isinstance(value, str) else json.dumps(value)
        (tmp_path / "back" / name).write_text(text, "utf-8")
    again = read_vocabulary(tmp_path / "back", Config({})).metadata()
    for key in ("model", "pre", "tokens", "token_type", "merges"):
        assert again.get(f"tokenizer.ggml.{key}") == metadata.get(f"tokenizer.ggml.{key}"), key


@pytest.mark.parametrize("name", sorted({family.name for family in FAMILIES}))
def test_every_rule_of_cutting_text_is_written_as_it_is_read(name, tmp_path):
    metadata = metadata_of("gpt2", tmp_path) | {"tokenizer.ggml.pre": name}
    steps = steps_of(written(metadata)["tokenizer.json"])
    assert steps in {family.steps for family in FAMILIES if family.name == name}


@pytest.mark.parametrize("kind", BYTE_LEVEL_KINDS)
def test_whole_words_are_tokens_without_merges_where_the_original_says_so(kind, tmp_path):
    original = tokenizer_json(kind)["model"].get("ignore_merges", False)
    assert written(metadata_of(kind, tmp_path))["tokenizer.json"]["model"]["ignore_merges"] == original


def test_rows_of_padding_are_left_out_and_other_unused_tokens_kept(tmp_path):
    metadata = metadata_of("gpt2", tmp_path)
    size = len(metadata["tokenizer.ggml.tokens"])
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], f"[PAD{size}]", "reserved"]
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 5, 5]
    words = written(metadata)["tokenizer.json"]["model"]["vocab"]
    assert (f"[PAD{size}]" in words, words["reserved"]) == (False, size + 1)


def test_names_that_llama_cpp_takes_for_another_are_that_one(tmp_path):
    metadata = metadata_of("llama3", tmp_path)
    expected = written(metadata)
    assert written(metadata | {"tokenizer.ggml.pre": "llama-v3"}) == expected
    assert set(SYNONYMS.values()) <= {family.name for family in FAMILIES}


PIECES = st.lists(st.text("abc", min_size=2, max_size=5), min_size=1, max_size=12, unique=True)


@settings(deadline=None, max_examples=200)
@given(PIECES, st.lists(st.text("abcd ", max_size=12), min_size=5, max_size=5), st.booleans())
def test_merges_do_what_scores_do(tmp_path_factory, pieces, samples, adds_space):
    """Pieces of three letters, each with a score of its own.

    Where two different pairs make the same piece and overlap, the order of joins is the text's in llama.cpp and the
    list's in tokenizers: so no piece here may begin as it ends.
    """
    pieces = [piece for piece in pieces if piece[0] not in piece[1:]]
    tokens = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "a", "b", "c", SPACE, *pieces]
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 258 + [-1000.0] * 4 + [-float(rank) for rank in range(len(pieces))],
        "tokenizer.ggml.token_type": [2, 3] + [6] * 256 + [1] * (4 + len(pieces)),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": adds_space,
    }
    tokenizer = tokenizer_of(metadata)
    with vocabulary_of(tmp_path_factory.mktemp("vocabulary"), metadata) as model:
        for text in samples:
            assert tokenizer.encode(text).ids == list(model.tokenize(text, add_special=True, parse_special=True))


def test_the_best_join_stands_first():
    tokens, scores = ["a", "b", "ab", "aba", "ba"], [-9.0, -9.0, -2.0, -3.0, -1.0]
    assert merges_of(Vocabulary("llama", "default", tokens, [1] * 5, scores)) == [
        ("b", "a"), ("a", "b"), ("a", "ba"), ("ab", "a"),
    ]  # fmt: skip


def test_numbers_that_no_token_has_do_not_count(tmp_path):
    metadata = metadata_of("gpt2", tmp_path) | {"tokenizer.ggml.padding_token_id": 2**32 - 1}
    assert "pad_token" not in written(metadata)["tokenizer_config.json"]


def test_llama_cpp_s_own_numbers_hold_where_a_file_has_none(tmp_path):
    metadata = metadata_of("llama2", tmp_path)
    bare = {key: value for key, value in metadata.items() if not key.endswith("_token_id")}
    assert written(bare)["tokenizer_config.json"]["bos_token"] == "<s>"
    assert written(bare)["tokenizer.json"] == written(metadata)["tokenizer.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokenizer.ggml.model": "t5"}, "of the kind `t5`"),
        ({"tokenizer.ggml.pre": "no-such"}, "of the name `no-such`"),
        ({"tokenizer.ggml.pre": ""}, "by a rule without a name"),
        ({"tokenizer.ggml.merges": []}, "has no merges"),
        ({"tokenizer.ggml.merges": ["t x", "t he"]}, "not all that this takes are tokens"),
        ({"tokenizer.ggml.tokens": []}, "has no tokens"),
        ({"tokenizer.ggml.token_type": [1]}, "not as many types or scores as tokens"),
    ],
)
def test_what_can_not_be_written_is_refused(change, reason, tmp_path):
    with pytest.raises(BadInputError, match=reason):
        written(metadata_of("gpt2", tmp_path) | change)
