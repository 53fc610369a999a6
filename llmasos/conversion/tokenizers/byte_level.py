"""Byte-level BPE: tokens are runs of bytes, written with a letter for each byte, and merges say how they grow.

Read from tokenizer.json, or from vocab.json and merges.txt in repositories that are older than that file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmasos.conversion.config import Config, read_json_object
from llmasos.conversion.tokenizers.letters import SPACE_LETTER, as_decoded
from llmasos.conversion.tokenizers.pre_tokenizer_trial import find_by_behaviour
from llmasos.conversion.tokenizers.pre_tokenizers import QWEN_2, Traits, expressions_in, find_name, steps_of
from llmasos.conversion.tokenizers.special import ADD_KEYS, special_metadata
from llmasos.conversion.tokenizers.table import check_distinct, looks_like_a_mark, padding, unescaped
from llmasos.conversion.tokenizers.tokenizer_files import (
    TOKENIZER,
    AddedToken,
    JsonObject,
    TokenizerFiles,
    check_encodable,
    ids_of_words,
    list_in,
    vocabulary_size,
    words_by_text,
)
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

MODEL = "gpt2"  # llama.cpp's name for it
WORDS_FILE, MERGES_FILE = "vocab.json", "merges.txt"

# Files of old don't describe the rule by which a text is cut: the tokenizer's class knew it, GPT-2's if it is no other.
QWEN_2_CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast")

# Names for which llama.cpp puts a BOS in front of a text unless it is told not to.
ADDING_BOS = frozenset(("llama-bpe", "falcon3", "falcon-h1", "lfm2", "tekken", "chameleon"))

MOST_SHOWN = 400  # letters of a rule in an error
Pair = tuple[str, str]


def is_byte_level(files: TokenizerFiles) -> bool:
    """True if tokenizer.json describes a BPE of bytes, and not one of characters such as SentencePiece's."""
    if files.algorithm != "BPE" or files.model.get("byte_fallback") is True:
        return False
    return any("ByteLevel" in _kinds(files.tokenizer.get(part)) for part in ("pre_tokenizer", "decoder"))


def has_word_files(files: TokenizerFiles) -> bool:
    return files.has(WORDS_FILE) and files.has(MERGES_FILE)


def read_byte_level(files: TokenizerFiles, config: Config) -> Vocabulary:
    """The vocabulary of a byte-level BPE, specials and all.

    Raises BadInputError for files that are broken, and for a rule of cutting text that llama.cpp doesn't know.
    """
    if files.tokenizer:
        path, description = files.folder / TOKENIZER, files.tokenizer
        words, merges = words_by_text(files.model.get("vocab"), path), _merges(files)
        if files.model.get("continuing_subword_prefix") or files.model.get("end_of_word_suffix"):
            raise BadInputError(f"{path} marks where words begin or end, which llama.cpp's BPE has no place for")
    else:
        path, description = files.folder / MERGES_FILE, _description_of_old(files)
        words = words_by_text(read_json_object(files.folder / WORDS_FILE), files.folder / WORDS_FILE)
        merges = _merges_in_text(path)
    _check_merges(merges, words, path)
    added = _with_named(files, words, config)
    texts = {**{number: text for text, number in words.items()}, **{token.id: token.text for token in added}}
    size = vocabulary_size(files, config, ids_of_words(words, added), added)
    tokens, types = _rows(texts, added, _decodes_bytes(description), size)
    check_distinct(tokens)
    check_encodable(tokens, files.folder)  # merges are made of tokens
    vocabulary = Vocabulary(
        MODEL,
        "",
        tokens,
        types,
        merges=[_written(merge) for merge in merges],
        more=special_metadata(files, vocabulary_size=size),
    )
    return _named(vocabulary, description, files, config)


def _merges(files: TokenizerFiles) -> list[Pair]:
    """Of tokenizer.json, which writes a merge as `"a b"` or, in newer files, as `["a", "b"]`."""
    path = files.folder / TOKENIZER
    merges = list_in(files.model, "merges", path)
    if all(type(merge) is str for merge in merges):
        pairs = [merge.split(" ") for merge in merges]
    else:
        pairs = [merge if type(merge) is list else [] for merge in merges]
    if not all(len(pair) == 2 and type(pair[0]) is type(pair[1]) is str for pair in pairs):
        raise BadInputError(f"{path} has a merge that is no pair of tokens")
    return [(left, right) for left, right in pairs]


def _merges_in_text(path: Path) -> list[Pair]:
    """Of merges.txt: a pair a line, below a line with a version."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} can't be read as text") from error
    pairs = [line.split() for line in (lines[1:] if lines[0].startswith("#") else lines) if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise BadInputError(f"{path} has a line that is no pair of tokens")
    return [(left, right) for left, right in pairs]


def _check_merges(merges: Sequence[Pair], words: Mapping[str, int], path: Path) -> None:
    if not merges:
        raise BadInputError(f"{path} has no merges")
    for left, right in merges:
        if left not in words or right not in words or left + right not in words:
            raise BadInputError(f"{path} merges {left!r} and {right!r}, and not all that this takes are tokens")


def _written(merge: Pair) -> str:
    """A merge in one text. A space inside a part would end it, so it becomes the letter of the byte."""
    left, right = merge
    return f"{left} {right}" if " " not in left + right else f"{_spaceless(left)} {_spaceless(right)}"


def _spaceless(part: str) -> str:
    return part.replace(" ", SPACE_LETTER)


def _with_named(files: TokenizerFiles, words: Mapping[str, int], config: Config) -> list[AddedToken]:
    """The added tokens, and those that are added by being called something (`eos_token`) in the other files.

    One that is no token at all gets the first free number behind the others, if the model has a row for it.
    """
    added = list(files.added_tokens())
    known = {token.text for token in added}
    free = max([*words.values(), *(token.id for token in added)]) + 1
    rows = config.integer("vocab_size") if config.get("vocab_size") is not None else free
    for text in files.special_texts():
        if text in known:
            continue
        number = words.get(text, free)
        if number < rows:
            added.append(AddedToken(number, text, special=True, normalized=False))
            free += number == free
    return added


def _rows(
    texts: Mapping[int, str], added: Iterable[AddedToken], decodes_bytes: bool, size: int
) -> tuple[list[str], list[TokenType]]:
    """Every row's text and type; rows without a token are padding.

    llama.cpp's converter writes an added token that is not normalized as it comes back from being encoded and decoded:
    it is always found as itself, so only the decoder matters.
    """
    tokens = [texts.get(number) or padding(number) for number in range(size)]
    types = [TokenType.NORMAL if number in texts else TokenType.UNUSED for number in range(size)]
    for token in added:
        if token.id >= size:
            continue
        text = token.text if token.normalized or not decodes_bytes else as_decoded(token.text)
        if token.special or looks_like_a_mark(text):
            tokens[token.id], types[token.id] = text, TokenType.CONTROL
        else:
            tokens[token.id], types[token.id] = unescaped(text), TokenType.USER_DEFINED
    return tokens, types


def _description_of_old(files: TokenizerFiles) -> JsonObject:
    tokenizer_class = files.tokenizer_config.get("tokenizer_class")
    rule = {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": QWEN_2}}
    return {
        "pre_tokenizer": rule if tokenizer_class in QWEN_2_CLASSES else {"type": "ByteLevel"},
        "decoder": {"type": "ByteLevel"},
    }


def _decodes_bytes(description: JsonObject) -> bool:
    return "ByteLevel" in _kinds(description.get("decoder"))


def _kinds(part: Any) -> set[Any]:
    """The types of a description's parts."""
    if not isinstance(part, dict):
        return set()
    inner = part.get("pretokenizers") or part.get("decoders")
    found = {kind for each in inner for kind in _kinds(each)} if isinstance(inner, list) else set()
    return found | {part.get("type")} if isinstance(part.get("type"), str) else found


def _named(vocabulary: Vocabulary, description: JsonObject, files: TokenizerFiles, config: Config) -> Vocabulary:
    """The vocabulary with the name of its rule of cutting text."""
    traits = Traits(
        tokens=frozenset(vocabulary.tokens),
        model_type=str(config.get("model_type")),
        ignores_merges=files.model.get("ignore_merges") is True,
        adds_bos=vocabulary.more.get(ADD_KEYS["bos"], False),
        adds_separators=vocabulary.more.get(ADD_KEYS["sep"], False),
    )
    path = files.folder / TOKENIZER
    name = find_name(steps_of(description), traits)
    name = name or find_by_behaviour(description, path, ignores_merges=traits.ignores_merges)
    if name is None:
        raise _unknown_rule(description, path)
    silent = name in ADDING_BOS and ADD_KEYS["bos"] not in vocabulary.more
    more = {**vocabulary.more, ADD_KEYS["bos"]: False} if silent else vocabulary.more
    return replace(vocabulary, pre=name, more=more)


def _unknown_rule(description: JsonObject, path: Path) -> BadInputError:
    shown = " then ".join(expressions_in(description)) or str(description.get("pre_tokenizer"))
    return BadInputError(
        f"{path} cuts texts by a rule that llama.cpp has no name for: {shown[:MOST_SHOWN]}",
        hint="if llama.cpp does know it, add a line to llmasos/conversion/tokenizers/pre_tokenizers.py",
    )
