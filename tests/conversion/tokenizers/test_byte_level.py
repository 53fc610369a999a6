"""Byte-level BPE: tokens by number, what each is, and the merges, from files of every age."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from doubles.vocabularies import BYTE_LEVEL_KINDS, MIXED_TEXT, merges, pre_name, token_ids, write_vocabulary
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.letters import LETTER_OF, as_decoded, as_letters
from llmasos.conversion.tokenizers.pre_tokenizer_trial import load_vocabulary
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.engine.model import Model
from llmasos.errors import BadInputError
from llmasos.quantization.header import header_bytes

ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}


def read(folder: Path, **config: Any) -> Vocabulary:
    return read_vocabulary(folder, Config(config))


def change(folder: Path, name: str, edit: Any) -> Path:
    """Rewrites a JSON file by a function that changes what it holds."""
    content = json.loads((folder / name).read_text("utf-8"))
    edit(content)
    (folder / name).write_text(json.dumps(content), "utf-8")
    return folder


def add_tokens(folder: Path, *tokens: dict[str, Any]) -> Path:
    return change(folder, "tokenizer.json", lambda whole: whole["added_tokens"].extend(tokens))


def engine_model(folder: Path, vocabulary: Vocabulary) -> Model:
    path = folder / "vocabulary.gguf"
    path.write_bytes(header_bytes({"general.architecture": "llama", **vocabulary.metadata()}, ()))
    model = load_vocabulary(path)
    assert model is not None
    return model


@pytest.fixture
def smollm(tmp_path: Path) -> Path:
    return write_vocabulary(tmp_path / "smollm", "smollm")


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    return write_vocabulary(tmp_path / "qwen", "qwen2")


@pytest.mark.parametrize("kind", BYTE_LEVEL_KINDS)
def test_every_token_stands_at_its_number(kind: str, tmp_path: Path):
    vocabulary = read(write_vocabulary(tmp_path, kind))
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", pre_name(kind))
    assert {text: vocabulary.tokens[number] for text, number in token_ids(kind).items()} == {
        text: text for text in token_ids(kind)
    }
    assert list(vocabulary.merges) == [f"{left} {right}" for left, right in merges(kind)]


def test_rows_without_a_token_are_padding(smollm: Path):
    count = len(token_ids("smollm"))
    vocabulary = read(smollm, vocab_size=count + 2)
    assert vocabulary.tokens[count:] == [f"[PAD{count}]", f"[PAD{count + 1}]"]
    assert vocabulary.types[count:] == [TokenType.UNUSED] * 2


def test_marks_are_control_tokens_even_if_the_file_calls_them_text(qwen: Path):
    vocabulary = read(qwen)
    types = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert types["<|im_end|>"] == TokenType.CONTROL
    assert types["<|fim_prefix|>"] == TokenType.CONTROL  # `special` is false in the file
    assert types["<tool_call>"] == TokenType.USER_DEFINED
    assert types["Ġthe"] == TokenType.NORMAL


@pytest.mark.parametrize(
    ("text", "changes", "written", "kind"),
    [
        ("two words", {}, "two words", TokenType.USER_DEFINED),
        ("Ġyes", {}, " yes", TokenType.USER_DEFINED),
        ("Ġyes", {"normalized": True}, "Ġyes", TokenType.USER_DEFINED),
        ("\u2581yes", {}, " yes", TokenType.USER_DEFINED),
        ("\u2581yes", {"special": True}, "\u2581yes", TokenType.CONTROL),
        ("né", {}, "n\ufffd", TokenType.USER_DEFINED),  # as byte E9, which is no character
        ("né日", {}, "né日", TokenType.USER_DEFINED),  # one letter is none of a byte's
        ("<unused3>", {}, "<unused3>", TokenType.CONTROL),
    ],
)
def test_an_added_token_is_written_as_it_comes_back_from_the_decoder(
    qwen: Path, text: str, changes: dict[str, Any], written: str, kind: TokenType
):
    number = len(token_ids("qwen2"))
    vocabulary = read(add_tokens(qwen, {"id": number, "content": text, **ADDED, **changes}))
    assert (vocabulary.tokens[number], vocabulary.types[number]) == (written, kind)


def test_tokenizer_config_has_the_last_word_on_what_an_added_token_is(qwen: Path):
    number = str(token_ids("qwen2")["<tool_call>"])
    change(qwen, "tokenizer_config.json", lambda c: c["added_tokens_decoder"][number].update(special=True))
    assert read(qwen).types[int(number)] == TokenType.CONTROL


def test_a_word_that_is_called_something_special_is_a_mark(smollm: Path):
    change(smollm, "tokenizer_config.json", lambda config: config.update(pad_token="Ġthe"))
    assert read(smollm).types[token_ids("smollm")["Ġthe"]] == TokenType.CONTROL


def test_a_name_without_a_token_gets_the_next_number_if_there_is_a_row(smollm: Path):
    change(smollm, "tokenizer_config.json", lambda config: config.update(pad_token="<fill>"))
    count = len(token_ids("smollm"))
    assert read(smollm, vocab_size=count + 1).tokens[count] == "<fill>"
    assert "<fill>" not in read(smollm, vocab_size=count).tokens


def test_merges_are_read_in_both_forms(tmp_path: Path):
    plain, pairs = (write_vocabulary(tmp_path / name, "smollm") for name in ("plain", "pairs"))
    change(pairs, "tokenizer.json", lambda w: w["model"].update(merges=[m.split(" ") for m in w["model"]["merges"]]))
    assert read(plain).merges == read(pairs).merges


def test_a_space_in_a_merge_becomes_the_letter_of_its_byte(smollm: Path):
    def edit(whole: dict[str, Any]) -> None:
        words = whole["model"]["vocab"]
        words |= {text: len(words) + place for place, text in enumerate([" ", " a"])}
        whole["model"]["merges"] = [*(m.split(" ") for m in whole["model"]["merges"]), [" ", "a"]]

    assert read(change(smollm, "tokenizer.json", edit)).merges[-1] == "Ġ a"


def test_files_of_old_say_the_same_without_tokenizer_json(tmp_path: Path):
    folder = write_vocabulary(tmp_path, "gpt2")
    new = read(folder)
    (folder / "tokenizer.json").unlink()
    words = json.loads((folder / "vocab.json").read_text("utf-8"))
    words.pop("<|endoftext|>", None)
    (folder / "vocab.json").write_text(json.dumps(words), "utf-8")
    (folder / "added_tokens.json").write_text(json.dumps({"<|endoftext|>": token_ids("gpt2")["<|endoftext|>"]}))
    old = read(folder)
    assert (old.tokens, old.types, old.merges, old.pre) == (new.tokens, new.types, new.merges, "gpt-2")


def test_files_of_old_are_cut_by_their_tokenizers_class(tmp_path: Path):
    folder = write_vocabulary(tmp_path, "qwen2")
    (folder / "tokenizer.json").unlink()
    assert read(folder).pre == "qwen2"


@pytest.mark.parametrize("kind", [kind for kind in BYTE_LEVEL_KINDS if kind != "falcon"])
def test_llama_cpp_makes_the_tokens_that_tokenizer_json_asks_for(kind: str, tmp_path: Path):
    folder = write_vocabulary(tmp_path, kind)
    model = engine_model(tmp_path, read(folder))
    text = MIXED_TEXT.replace("Ångström ÀÉ é", "été")  # capitals beyond ASCII: see test_pre_tokenizers
    oracle = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert model.tokenize(text, add_special=False, parse_special=True) == oracle
    model.close()


def broken(**changes: Any) -> Any:
    return lambda whole: whole["model"].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda whole: whole.update(model=3), "has `model` that is no object"),
        (broken(vocab=None), "has no vocabulary"),
        (broken(vocab={"a": "1"}), "has '1' where a token's number should stand"),
        (broken(vocab={"a": -1}), "has -1 where a token's number should stand"),
        (broken(vocab={"a": 2**40}), "where a token's number should stand"),
        (broken(vocab={"a": 1, "b": 1}), "gives the same number to two tokens"),
        (broken(merges=[]), "has no merges"),
        (broken(merges=["a b c"]), "has a merge that is no pair of tokens"),
        (broken(merges=[["a", 1]]), "has a merge that is no pair of tokens"),
        (broken(merges=["a zzzz"]), "merges 'a' and 'zzzz', and not all that this takes are tokens"),
        (broken(end_of_word_suffix="</w>"), "marks where words begin or end"),
        (lambda whole: whole["added_tokens"].append({"id": 5}), "has an added token without a text"),
        (lambda whole: whole["added_tokens"].append({"id": -5, "content": "x"}), "where a token's number should stand"),
        (lambda whole: whole.update(added_tokens=[7]), "has an added token that is no object"),
        (lambda whole: whole.update(added_tokens={}), "has `added_tokens` that is no list"),
    ],
)
def test_a_broken_file_is_named(smollm: Path, edit: Any, message: str):
    change(smollm, "tokenizer.json", edit)
    with pytest.raises(BadInputError) as error:
        read(smollm)
    assert message in error.value.message
    assert "tokenizer.json" in error.value.message


def test_a_word_beyond_the_models_rows_is_refused(smollm: Path):
    with pytest.raises(BadInputError, match="and config.json says that there are 100 tokens"):
        read(smollm, vocab_size=100)


def test_an_added_token_beyond_the_models_rows_is_left_out(smollm: Path):
    size = len(token_ids("smollm"))
    known = read(smollm, vocab_size=size)
    add_tokens(smollm, {"id": size, "content": "[PAD]", **ADDED, "special": True})
    change(smollm, "tokenizer_config.json", lambda config: config.update(pad_token="[PAD]"))
    vocabulary = read(smollm, vocab_size=size)
    assert vocabulary.tokens == known.tokens
    assert "tokenizer.ggml.padding_token_id" not in vocabulary.more
    with contextlib.closing(engine_model(smollm, vocabulary)) as model:
        assert model.vocabulary_size == size


def test_a_text_that_stands_for_two_tokens_is_refused(smollm: Path):
    add_tokens(smollm, {"id": len(token_ids("smollm")), "content": "Ġ", **ADDED, "normalized": True})
    with pytest.raises(BadInputError, match="twice"):
        read(smollm)


def test_half_a_character_is_refused(smollm: Path):
    add_tokens(smollm, {"id": len(token_ids("smollm")), "content": "\ud83d", **ADDED})
    with pytest.raises(BadInputError, match="which is no character"):
        read(smollm)


def test_an_unknown_rule_is_shown_with_what_can_be_done(smollm: Path):
    rule = {"type": "Split", "pattern": {"Regex": r"\p{L}{3}"}, "behavior": "Isolated", "invert": False}
    parts = [rule, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]
    change(smollm, "tokenizer.json", lambda w: w.update(pre_tokenizer={"type": "Sequence", "pretokenizers": parts}))
    with pytest.raises(
        BadInputError, match=r"cuts texts by a rule that llama.cpp has no name for: \\p\{L\}\{3\}"
    ) as error:
        read(smollm)
    assert "pre_tokenizers.py" in (error.value.hint or "")


def test_a_folder_without_a_tokenizer_says_what_it_should_hold(tmp_path: Path):
    with pytest.raises(BadInputError, match="has no tokenizer") as error:
        read(tmp_path)
    assert "tokenizer.json" in (error.value.hint or "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**33) | st.sampled_from(["a", "Ġ", "BPE", "ByteLevel", "\ud800", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "Ġ", "id", "content", "type", "0"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = ["model", "vocab", "merges", "added_tokens", "post_processor", "decoder"]  # rules: see test_pre_tokenizers
NAMES = ["added_tokens_decoder", "eos_token", "add_bos_token", "chat_template", "additional_special_tokens"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.sampled_from(PLACES), name=st.sampled_from(NAMES), value=JSON, other=JSON)
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path: Path, place: str, name: str, value: Any, other: Any):
    shutil.rmtree(tmp_path / "fuzzed", ignore_errors=True)
    folder = write_vocabulary(tmp_path / "fuzzed", "smollm")
    change(
        folder, "tokenizer.json", lambda w: (w["model"] if place in ("vocab", "merges") else w).update({place: value})
    )
    change(folder, "tokenizer_config.json", lambda config: config.update({name: other}))
    try:
        vocabulary = read(folder)
    except BadInputError as error:
        assert str(tmp_path) in error.message or "twice" in error.message
    else:
        assert len(vocabulary.tokens) == len(vocabulary.types) == len(set(vocabulary.tokens))


@given(st.binary(max_size=40))
def test_letters_lead_back_to_the_bytes(content: bytes):
    assert as_decoded(as_letters(content)) == content.decode("utf-8", "replace")
    assert not set(as_letters(content)) & set(" \n\t\x00")
    assert len(set(LETTER_OF.values())) == 256
