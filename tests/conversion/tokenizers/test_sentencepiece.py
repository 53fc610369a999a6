"""SentencePiece vocabularies: llama.cpp makes the tokens that SentencePiece and tokenizers make, from either file."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from doubles.token_ids import texts, vocabulary_of
from doubles.vocabularies import FOLDER, tokenizer_config, tokenizer_json, write_vocabulary
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.sentencepiece import read_sentencepiece
from llmasos.conversion.tokenizers.tokenizer_files import TokenizerFiles, read_tokenizer_files
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

BPE_KINDS = ("gemma", "llama2", "mistral", "phi3")
ADD_SPACE = "tokenizer.ggml.add_space_prefix"
REMOVE_SPACES = "tokenizer.ggml.remove_extra_whitespaces"
ADDED = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}


def read(folder: Path, **config: Any) -> Vocabulary:
    return read_sentencepiece(read_tokenizer_files(folder), Config(config))


def without_pieces(folder: Path) -> Path:
    (folder / "tokenizer.model").unlink()
    return folder


def from_json(whole: dict[str, Any], **config: Any) -> Vocabulary:
    return read_sentencepiece(TokenizerFiles(Path("folder"), tokenizer=whole), Config(config))


def set_in(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


def row(vocabulary: Vocabulary, number: int) -> tuple[Any, float, TokenType]:
    return vocabulary.tokens[number], vocabulary.scores[number], TokenType(vocabulary.types[number])


def disagreements(vocabulary: Vocabulary, folder: Path, encode: Any, asked: Iterable[str]) -> list[str]:
    """The texts of which llama.cpp makes other tokens; without those that stand around a text."""
    with vocabulary_of(folder, vocabulary.metadata()) as model:
        found = {text: list(model.tokenize(text, add_special=False, parse_special=True)) for text in asked}
    return [text for text in found if found[text] != encode(text)]


@pytest.mark.parametrize("kind", BPE_KINDS)
def test_the_pieces_of_bpe_come_back_from_the_merges(kind, tmp_path):
    from_pieces = read(write_vocabulary(tmp_path, kind), vocab_size=1016)
    assert read(without_pieces(tmp_path), vocab_size=1016) == from_pieces


def test_llama_2_s_tokens_are_those_of_tokenizers(tmp_path):
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json("llama2")))
    vocabulary = read(without_pieces(write_vocabulary(tmp_path, "llama2")))
    asked = texts(500, specials=("<s>", "</s>"))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    assert disagreements(vocabulary, tmp_path, encode, asked) == []


def test_llama_2_s_tokens_are_those_of_sentencepiece(tmp_path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "llama2" / "tokenizer.model"))
    vocabulary = read(write_vocabulary(tmp_path, "llama2"))
    assert disagreements(vocabulary, tmp_path, processor.encode, texts(500)) == []


@pytest.mark.parametrize("kind", ("mistral", "phi3"))
def test_today_s_tokenizer_json_differs_where_a_text_begins_with_a_space(kind, tmp_path):
    """Before one it puts no other; llama.cpp does, as SentencePiece does."""
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(kind)))
    vocabulary = read(without_pieces(write_vocabulary(tmp_path, kind)))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    asked = texts(700)
    differing = disagreements(vocabulary, tmp_path, encode, asked)
    assert differing and set(differing) <= {text for text in asked if text.startswith((" ", "▁"))}


def test_scores_that_do_not_tell_pieces_apart_give_other_tokens(tmp_path):
    """Why llama.cpp's own converter is not followed here: it gives -1000 to every token of tokenizer.json."""
    vocabulary = read(write_vocabulary(tmp_path, "llama2"))
    equal = Vocabulary("llama", "default", vocabulary.tokens, vocabulary.types, [-1000.0] * len(vocabulary.tokens))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "llama2" / "tokenizer.model"))
    asked = ["Hello world", "don't won't I'm", "https://example.org"]
    assert disagreements(equal, tmp_path, processor.encode, asked) == asked


def test_gemma_s_tokens_are_those_of_sentencepiece_but_for_its_sign_for_a_space(tmp_path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "gemma" / "tokenizer.model"))
    vocabulary = read(write_vocabulary(tmp_path, "gemma"))
    asked = [text for text in texts(700) if "▁" not in text]  # llama.cpp takes a typed one for a letter
    assert disagreements(vocabulary, tmp_path, processor.encode, asked) == []


@pytest.mark.parametrize("kind", ("t5", "xlm-roberta"))
def test_unigram_comes_from_either_file_with_its_scores(kind, tmp_path):
    from_both = read(write_vocabulary(tmp_path, kind), vocab_size=832)
    from_one = read(without_pieces(tmp_path), vocab_size=832)
    assert (from_one.tokens, from_one.types, from_one.scores) == (from_both.tokens, from_both.types, from_both.scores)
    assert from_one.more["tokenizer.ggml.precompiled_charsmap"] == from_both.more["tokenizer.ggml.precompiled_charsmap"]
    assert from_both.model == "t5" and from_both.more[ADD_SPACE] is True and from_both.more[REMOVE_SPACES] is True


def test_unigram_s_tokens_are_those_of_sentencepiece_but_for_its_sign_for_a_space(tmp_path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "t5" / "tokenizer.model"))
    shutil.copy(FOLDER / "t5" / "tokenizer.model", tmp_path)
    vocabulary = read(tmp_path)
    asked = [text for text in texts(700) if "▁" not in text]
    assert disagreements(vocabulary, tmp_path, processor.encode, asked) == []


def test_fairseq_s_file_gets_fairseq_s_numbers(tmp_path):
    whole = read(write_vocabulary(tmp_path / "whole", "xlm-roberta"), vocab_size=802)
    shutil.copy(FOLDER / "xlm-roberta" / "tokenizer.model", tmp_path / "sentencepiece.bpe.model")
    alone = read(tmp_path, vocab_size=802)
    assert alone.tokens[:801] == whole.tokens[:801]
    assert (alone.types[:801], alone.scores[:801]) == (whole.types[:801], whole.scores[:801])


def test_rows_beyond_the_pieces_are_padding_and_tokens_beyond_the_rows_are_left_out(tmp_path):
    write_vocabulary(tmp_path, "mistral")  # 1,000 pieces, three added tokens
    wide, narrow = read(tmp_path, vocab_size=1005), read(tmp_path, vocab_size=1001)
    assert row(wide, 1002) == ("[TOOL_CALLS]", -1000.0, TokenType.CONTROL)
    assert row(wide, 1003) == ("[PAD1003]", -10000.0, TokenType.UNUSED)
    assert len(wide.tokens) == 1005 and narrow.tokens[1000:] == ["[INST]"]


@pytest.mark.parametrize("kind", ["llama2", "xlm-roberta"])
def test_of_each_file_added_tokens_beyond_the_rows_are_left_out_and_words_refused(kind, tmp_path):
    write_vocabulary(tmp_path, kind)
    size = len(read(tmp_path).tokens)
    listed = tokenizer_json(kind)["added_tokens"]
    set_in(tmp_path / "tokenizer.json", added_tokens=[*listed, {"id": size, "content": "[PAD]", **ADDED}])
    for arranged in (Path, without_pieces):
        folder = arranged(tmp_path)
        assert read(folder).tokens[size:] == ["[PAD]"]
        assert "[PAD]" not in read(folder, vocab_size=size).tokens
        with pytest.raises(BadInputError, match="and config.json says that there are 500 tokens"):
            read(folder, vocab_size=500)


def test_added_tokens_are_marks_or_text_that_is_looked_for_first(tmp_path):
    write_vocabulary(tmp_path, "gemma")
    vocabulary = read(tmp_path)
    kinds = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert kinds["<start_of_turn>"] == kinds["<unused0>"] == kinds["<mask>"] == TokenType.CONTROL
    assert kinds["\n\n"] == kinds["<h1>"] == kinds["  "] == TokenType.USER_DEFINED
    assert "▁▁" not in kinds and kinds["<0x0A>"] == TokenType.BYTE


def test_user_defined_pieces_stay_so_when_no_other_file_lists_them(tmp_path):
    shutil.copy(FOLDER / "gemma" / "tokenizer.model", tmp_path)
    listed = dict(zip(read(tmp_path).tokens, read(tmp_path).types, strict=True))
    assert listed["\n\n"] == listed["  "] == TokenType.USER_DEFINED


def test_a_token_that_only_tokenizer_json_knows_is_not_lost(tmp_path):
    write_vocabulary(tmp_path, "llama2")
    listed = tokenizer_json("llama2")["added_tokens"]
    set_in(tmp_path / "tokenizer.json", added_tokens=[*listed, {"id": 1000, "content": "<x>", **ADDED}])
    assert row(read(tmp_path, vocab_size=1002), 1000) == ("<x>", -1000.0, TokenType.USER_DEFINED)


def test_added_tokens_json_comes_before_tokenizer_config(tmp_path):
    write_vocabulary(tmp_path, "llama2")
    (tmp_path / "added_tokens.json").write_text('{"<a>": 1000, "<b>": 1001}')
    decoder = {**tokenizer_config("llama2")["added_tokens_decoder"], "1001": {"content": "<c>", **ADDED}}
    set_in(tmp_path / "tokenizer_config.json", added_tokens_decoder=decoder)
    assert read(tmp_path, vocab_size=1002).tokens[1000:] == ["<a>", "<c>"]


@pytest.mark.parametrize("stated, expected", [(None, {}), (True, {ADD_SPACE: True}), (False, {ADD_SPACE: False})])
def test_the_space_before_a_text_is_said_where_the_configuration_says_it(stated, expected, tmp_path):
    write_vocabulary(tmp_path, "llama2")
    set_in(tmp_path / "tokenizer_config.json", add_prefix_space=stated)
    assert read(tmp_path).more == expected
    assert read(without_pieces(tmp_path)).more == expected


def test_no_space_before_a_text_is_always_said(tmp_path):
    assert read(write_vocabulary(tmp_path, "gemma")).more == {ADD_SPACE: False}
    assert read(without_pieces(tmp_path)).more == {ADD_SPACE: False}


def test_metaspace_may_put_no_space_before_a_text():
    whole = tokenizer_json("mistral")
    whole["pre_tokenizer"]["prepend_scheme"] = "never"
    assert from_json(whole).more == {ADD_SPACE: False}


def test_a_text_that_stands_for_two_tokens_is_refused(tmp_path):
    write_vocabulary(tmp_path, "llama2")
    (tmp_path / "added_tokens.json").write_text('{"<s>": 1000}')
    with pytest.raises(BadInputError, match="'<s>' twice, as token 1 and as token 1000"):
        read(tmp_path, vocab_size=1001)


def test_a_vocabulary_without_bytes_is_refused():
    whole = tokenizer_json("llama2")
    whole["model"]["vocab"] = {text: number for text, number in whole["model"]["vocab"].items() if text != "<0x41>"}
    with pytest.raises(BadInputError, match="no token for 1 of the 256 bytes"):
        from_json(whole)


@pytest.mark.parametrize("setting", [{"model_type": "char"}, {"treat_whitespace_as_suffix": True}])
def test_pieces_that_llama_cpp_can_not_follow_are_refused(setting, tmp_path):
    from sentencepiece import sentencepiece_model_pb2 as messages

    model = messages.ModelProto.FromString((FOLDER / "llama2" / "tokenizer.model").read_bytes())
    for name, value in setting.items():
        setattr(model.trainer_spec, name, messages.TrainerSpec.CHAR if value == "char" else value)
    (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
    with pytest.raises(BadInputError, match="which llama.cpp does not"):
        read(tmp_path)


@pytest.mark.parametrize("step", [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "x"}, "content": "y"}])
def test_a_normalizer_that_llama_cpp_has_not_is_refused(step):
    whole = {**tokenizer_json("llama2"), "normalizer": step}
    with pytest.raises(BadInputError, match=f"prepares texts by `{step['type']}`"):
        from_json(whole)


def test_a_vocabulary_of_one_word_is_refused():
    with pytest.raises(BadInputError, match="no token for 256 of the 256 bytes"):
        from_json({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})


@pytest.mark.parametrize("merges", [["ab"], ["a b", ["a", "b"]], [["a"]], [["a", 1]], [7], ["a b c d"]])
def test_merges_that_are_none_are_refused(merges):
    whole = tokenizer_json("llama2")
    whole["model"]["merges"] = merges
    with pytest.raises(BadInputError, match="merges"):
        from_json(whole)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places in a JSON value, of lists and objects the first few."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path, *(place for key, each in inner[:12] for place in places(each, (*path, key)))]


WHOLE = {kind: {"tokenizer": tokenizer_json(kind), "config": tokenizer_config(kind)} for kind in ("llama2", "t5")}
PLACES = [(kind, place) for kind, whole in WHOLE.items() for place in places(whole) if len(place) > 1]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(PLACES), json_values)
def test_json_of_any_kind_never_breaks_the_reader(damaged, value):
    kind, place = damaged
    whole = copy.deepcopy(WHOLE[kind])
    inner: Any = whole
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    if not all(isinstance(each, dict) for each in whole.values()):
        return  # other code sees to that
    files = TokenizerFiles(Path("folder"), tokenizer=whole["tokenizer"], tokenizer_config=whole["config"])
    try:
        vocabulary = read_sentencepiece(files, Config({"vocab_size": 1000}))
    except BadInputError:
        return
    assert len(vocabulary.tokens) == len(vocabulary.scores) == len(vocabulary.types) == 1000
