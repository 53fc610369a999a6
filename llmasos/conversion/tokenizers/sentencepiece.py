"""SentencePiece vocabularies: BPE that falls back to bytes (Llama 2, Mistral, Gemma, Phi-3) and unigram (T5, XLM-R).

BPE's pieces stand in `tokenizer.model`. Many repositories have only `tokenizer.json`, whose list of merges was made
from the pieces' scores: llama.cpp merges the two neighbours whose join has the best score, so the order in which the
joins appear in that list gives the scores back. Unigram's pieces stand in both files with their scores.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.sentencepiece_file import SentencePieceModel, read_sentencepiece_file
from llmasos.conversion.tokenizers.table import ADDED_SCORE, SPACE, Table, unescaped
from llmasos.conversion.tokenizers.tokenizer_files import (
    ADDED_TOKENS,
    TOKENIZER,
    AddedToken,
    JsonObject,
    TokenizerFiles,
    ids_of_words,
    list_in,
    object_in,
    token_id,
    vocabulary_size,
    words_by_text,
)
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

FAIRSEQ_FILE = "sentencepiece.bpe.model"
MODEL_FILES = ("tokenizer.model", "spiece.model", FAIRSEQ_FILE)
FAIRSEQ_FIRST = ("<s>", "<pad>", "</s>", "<unk>")

ADD_SPACE = "tokenizer.ggml.add_space_prefix"
REMOVE_SPACES = "tokenizer.ggml.remove_extra_whitespaces"
CHARSMAP = "tokenizer.ggml.precompiled_charsmap"

OF_TEXT = (TokenType.NORMAL, TokenType.BYTE)  # the other pieces are marks, or places for them

BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))  # the only way in which llama.cpp looks for them


def has_sentencepiece_file(files: TokenizerFiles) -> bool:
    return any(files.has(name) for name in MODEL_FILES)


def read_sentencepiece(files: TokenizerFiles, config: Config) -> Vocabulary:
    """The vocabulary of a SentencePiece tokenizer: `model` is `llama` for BPE, `t5` for unigram.

    `more` has what the pieces' own file says: whether a space is put before a text, whether spaces are merged, how
    characters are normalized. Raises BadInputError for files that are broken or that llama.cpp could not follow.
    """
    path = next((files.folder / name for name in MODEL_FILES if files.has(name)), None)
    model = _followable(read_sentencepiece_file(path), path) if path is not None else None
    if files.algorithm == "Unigram" or (model is not None and model.algorithm == "unigram"):
        return _unigram(files, config, path, model)
    if model is None:
        return _bpe_from_merges(files, config)
    return _bpe_from_pieces(files, config, model)


def _followable(model: SentencePieceModel, path: Path) -> SentencePieceModel:
    if model.algorithm not in ("bpe", "unigram"):
        raise BadInputError(f"{path} cuts texts into {model.algorithm}s, which llama.cpp does not")
    if model.treat_whitespace_as_suffix or not model.escape_whitespaces:
        raise BadInputError(f"{path} keeps spaces behind words, or as they are, which llama.cpp does not")
    return model


def _bpe_from_pieces(files: TokenizerFiles, config: Config, model: SentencePieceModel) -> Vocabulary:
    table = _table_of_pieces(files, config, model)
    for text, number in files.added_tokens_map.items():
        table.put(token_id(number, files.folder / ADDED_TOKENS), text, ADDED_SCORE, TokenType.USER_DEFINED)
    for token in replace(files, tokenizer={}, added_tokens_map={}).added_tokens():
        table.add(token)
    for token in files.added_tokens():  # tokenizer.json may know some that the others don't
        if table.is_free(token.id):
            table.add(token)
    return _bpe(table, files, adds_space=model.add_dummy_prefix)


def _bpe_from_merges(files: TokenizerFiles, config: Config) -> Vocabulary:
    path = files.folder / TOKENIZER
    words = words_by_text(files.model.get("vocab"), path)
    added = files.added_tokens()
    scores = _scores(words, _joins(files, words), without={token.text for token in added})
    table = Table(vocabulary_size(files, config, ids_of_words(words, added), added))
    for text, number in words.items():
        table.put(number, text, scores.get(text, 0.0), TokenType.BYTE if text in BYTES else TokenType.NORMAL)
    for token in added:
        table.add(token)
    return _bpe(table, files, adds_space=_adds_space(files))


def _bpe(table: Table, files: TokenizerFiles, *, adds_space: bool) -> Vocabulary:
    missing = BYTES - set(table.tokens)
    if missing:
        raise BadInputError(
            f"the tokenizer in {files.folder} has no token for {len(missing)} of the 256 bytes",
            hint="llama.cpp needs them for characters that no piece covers",
        )
    stated = files.tokenizer_config.get("add_prefix_space")
    if isinstance(stated, bool):
        return table.vocabulary("llama", {ADD_SPACE: stated})
    return table.vocabulary("llama", {} if adds_space else {ADD_SPACE: False})  # true is taken for granted


def _table_of_pieces(files: TokenizerFiles, config: Config, model: SentencePieceModel) -> Table:
    """Rows for the pieces, and for the added tokens if config.json doesn't say how many there are."""
    words = [number for number, kind in enumerate(model.types) if kind in OF_TEXT]
    last = AddedToken(len(model.pieces) - 1, model.pieces[-1])  # marks may stand behind the words
    size = vocabulary_size(files, config, words, [*files.added_tokens(), last])
    return Table(size, _texts(model), model.scores, model.types)


def _texts(model: SentencePieceModel) -> list[str]:
    """Pieces as llama.cpp has them: user-defined ones are looked for in a text whose spaces are still spaces."""
    return [
        unescaped(text) if kind is TokenType.USER_DEFINED else text
        for text, kind in zip(model.pieces, model.types, strict=True)
    ]


def _joins(files: TokenizerFiles, words: Mapping[str, int]) -> list[str]:
    """What the merges of tokenizer.json make, best first, each once; newer files write ["a", "b"] for "a b"."""
    path = files.folder / TOKENIZER
    merges = list_in(files.model, "merges", path)
    kinds = set(map(type, merges))
    try:
        if kinds == {str}:
            joins = ["".join(_pair(merge)) for merge in merges]
        elif kinds <= {list}:
            joins = [left + right for left, right in merges]
        else:
            raise ValueError
        found = list(dict.fromkeys(joins))
        unknown = next((join for join in found if join not in words), None)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{path} has merges that are no pairs of pieces") from error
    if unknown is not None:
        raise BadInputError(f"{path} merges two pieces to {unknown!r}, which its vocabulary does not have")
    return found


def _pair(merge: str) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not (left and space and right):
        raise ValueError
    return left, right


def _scores(words: Mapping[str, int], joins: Sequence[str], without: set[str]) -> dict[str, float]:
    """Scores as a trainer of SentencePiece numbers them: 0, -1, -2 … for the joins, then on for what nothing makes."""
    ordered = [text for text in joins if text not in without]
    made = {*ordered, *without}
    ordered += sorted((text for text in words if text not in made and text not in BYTES), key=words.__getitem__)
    return {text: -float(rank) for rank, text in enumerate(ordered)}


def _adds_space(files: TokenizerFiles) -> bool:
    """Whether tokenizer.json puts a space before a text. Raises BadInputError for what llama.cpp can't do to a text."""
    adds = False
    for step in _steps(files):
        kind, pattern = step.get("type"), step.get("pattern")
        if kind == "Prepend" and step.get("prepend") == SPACE:
            adds = True
        elif kind == "Metaspace":
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            adds = adds or scheme != "never"
        elif not (kind in ("Replace", "Split") and pattern == {"String": " "}):
            raise BadInputError(
                f"{files.folder / TOKENIZER} prepares texts by `{kind}`, which llama.cpp does not for such a vocabulary"
            )
    return adds


def _steps(files: TokenizerFiles) -> Iterator[JsonObject]:
    """What is done to a text before pieces are looked for: the steps of the normalizer and the pre-tokenizer."""
    path = files.folder / TOKENIZER
    for name, inner in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        whole = object_in(files.tokenizer, name, path)
        for step in list_in(whole, inner, path) if whole.get("type") == "Sequence" else filter(None, [whole]):
            if not isinstance(step, dict):
                raise BadInputError(f"{path} has a `{name}` with a step that is no object")
            yield step


def _unigram(files: TokenizerFiles, config: Config, path: Path | None, model: SentencePieceModel | None) -> Vocabulary:
    if files.algorithm == "Unigram":
        table = _unigram_from_json(files, config)
    else:
        assert model is not None  # else there would be no unigram
        table = _unigram_from_pieces(files, config, _fairseq(model) if path and path.name == FAIRSEQ_FILE else model)
    more: dict[str, Any] = (
        _unigram_flags(files)
        if model is None
        else {
            ADD_SPACE: model.add_dummy_prefix,
            REMOVE_SPACES: model.remove_extra_whitespaces,
            CHARSMAP: model.precompiled_charsmap,
        }
    )
    return table.vocabulary("t5", {key: value for key, value in more.items() if value != b""})


def _unigram_from_pieces(files: TokenizerFiles, config: Config, model: SentencePieceModel) -> Table:
    table = _table_of_pieces(files, config, model)
    for token in files.added_tokens():
        if table.is_free(token.id):
            table.add(token)
    return table


def _fairseq(model: SentencePieceModel) -> SentencePieceModel:
    """Fairseq's models number four special tokens first, in the place of the three that stand first in the file."""
    control = TokenType.CONTROL
    return replace(
        model,
        pieces=(*FAIRSEQ_FIRST, *model.pieces[3:]),
        scores=(0.0, 0.0, 0.0, 0.0, *model.scores[3:]),
        types=(control, control, control, TokenType.UNKNOWN, *model.types[3:]),
    )


def _unigram_from_json(files: TokenizerFiles, config: Config) -> Table:
    path = files.folder / TOKENIZER
    pieces, added = list_in(files.model, "vocab", path), files.added_tokens()
    scored = [_scored(piece, path) for piece in pieces]
    words = {text: number for number, (text, _) in enumerate(scored)}
    size = vocabulary_size(files, config, ids_of_words(words, added), added)
    table = Table(size)
    unknown, bytes_too = files.model.get("unk_id"), files.model.get("byte_fallback") is True
    for number, (text, score) in enumerate(scored):
        is_byte = bytes_too and text in BYTES
        table.put(number, text, score, TokenType.BYTE if is_byte else TokenType.NORMAL)
    for token in added:
        if token.id >= size:
            continue
        score = table.scores[token.id] if token.id < len(pieces) else ADDED_SCORE
        table.add(token)
        table.put(token.id, table.tokens[token.id], score, table.types[token.id])
    if type(unknown) is int and 0 <= unknown < min(len(pieces), size):
        table.types[unknown] = TokenType.UNKNOWN
    return table


def _scored(piece: Any, path: Path) -> tuple[str, float]:
    if isinstance(piece, list) and len(piece) == 2:
        text, score = piece
        if isinstance(text, str) and type(score) in (int, float) and abs(score) < 1e30:
            return text, float(score)
    raise BadInputError(f"{path} has a piece {piece!r}, which is no text with its score")


def _unigram_flags(files: TokenizerFiles) -> dict[str, Any]:
    """What tokenizer.json does to a text, in the words of SentencePiece."""
    steps = list(_steps(files))
    kinds = [step.get("type") for step in steps]
    adds = any(step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never" for step in steps)
    merges = any(step.get("type") == "Replace" and step.get("pattern") == {"Regex": " {2,}"} for step in steps)
    charsmap: Any = next((step.get("precompiled_charsmap") for step in steps if step.get("type") == "Precompiled"), "")
    try:
        decoded = base64.b64decode(charsmap, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadInputError(f"{files.folder / TOKENIZER} has a table of characters that is broken") from error
    return {ADD_SPACE: adds, REMOVE_SPACES: merges or "WhitespaceSplit" in kinds, CHARSMAP: decoded}
