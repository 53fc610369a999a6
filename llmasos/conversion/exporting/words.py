"""What every kind of tokenizer has: words, special ones among them, and parts of `tokenizer.json` that depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmasos.conversion.tokenizers.special import ID_KEYS
from llmasos.conversion.tokenizers.table import padding
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary

Json = dict[str, Any]

DEFAULT_IDS = {"llama": {"unk": 0, "bos": 1, "eos": 2}}  # llama.cpp's, where a file says nothing


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the same names in `tokenizer.json`."""

    model: Json
    decoder: Json
    normalizer: Json | None = None
    pre_tokenizer: Json | None = None


def bpe_model(vocabulary: Vocabulary, **changes: Any) -> Json:
    """A `model` with every field that tokenizers may ask for; `merges` among the changes."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": word_ids(vocabulary),
        **changes,
    }


def word_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """Text -> id of every row that isn't padding: added tokens too, so that they have their ids wherever they stand."""
    return {
        str(text): number
        for number, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind != TokenType.UNUSED or text != padding(number)
    }


def special_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """Kind of special token (`bos`, `eos`, `eot`, …) -> its id; numbers that no token has don't count."""
    stated = {kind: vocabulary.more.get(key) for kind, key in ID_KEYS.items()}
    known = range(len(vocabulary.tokens))
    ids = {kind: number for kind, number in stated.items() if type(number) is int and number in known}
    return {**DEFAULT_IDS.get(vocabulary.model, {}), **ids}
