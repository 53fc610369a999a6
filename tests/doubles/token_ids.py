"""Token ids by llama.cpp, from a GGUF with nothing but a vocabulary; and texts over which tokenizers disagree."""

from __future__ import annotations

import os
import random
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf

from llmasos.engine.bindings import lib
from llmasos.engine.model import Model

# Alphabets of random texts: what is common, what needs several bytes, what marks, joins, breaks or vanishes.
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz etaoin ETAOIN 0123456789 .,;:!?'\"()-_",
    " \t\n  ▁",
    "aàáâãäåæçéèêëñöøßœ ÀÉÎÕÜŠŽ ıİ",
    "привет мир ЖЩ ελληνικά ΣΑΣ עברית العربية हिन्दी ไทย",
    "模型在本地运行你好世界 ひらがなカタカナ 한국어",
    "🦙🚀👩\u200d👩\u200d👧👍🏽🇩🇪❤\ufe0f😀",
    "e\u0301a\u0308\u0327n\u0303 \u200b\u200d\ufeff\u00a0\u2028\u3000",
    "<>|[]{}/\\@#$%^&*~`=+",
    "ﬁﬂ①½™ℌＡＢ㎏ǅ𝕏",
)
NASTY = (
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n\n\n", "\t", "\t\t\t", " \n \n", "\r\n", "a", " a", "  a", "a ", "a  ",
    " a  b   c ", "a" + " " * 40 + "b", "Hello world", "Hello, world!", "hello\nworld", "x = 1\n    y = 2\n\tz = 3",
    "▁", "▁▁a", "a▁b", "\x00", "a\x00b", "\x01\x7f\x85", "\ufffd", "\ufeffa", "e\u0301", "👍🏽", "👩\u200d👩\u200d👧",
    "𠮷野家", "🜁🜂", "ﷺ", "\u0378", "\U0010ffff", "ab" * 50, "a" * 101, "!" * 40, "<0x41>", "<0x0A>", "don't won't I'm",
    "3.14159 1,000,000", "C:\\path\\file", "https://example.org/a?b=c&d=%20",
)  # fmt: skip


@contextmanager
def vocabulary_of(folder: Path, metadata: Mapping[str, Any], architecture: str = "llama") -> Iterator[Model]:
    """A model that has a vocabulary and no weights, by way of a GGUF in the folder."""
    path = _write(folder / "vocabulary.gguf", metadata, architecture)
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = Model(lib.llama_model_load_from_file(os.fsencode(path), params))
    assert model.handle
    try:
        yield model
    finally:
        model.close()


def _write(path: Path, metadata: Mapping[str, Any], architecture: str) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value:
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def texts(count: int, specials: Iterable[str] = (), seed: int = 1) -> list[str]:
    """The nasty texts, then seeded random ones from every alphabet and from all of Unicode, with marks among them."""
    chance, marks = random.Random(seed), tuple(specials)
    found = [*NASTY, *(f"{left}{mark}{right}" for mark in marks for left in ("", "a") for right in ("", "b", " b"))]
    while len(found) < count:
        parts = [_random_part(chance, marks) for _ in range(chance.randint(1, 6))]
        found.append("".join(parts))
    return found


def _random_part(chance: random.Random, marks: tuple[str, ...]) -> str:
    kind = chance.random()
    if marks and kind < 0.1:
        return chance.choice(marks)
    if kind < 0.2:
        codes = (chance.randrange(0x20, 0x110000) for _ in range(chance.randint(1, 4)))
        return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
    return "".join(chance.choices(chance.choice(ALPHABETS), k=chance.randint(1, 12)))


def bert_can_follow(text: str) -> bool:
    """False for texts of which llama.cpp's WordPiece, in lower case, makes other tokens than BERT's.

    It knows no parts of Korean syllables, drops marks that take room of their own, has the sign for a space as its
    mark for words, and cuts up words of more than 100 letters, which BERT calls unknown.
    """
    korean = any("\uac00" <= letter <= "\ud7a3" for letter in text)
    wide_marks = any(unicodedata.category(letter) in ("Mc", "Me") for letter in text)
    return not (korean or wide_marks or "▁" in text or any(len(word) > 100 for word in text.split()))
