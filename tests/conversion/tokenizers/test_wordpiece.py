"""WordPiece vocabularies: BERT's words as llama.cpp has them, and the tokens that it then makes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from doubles.token_ids import bert_can_follow, texts, vocabulary_of
from doubles.vocabularies import FOLDER, tokenizer_config, tokenizer_json, write_vocabulary
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.conversion.tokenizers.special import special_metadata
from llmasos.conversion.tokenizers.tokenizer_files import TokenizerFiles, read_tokenizer_files
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.conversion.tokenizers.wordpiece import read_wordpiece
from llmasos.errors import BadInputError

LOWERCASE = "tokenizer.ggml.normalizer.lowercase"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "c"]


def read(folder: Path, **config: Any) -> Vocabulary:
    return read_wordpiece(read_tokenizer_files(folder), Config(config))


def write_words(folder: Path, words: list[str], **tokenizer_config: Any) -> Path:
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config), "utf-8")
    return folder


def test_what_begins_a_word_is_marked_and_what_does_not_is_not(tmp_path):
    vocabulary = read(write_words(tmp_path, WORDS))
    assert vocabulary.tokens == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁a", "b", "▁c"]
    assert vocabulary.types == [TokenType.CONTROL] * 5 + [TokenType.NORMAL] * 3
    assert vocabulary.model == "bert" and not vocabulary.scores


def test_an_added_token_beyond_the_models_rows_is_left_out_and_a_word_refused(tmp_path):
    write_vocabulary(tmp_path, "bert")
    size = len(read(tmp_path).tokens)
    listed = tokenizer_json("bert")["added_tokens"]
    extra = {"id": size, "content": "<extra>", "special": False, "normalized": False}
    whole = {**tokenizer_json("bert"), "added_tokens": [*listed, extra]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    assert read(tmp_path).tokens[size:] == ["<extra>"]
    narrow = read_vocabulary(tmp_path, Config({"vocab_size": size}))
    assert len(narrow.tokens) == size and "<extra>" not in narrow.tokens
    with vocabulary_of(tmp_path, narrow.metadata(), "bert") as model:
        assert model.vocabulary_size == size
    with pytest.raises(BadInputError, match="and config.json says that there are 100 tokens"):
        read(tmp_path, vocab_size=100)


def test_bert_s_tokens_are_those_of_tokenizers(tmp_path):
    files = read_tokenizer_files(write_vocabulary(tmp_path, "bert"))
    metadata = {**read_wordpiece(files, Config({})).metadata(), **special_metadata(files)}
    tokenizer = Tokenizer.from_file(str(FOLDER / "bert" / "tokenizer.json"))
    asked = [text for text in texts(800, specials=("[CLS]", "[MASK]")) if bert_can_follow(text)]
    assert len(asked) > 500
    with vocabulary_of(tmp_path, metadata, "bert") as model:
        found = {text: list(model.tokenize(text, add_special=True, parse_special=True)) for text in asked}
    assert found == {text: tokenizer.encode(text).ids for text in asked}


@pytest.mark.parametrize("text", ["한", "κ ि", "a▁b", "a" * 101])
def test_what_llama_cpp_does_otherwise_it_does_still(text, tmp_path):
    """When this fails llama.cpp has learned something: take it out of `bert_can_follow`."""
    files = read_tokenizer_files(write_vocabulary(tmp_path, "bert"))
    metadata = {**read_wordpiece(files, Config({})).metadata(), **special_metadata(files)}
    words = Tokenizer.from_file(str(FOLDER / "bert" / "tokenizer.json")).encode(text).ids
    with vocabulary_of(tmp_path, metadata, "bert") as model:
        assert not bert_can_follow(text)
        assert list(model.tokenize(text, add_special=True, parse_special=True)) != words


def test_vocab_txt_alone_says_as_much_as_tokenizer_json(tmp_path):
    write_vocabulary(tmp_path, "bert")
    whole, special = read(tmp_path), special_metadata(read_tokenizer_files(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    alone = read(tmp_path)
    assert (alone.tokens, alone.types) == (whole.tokens, whole.types)
    assert {key: special[key] for key in alone.more if key in special} == {
        key: value for key, value in alone.more.items() if key in special
    }
    assert {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.seperator_token_id", LOWERCASE} <= alone.more.keys()


def test_a_cased_vocabulary_keeps_its_letters(tmp_path):
    assert read(write_words(tmp_path, WORDS, do_lower_case=False)).more[LOWERCASE] is False


def test_rows_without_a_word_are_padding(tmp_path):
    vocabulary = read(write_words(tmp_path, WORDS), vocab_size=9)
    assert (vocabulary.tokens[8], vocabulary.types[8]) == ("▁[PAD8]", TokenType.UNUSED)


def test_an_added_word_is_looked_for_as_it_is():
    whole = tokenizer_json("bert")
    whole["added_tokens"].append({"id": 1000, "content": "##x y", "special": False})
    vocabulary = read_wordpiece(TokenizerFiles(Path("folder"), tokenizer=whole), Config({}))
    assert (vocabulary.tokens[1000], vocabulary.types[1000]) == ("##x y", TokenType.USER_DEFINED)


@pytest.mark.parametrize("size, name", [(30522, "bert-bge"), (21128, "bert-bge-large"), (1000, "default")])
def test_the_usual_vocabularies_have_names(size, name, tmp_path):
    assert read(write_words(tmp_path, [f"w{number}" for number in range(size)])).pre == name


def test_kinds_of_texts_are_counted(tmp_path):
    key = "tokenizer.ggml.token_type_count"
    write_words(tmp_path, WORDS)
    assert (read(tmp_path).more[key], read(tmp_path, type_vocab_size=2).more[key]) == (1, 2)


@pytest.mark.parametrize("words, reason", [(["a", "b", "a"], "'a' twice"), ([], "vocab.txt is empty")])
def test_a_list_of_words_that_is_none_is_refused(words, reason, tmp_path):
    with pytest.raises(BadInputError, match=reason):
        read(write_words(tmp_path, words))


def test_words_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="no text in UTF-8"):
        read(tmp_path)


def test_a_folder_without_words_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="neither tokenizer.json nor vocab.txt"):
        read(tmp_path)


@given(
    st.sampled_from(["vocab", "added_tokens", "model"]),
    st.none() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=3) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.booleans(), max_size=4),
)  # fmt: skip
def test_json_of_any_kind_never_breaks_the_reader(place, value):
    whole = copy.deepcopy(tokenizer_json("bert"))
    (whole["model"] if place == "vocab" else whole)[place] = value
    files = TokenizerFiles(Path("folder"), tokenizer=whole, tokenizer_config=tokenizer_config("bert"))
    try:
        vocabulary = read_wordpiece(files, Config({}))
    except BadInputError:
        return
    assert len(vocabulary.tokens) == len(vocabulary.types) > 0
