"""WordPiece vocabularies: BERT and its kin.

llama.cpp marks what begins a word, with SentencePiece's sign for a space, where BERT marks with `##` what does not.
"""

from __future__ import annotations

from typing import Any

from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.special import ID_KEYS, NORMALIZER_KEYS
from llmasos.conversion.tokenizers.table import SPACE, check_distinct, looks_like_a_mark, padding
from llmasos.conversion.tokenizers.tokenizer_files import (
    TOKENIZER,
    AddedToken,
    TokenizerFiles,
    ids_of_words,
    vocabulary_size,
    words_by_text,
)
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

WORDS_FILE = "vocab.txt"
INNER = "##"  # before what continues a word
MARKS = {"bos": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "pad": "[PAD]", "mask": "[MASK]"}  # BERT's, of any language
TOKEN_TYPE_COUNT = "tokenizer.ggml.token_type_count"

# llama.cpp's names for the two usual vocabularies, English in lower case and Chinese, by how many words they have.
PRE_NAMES = {30522: "bert-bge", 21128: "bert-bge-large"}


def read_wordpiece(files: TokenizerFiles, config: Config) -> Vocabulary:
    """The vocabulary of a WordPiece tokenizer, from tokenizer.json or, in older repositories, from vocab.txt.

    Raises BadInputError for files that are broken.
    """
    if files.tokenizer:
        words, more = words_by_text(files.model.get("vocab"), files.folder / TOKENIZER), {}
        added = files.added_tokens()
    else:
        words = _listed_words(files)
        more = _what_no_file_says(files, words)
        added = tuple(AddedToken(words[mark], mark, special=True) for mark in MARKS.values() if mark in words)
    more[TOKEN_TYPE_COUNT] = config.integer("type_vocab_size") if config.get("type_vocab_size") else 1
    size = vocabulary_size(files, config, ids_of_words(words, added), added)
    texts = {number: text for text, number in words.items()} | {token.id: token.text for token in added}
    texts = {number: text for number, text in texts.items() if number < size}
    kinds = {token.id: _kind(token) for token in added}
    rows = [_row(texts.get(number), kinds.get(number, TokenType.NORMAL), number) for number in range(size)]
    tokens, types = [text for text, _ in rows], [kind for _, kind in rows]
    check_distinct(tokens)
    return Vocabulary("bert", PRE_NAMES.get(len(texts), "default"), tokens, types, more=more)


def _kind(token: AddedToken) -> TokenType:
    return TokenType.CONTROL if token.special or looks_like_a_mark(token.text) else TokenType.USER_DEFINED


def _row(text: str | None, kind: TokenType, number: int) -> tuple[str, TokenType]:
    """A token as llama.cpp has it; added ones are looked for in the text and stay as they are."""
    if text is None:
        return SPACE + padding(number), TokenType.UNUSED
    if kind is not TokenType.NORMAL:
        return text, kind
    return text[len(INNER) :] if text.startswith(INNER) else SPACE + text, kind


def _listed_words(files: TokenizerFiles) -> dict[str, int]:
    """The lines of vocab.txt. Raises BadInputError if there is none, or a word stands in it twice."""
    path = files.folder / WORDS_FILE
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise BadInputError(f"{files.folder} has neither {TOKENIZER} nor {WORDS_FILE}") from error
    except OSError as error:
        raise BadInputError(f"{path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is no text in UTF-8") from error
    if lines == [""]:
        raise BadInputError(f"{path} is empty")
    check_distinct(lines)
    return {line: number for number, line in enumerate(lines)}


def _what_no_file_says(files: TokenizerFiles, words: dict[str, int]) -> dict[str, Any]:
    """What tokenizer.json would tell: where BERT's marks are, and what is done to letters."""
    lowercase, strips = files.tokenizer_config.get("do_lower_case"), files.tokenizer_config.get("strip_accents")
    flags = {"lowercase": lowercase is not False, "strip_accents": strips}
    return {
        **{ID_KEYS[kind]: words[mark] for kind, mark in MARKS.items() if mark in words},
        **{NORMALIZER_KEYS[name]: flag for name, flag in flags.items() if isinstance(flag, bool)},
    }
