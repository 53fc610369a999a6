"""Whole vocabularies of byte-level families: llama.cpp makes the tokens that Hugging Face's library makes.

Where llama.cpp is known to cut otherwise, the test says where, and what it does there.
"""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from doubles.real_vocabularies import real_vocabulary
from doubles.token_ids import vocabulary_of
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.pre_tokenizer_trial import TEXTS
from llmasos.conversion.tokenizers.reading import read_vocabulary

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

# kind of vocabulary -> llama.cpp's name for its rule of cutting text
NAMES = {
    "gpt2": "gpt-2", "olmo2": "dbrx", "stablelm2": "stablelm2", "gpt-4o": "gpt-4o", "qwen2": "qwen2",
    "tekken": "tekken", "llama3": "llama-bpe", "smollm": "smollm",
}  # fmt: skip

CASED = {"tekken", "gpt-4o"}  # capitals beyond ASCII and marks are cut otherwise
# Digits that Unicode has since its version 15: llama.cpp's tables don't call them numbers, or the library's don't.
NEW_DIGITS = (
    (0x10D40, 0x10D49), (0x116D0, 0x116E3), (0x11BF0, 0x11BF9), (0x11DE0, 0x11DE9), (0x16130, 0x16139),
    (0x16D70, 0x16D79), (0x16FF4, 0x16FF6), (0x1CCF0, 0x1CCF9), (0x1E5F1, 0x1E5FA),
)  # fmt: skip


def assigned(first: int, last: int) -> list[str]:
    return [letter for letter in map(chr, range(first, last)) if unicodedata.category(letter) not in ("Cn", "Cs", "Co")]


def strings() -> list[str]:
    """Texts that rules disagree on, and thousands from a fixed seed: code, languages, spaces, anything."""
    choice = random.Random(7)
    pieces = [
        [*map(chr, range(32, 127)), *"\n\t\r"],
        assigned(0xA0, 0x250),
        assigned(0x21, 0x3000) + assigned(0x4E00, 0x5000) + assigned(0xAC00, 0xAD00) + assigned(0x1F300, 0x1FA00),
        list(" \n\t\r\u00a0\u2003\u3000\x0b\x0c\x85\u2028a1."),
        [
            "the",
            "Hello",
            " world",
            "'s",
            "'LL",
            "123",
            "4567",
            " ",
            "\n",
            "  ",
            ");",
            "->",
            "été",
            "日本",
            "🚀",
            "Москва",
        ],
    ]
    return [*TEXTS, *("".join(choice.choices(some, k=choice.randint(1, 24))) for some in pieces for _ in range(700))]


def is_cut_otherwise(text: str) -> bool:
    kinds = {(unicodedata.category(letter), letter.isascii()) for letter in text}
    return any(kind[0] == "M" or (kind in ("Lu", "Lt") and not ascii_letter) for kind, ascii_letter in kinds)


@pytest.mark.parametrize("kind", NAMES)
def test_a_whole_vocabulary_makes_the_same_tokens(kind: str, tmp_path: Path):
    folder = real_vocabulary(kind)
    vocabulary = read_vocabulary(folder, Config({}))
    assert vocabulary.pre == NAMES[kind]
    oracle, different = Tokenizer.from_file(str(folder / "tokenizer.json")), []
    with vocabulary_of(tmp_path, vocabulary.metadata()) as model:
        for text in strings():
            given = text if oracle.normalizer is None else oracle.normalizer.normalize_str(text)  # llama.cpp does not
            tokens = model.tokenize(given, add_special=False, parse_special=True)
            if tokens != oracle.encode(text, add_special_tokens=False).ids:
                different.append(text)
    assert [text for text in different if kind not in CASED or not is_cut_otherwise(text)] == []


def test_only_the_newest_digits_are_cut_otherwise(tmp_path: Path):
    folder = real_vocabulary("smollm")
    oracle = Tokenizer.from_file(str(folder / "tokenizer.json"))
    letters = [chr(code) for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000]
    texts = [f"a{each}b {each}c1{each}2\n{each} {each}{each}  {each}" for each in letters]
    encoded = oracle.encode_batch(texts, add_special_tokens=False)
    with vocabulary_of(tmp_path, read_vocabulary(folder, Config({})).metadata()) as model:
        different = {
            ord(letter)
            for letter, text, found in zip(letters, texts, encoded, strict=True)
            if model.tokenize(text, add_special=False, parse_special=True) != found.ids
        }
    assert different == {code for first, last in NEW_DIGITS for code in range(first, last + 1)}
