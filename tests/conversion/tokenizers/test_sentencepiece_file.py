"""`tokenizer.model` read without SentencePiece: everything in it that matters, and no harm from what is broken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.vocabularies import FOLDER
from llmasos.conversion.tokenizers.sentencepiece_file import parse_sentencepiece, read_sentencepiece_file
from llmasos.conversion.tokenizers.vocabulary import TokenType
from llmasos.errors import BadInputError

KINDS = sorted(path.parent.name for path in FOLDER.glob("*/tokenizer.model"))
LLAMA2 = (FOLDER / "llama2" / "tokenizer.model").read_bytes()
TRAINER, NORMALIZER = 2, 3  # messages of the file


def field(number: int, content: bytes) -> bytes:
    """A field with a length, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value & (1 << 64) - 1)


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def piece(text: bytes, *more: bytes) -> bytes:
    return field(1, field(1, text) + b"".join(more))


def score(value: float) -> bytes:
    return b"\x15" + struct.pack("<f", value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_says_to_us_what_it_says_to_protobuf(kind):
    from sentencepiece import sentencepiece_model_pb2 as messages

    path = FOLDER / kind / "tokenizer.model"
    expected = messages.ModelProto.FromString(path.read_bytes())
    found = read_sentencepiece_file(path)
    assert list(found.pieces) == [each.piece for each in expected.pieces]
    assert list(found.scores) == [each.score for each in expected.pieces]
    assert list(map(int, found.types)) == [each.type for each in expected.pieces]
    trainer, normalizer = expected.trainer_spec, expected.normalizer_spec
    assert found.algorithm == messages.TrainerSpec.ModelType.Name(trainer.model_type).lower()
    for name in ("unk_id", "bos_id", "eos_id", "pad_id", "treat_whitespace_as_suffix"):
        assert getattr(found, name) == getattr(trainer, name), name
    for name in ("add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces", "precompiled_charsmap"):
        assert getattr(found, name) == getattr(normalizer, name), name


def test_what_a_file_leaves_out_is_as_in_sentencepiece():
    found = parse_sentencepiece(piece(b"a"))
    assert (found.pieces, found.scores, found.types) == (("a",), (0.0,), (TokenType.NORMAL,))
    assert (found.algorithm, found.unk_id, found.bos_id, found.eos_id, found.pad_id) == ("unigram", 0, 1, 2, -1)
    assert (found.add_dummy_prefix, found.remove_extra_whitespaces, found.escape_whitespaces) == (True, True, True)
    assert found.precompiled_charsmap == b""


def test_fields_come_in_any_order_and_unknown_ones_are_passed_over():
    reversed_piece = field(1, number_field(3, 4) + score(-2.5) + field(99, b"?") + field(1, b"ab"))
    settings = field(TRAINER, number_field(43, -1) + number_field(41, 7) + field(30, b"<unk>") + number_field(3, 2))
    found = parse_sentencepiece(settings + number_field(77, 5) + reversed_piece + field(8, b"later") + piece(b"c"))
    assert (found.pieces, found.scores, found.types[0]) == (("ab", "c"), (-2.5, 0.0), TokenType.USER_DEFINED)
    assert (found.algorithm, found.bos_id, found.pad_id) == ("bpe", 7, -1)


@pytest.mark.parametrize("length", [0, 1, 0x78, 0x79, 0x7F, 0x80, 500])
def test_pieces_of_any_length_stand_among_usual_ones(length):
    text = b"x" * length
    pieces = piece(b"a", score(-1)) + piece(text, score(-2)) + piece(text, score(-3), number_field(3, 1))
    found = parse_sentencepiece(pieces + piece(b"b", score(-4)) + field(99, bytes(500)))
    assert (found.pieces, found.scores) == (("a", text.decode(), text.decode(), "b"), (-1.0, -2.0, -3.0, -4.0))


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "it has no pieces"),
        (b"version https://git-lfs.github.com/spec/v1\n", "byte"),
        (piece(b"\xff\xfe", score(0)), "no UTF-8"),
        (piece(b"a", number_field(3, 9)), "unknown type 9"),
        (piece(b"a", score(float("nan"))), "a score that is no number"),
        (piece(b"a") + field(TRAINER, number_field(3, 8)), "its algorithm has the unknown number 8"),
        (piece(b"a") + field(TRAINER, number_field(41, 1 << 40)), "special id"),
        (piece(b"a") + b"\x0a\xff\xff\xff\xff\x7f", "should follow"),
        (piece(b"a") + b"\x80" * 20, "has no end"),
        (piece(b"a") + b"\x0b", "wire type 3"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(content, reason):
    with pytest.raises(BadInputError, match=reason) as raised:
        parse_sentencepiece(content, "tokenizer.model")
    assert str(raised.value).startswith("tokenizer.model is no usable SentencePiece model: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(BadInputError, match="No such file"):
        read_sentencepiece_file(tmp_path / "tokenizer.model")


@given(st.integers(0, len(LLAMA2) - 1))
def test_a_file_that_was_cut_off_never_breaks_the_reader(length):
    parses_or_is_refused(LLAMA2[:length])


@given(st.lists(st.tuples(st.integers(0, len(LLAMA2) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_never_breaks_the_reader(damages):
    content = bytearray(LLAMA2)
    for place, byte in damages:
        content[place] = byte
    parses_or_is_refused(bytes(content))


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_never_break_the_reader(content):
    parses_or_is_refused(content)
    parses_or_is_refused(field(1, content) + field(2, content) + field(3, content))


def parses_or_is_refused(content: bytes) -> None:
    try:
        found = parse_sentencepiece(content)
    except BadInputError:
        return
    assert len(found.pieces) == len(found.scores) == len(found.types) > 0
