"""From a checkpoint's folder to its vocabulary: looks which files there are and has them read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.byte_level import has_word_files, is_byte_level, read_byte_level
from llmasos.conversion.tokenizers.sentencepiece import has_sentencepiece_file, read_sentencepiece
from llmasos.conversion.tokenizers.special import special_metadata
from llmasos.conversion.tokenizers.tokenizer_files import TokenizerFiles, check_encodable, read_tokenizer_files
from llmasos.conversion.tokenizers.vocabulary import Vocabulary
from llmasos.conversion.tokenizers.wordpiece import WORDS_FILE, read_wordpiece
from llmasos.errors import BadInputError


def read_vocabulary(folder: Path, config: Config) -> Vocabulary:
    """The tokenizer of a checkpoint, whole.

    Raises BadInputError, naming the file, if there is none or if it is broken, and for tokenizers that llama.cpp could
    not follow.
    """
    files = read_tokenizer_files(folder)
    try:
        vocabulary = _read(files, config)
    except RecursionError as error:
        raise BadInputError(f"{folder} has a tokenizer whose description is nested beyond reason") from error
    check_encodable((*vocabulary.tokens, *vocabulary.more.values()), folder)
    return vocabulary


def _read(files: TokenizerFiles, config: Config) -> Vocabulary:
    if is_byte_level(files):
        return read_byte_level(files, config)
    if files.algorithm == "WordPiece" or (not files.algorithm and files.has(WORDS_FILE)):
        return _with_specials(read_wordpiece(files, config), files)
    if has_sentencepiece_file(files) or files.algorithm in ("BPE", "Unigram"):
        return _with_specials(read_sentencepiece(files, config), files)
    if files.algorithm:
        raise BadInputError(f"{files.folder} has a tokenizer of the kind {files.algorithm}, which llama.cpp has not")
    if has_word_files(files):
        return read_byte_level(files, config)
    raise BadInputError(
        f"{files.folder} has no tokenizer",
        hint="it should hold tokenizer.json, tokenizer.model, vocab.txt, or vocab.json with merges.txt",
    )


def _with_specials(vocabulary: Vocabulary, files: TokenizerFiles) -> Vocabulary:
    special = special_metadata(files, vocabulary_size=len(vocabulary.tokens))
    return replace(vocabulary, more={**vocabulary.more, **special})
