"""`tokenizer.model`, the file of a SentencePiece tokenizer, read without SentencePiece and without protobuf.

A protobuf message is a row of fields: a number with a wire type, then a varint, four or eight bytes, or a length with
as many bytes. The fields and their defaults are those of SentencePiece's `sentencepiece_model.proto`. Every length is
checked before it is believed, and nothing but `BadInputError` comes out.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.conversion.tokenizers.vocabulary import TokenType
from llmasos.errors import BadInputError

LARGEST_FILE = 256 * 1024**2  # bytes; Gemma's, the largest known, has 4.7 million
ALGORITHMS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
PIECE_TYPES = {int(each): each for each in TokenType}  # the file numbers them as llama.cpp does

FLOAT = struct.Struct("<f")
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # wire types
FIXED_BYTES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
LONGEST_VARINT = 10  # bytes

# Keys of fields: the number times eight, and the wire type.
PIECE, TRAINER, NORMALIZER = (1 << 3 | LENGTH), (2 << 3 | LENGTH), (3 << 3 | LENGTH)
PIECE_TEXT, PIECE_SCORE, PIECE_TYPE = (1 << 3 | LENGTH), (2 << 3 | FOUR_BYTES), (3 << 3 | VARINT)
NORMAL_TYPE = bytes((PIECE_TYPE, TokenType.NORMAL))
LONGEST_USUAL = 2 + 0x7F + 2 + 0xFF + 5 + 2  # bytes that `take_usual` may look at, of a piece that is none of its
CHARSMAP = 2 << 3 | LENGTH
TRAINER_NUMBERS = {40: "unk_id", 41: "bos_id", 42: "eos_id", 43: "pad_id"}
TRAINER_ALGORITHM, TRAINER_SUFFIX = 3, 24
NORMALIZER_FLAGS = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces", 5: "escape_whitespaces"}


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """What the file says; a piece's number is its place. Of the special ids, -1 stands for one that there isn't."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]  # logarithms of probabilities, or for BPE minus the order of the merges
    types: tuple[TokenType, ...]
    algorithm: str = "unigram"
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    add_dummy_prefix: bool = True  # a space before the text
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True  # to U+2581
    treat_whitespace_as_suffix: bool = False
    precompiled_charsmap: bytes = b""  # how characters are normalized; empty leaves them


def read_sentencepiece_file(path: Path) -> SentencePieceModel:
    """Raises BadInputError, naming the file, if it can't be read or is broken."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror or error}") from error
    if len(content) > LARGEST_FILE:
        raise BadInputError(f"{path} is larger than any SentencePiece model")
    return parse_sentencepiece(content, str(path))


def parse_sentencepiece(content: bytes, name: str = "the file") -> SentencePieceModel:
    """As `read_sentencepiece_file`, from the file's bytes."""
    try:
        return _parse(content)
    except (_BrokenError, UnicodeDecodeError) as error:
        reason = "it has a piece that is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadInputError(
            f"{name} is no usable SentencePiece model: {reason}",
            hint="fetch it again; it may have been cut off, or be the pointer that git-lfs leaves",
        ) from error


class _BrokenError(Exception):
    """The reason that a file is refused."""


def _parse(content: bytes) -> SentencePieceModel:
    pieces = _Pieces()
    settings: dict[str, Any] = {}
    position = pieces.take_usual(content, 0)
    while position < len(content):
        key, start, position = _field(content, position, len(content))
        if key == PIECE:
            pieces.take(content, start, position)
        elif key == TRAINER:
            settings |= _trainer_settings(content, start, position)
        elif key == NORMALIZER:
            settings |= _normalizer_settings(content, start, position)
        position = pieces.take_usual(content, position)
    if not pieces.texts:
        raise _BrokenError("it has no pieces")
    if not all(map(math.isfinite, pieces.scores)):
        raise _BrokenError("it has a score that is no number")
    return SentencePieceModel(tuple(pieces.texts), tuple(pieces.scores), tuple(pieces.types), **settings)


class _Pieces:
    """The pieces read so far."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.scores: list[float] = []
        self.types: list[TokenType] = []

    def take(self, content: bytes, position: int, end: int) -> None:
        """Reads the piece between two places."""
        text, score, kind = "", 0.0, TokenType.NORMAL
        while position < end:
            key, value, position = _field(content, position, end)
            if key == PIECE_TEXT:
                text = content[value:position].decode("utf-8")
            elif key == PIECE_SCORE:
                (score,) = FLOAT.unpack_from(content, value)
            elif key == PIECE_TYPE:
                if value not in PIECE_TYPES:
                    raise _BrokenError(f"the piece that ends at byte {end} has the unknown type {value}")
                kind = PIECE_TYPES[value]
        self.texts.append(text)
        self.scores.append(score)
        self.types.append(kind)

    def take_usual(self, content: bytes, position: int) -> int:
        """Reads pieces of a short text, a score and no type or the normal one, and returns where others begin.

        Nearly all are so; this loop is kept bare, for walking over their fields takes four times as long.
        """
        scores = []
        while position < len(content) - LONGEST_USUAL and content[position] == PIECE:
            size, begin = content[position + 1], position + 4
            end = begin + content[begin - 1]  # of the text
            position_after = position + 2 + size
            if size > 0x7F or content[position + 2] != PIECE_TEXT or content[end] != PIECE_SCORE:
                break
            if position_after != end + 5 and content[end + 5 : position_after] != NORMAL_TYPE:
                break
            self.texts.append(content[begin:end].decode("utf-8"))
            scores.append(content[end + 1 : end + 5])
            position = position_after
        self.scores += struct.unpack(f"<{len(scores)}f", b"".join(scores))
        self.types += [TokenType.NORMAL] * len(scores)
        return position


def _trainer_settings(content: bytes, start: int, end: int) -> dict[str, Any]:
    numbers = {key >> 3: value for key, value, _ in _fields(content, start, end) if key & 7 == VARINT}
    settings: dict[str, Any] = {
        name: _signed(numbers[number]) for number, name in TRAINER_NUMBERS.items() if number in numbers
    }
    if TRAINER_ALGORITHM in numbers:
        if numbers[TRAINER_ALGORITHM] not in ALGORITHMS:
            raise _BrokenError(f"its algorithm has the unknown number {numbers[TRAINER_ALGORITHM]}")
        settings["algorithm"] = ALGORITHMS[numbers[TRAINER_ALGORITHM]]
    if TRAINER_SUFFIX in numbers:
        settings["treat_whitespace_as_suffix"] = bool(numbers[TRAINER_SUFFIX])
    return settings


def _normalizer_settings(content: bytes, start: int, end: int) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value, stop in _fields(content, start, end):
        if key == CHARSMAP:
            settings["precompiled_charsmap"] = content[value:stop]
        elif key & 7 == VARINT and key >> 3 in NORMALIZER_FLAGS:
            settings[NORMALIZER_FLAGS[key >> 3]] = bool(value)
    return settings


def _fields(content: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of the message between two places, as `_field` gives them."""
    while position < end:
        key, value, position = _field(content, position, end)
        yield key, value, position


def _field(content: bytes, position: int, end: int) -> tuple[int, int, int]:
    """The field at a place: its key, then a varint's value or where the content begins, and where the field ends."""
    key, position = _varint(content, position, end)
    wire_type = key & 7
    if wire_type == VARINT:
        value, position = _varint(content, position, end)
        return key, value, position
    if wire_type == LENGTH:
        count, position = _varint(content, position, end)
    elif wire_type in FIXED_BYTES:
        count = FIXED_BYTES[wire_type]
    else:
        raise _BrokenError(f"a field of the unknown wire type {wire_type} stands before byte {position}")
    if count > end - position:
        raise _BrokenError(f"{count} bytes should follow byte {position}, {end - position} do")
    return key, position, position + count


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of 64 bits at most, seven of them in a byte, the lowest first; and where the next thing begins."""
    if position < end and (first := content[position]) < 0x80:  # nearly all, in files of a million fields
        return first, position + 1
    value = 0
    for index, byte in enumerate(content[position : min(end, position + LONGEST_VARINT)]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & ((1 << 64) - 1), position + index + 1
    raise _BrokenError(f"the number at byte {position} has no end")


def _signed(value: int) -> int:
    """An int32 as a varint carries it: a negative one in 64 bits."""
    signed = value - (1 << 64) if value >> 63 else value
    if not -(1 << 31) <= signed < 1 << 31:
        raise _BrokenError(f"it has the special id {signed}")
    return signed
