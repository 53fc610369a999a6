"""Tokens that are marks and not text: which they are, and which a text gets in front of it, between two, and behind it.

What is said here is what llama.cpp's own converter says, key for key: names stand in tokenizer_config.json, numbers in
tokenizer.json's added tokens and, where that has none, in config.json; the post-processor tells what is put around a
text. Which tokens end an answer llama.cpp finds out for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmasos.conversion.tokenizers.chat_templates import chat_template_metadata
from llmasos.conversion.tokenizers.tokenizer_files import (
    CONFIG,
    TOKENIZER,
    JsonObject,
    TokenizerFiles,
    list_in,
    object_in,
    text_of,
    token_id,
)
from llmasos.errors import BadInputError

KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
REPLACED_END_KINDS = ("eot", "eom")  # where an `eos_token` goes that the post-processor contradicts

ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # spelt so in every GGUF
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
}
ADD_KEYS = {kind: f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")}
NORMALIZER_KEYS = {
    "lowercase": "tokenizer.ggml.normalizer.lowercase",
    "strip_accents": "tokenizer.ggml.normalizer.strip_accents",
}


def special_metadata(files: TokenizerFiles, *, vocabulary_size: int | None = None) -> dict[str, Any]:
    """Ids of special tokens, whether they are put around a text, chat templates, and what is done to letters.

    Ids from `vocabulary_size` on, if that is given, are left out. Raises BadInputError for files that say nonsense.
    """
    names = _Names(files)
    ids = _ids(files, names, vocabulary_size)
    return {
        **{ID_KEYS[kind]: number for kind, number in ids.items() if kind in ID_KEYS},
        **{ADD_KEYS[kind]: added for kind, added in names.added.items() if kind in ADD_KEYS},
        **chat_template_metadata(files),
        **_normalizer_flags(object_in(files.tokenizer, "normalizer", files.folder / TOKENIZER)),
    }


class _Names:
    """What each kind of special token is called, and whether it is added to a text.

    `text` begins as tokenizer_config.json says; the post-processor of tokenizer.json then has the last word on what
    stands at the ends of a text. Without tokenizer_config.json only `added` counts.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self.stated = bool(files.tokenizer_config)
        self.text = {kind: text_of(files.tokenizer_config.get(f"{kind}_token")) for kind in KINDS}
        self.kinds: tuple[str, ...] = KINDS
        self.added: dict[str, bool] = {}
        if files.tokenizer:
            self.text["bos"] = self.text["bos"] or self.text["cls"]
            self.text["eos"] = self.text["eos"] or self.text["sep"]
            for processor in _post_processors(files):
                self._follow(processor, files.folder / TOKENIZER)
        for kind in self.kinds:
            wanted = files.tokenizer_config.get(f"add_{kind}_token")
            if isinstance(wanted, bool):
                self.added.setdefault(kind, wanted)

    def _follow(self, processor: JsonObject, path: Path) -> None:
        if processor.get("type") == "ByteLevel":
            self.added = {"bos": False, "eos": False} | self.added
        elif processor.get("type") == "RobertaProcessing":
            self.added |= {"bos": True, "eos": True, "sep": True}
            self.text["cls"] = self.text["cls"] or _first_text(processor.get("cls")) or self.text["bos"]
            self.text["sep"] = self.text["sep"] or _first_text(processor.get("sep")) or self.text["eos"]
        elif processor.get("type") == "TemplateProcessing":
            single = _template(processor, "single", path)
            first, last = (_token_of(single[0]), _token_of(single[-1])) if len(single) > 1 else ("", "")
            if first:
                self._begin_with(first)
            if last:
                self._end_with(last)
            self._separate_with(_template(processor, "pair", path), first, last)

    def _begin_with(self, first: str) -> None:
        if not self.stated:
            self.text["bos"] = first
        elif first not in (self.text["bos"], self.text["cls"]):
            self.text["bos"] = self.text["bos"] or first
            self.text["cls"] = self.text["cls"] or first
        self.added["bos"] = first in (self.text["bos"], self.text["cls"])

    def _end_with(self, last: str) -> None:
        """The token behind every text is the end of a text, whatever tokenizer_config.json calls so."""
        if self.stated and last != self.text["eos"]:
            free = next((kind for kind in REPLACED_END_KINDS if kind not in self.kinds), None)
            if free is not None:
                self.kinds += (free,)
                self.text[free] = self.text["eos"]
        self.text["eos"] = last
        self.added["eos"] = True

    def _separate_with(self, pair: Sequence[tuple[str, str]], first: str, last: str) -> None:
        """Reads `[first] A [separators] B [last]`; other shapes of pairs say nothing."""
        pair = pair[1:] if first and pair and pair[0] == ("SpecialToken", first) else pair
        pair = pair[:-1] if last and pair and pair[-1] == ("SpecialToken", last) else pair
        if len(pair) < 3 or pair[0] != ("Sequence", "A") or pair[-1] != ("Sequence", "B"):
            return
        between = [_token_of(piece) for piece in pair[1:-1]]
        separators = [text for text in (self.text["sep"], self.text["eos"]) if text]
        one = between[0] in separators and not last
        two = len(between) == 2 and between[1] in separators
        self.added["sep"] = one or two
        if self.added["sep"]:
            self.text["sep"] = self.text["sep"] or self.text["eos"]


def _post_processors(files: TokenizerFiles) -> Iterator[JsonObject]:
    path = files.folder / TOKENIZER
    whole = object_in(files.tokenizer, "post_processor", path)
    for processor in list_in(whole, "processors", path) if "processors" in whole else [whole]:
        if not isinstance(processor, dict):
            raise BadInputError(f"{path} has a post-processor that is no object")
        yield processor


def _template(processor: JsonObject, name: str, path: Path) -> list[tuple[str, str]]:
    """A template's pieces, as `SpecialToken` or `Sequence` with its name."""
    pieces = []
    for piece in list_in(processor, name, path):
        if not isinstance(piece, dict) or len(piece) != 1:
            raise BadInputError(f"{path} has a post-processor with a piece {piece!r}")
        [(kind, described)] = piece.items()
        text = described.get("id") if isinstance(described, dict) else None
        if not isinstance(text, str):
            raise BadInputError(f"{path} has a post-processor with a piece {piece!r}")
        pieces.append((kind, text))
    return pieces


def _token_of(piece: tuple[str, str]) -> str:
    """The text of a template's special token; empty for a place that holds a text."""
    return piece[1] if piece[0] == "SpecialToken" else ""


def _first_text(pair: Any) -> str:
    """The text of `["<s>", 0]`."""
    return pair[0] if isinstance(pair, list) and pair and isinstance(pair[0], str) else ""


def _ids(files: TokenizerFiles, names: _Names, vocabulary_size: int | None) -> dict[str, int]:
    """Kind -> id; tokenizer.json's before config.json's."""
    ids: dict[str, int] = {}
    if files.tokenizer_config:
        added = _ids_of_added_tokens(files)
        ids = {kind: added[names.text[kind]] for kind in names.kinds if names.text[kind] in added}
        ids = _within(ids, vocabulary_size)
    for kind, number in _within(_ids_in_config(files, names.kinds), vocabulary_size).items():
        ids.setdefault(kind, number)
    return ids


def _ids_of_added_tokens(files: TokenizerFiles) -> dict[str, int]:
    path, ids = files.folder / TOKENIZER, dict[str, int]()
    for entry in list_in(files.tokenizer, "added_tokens", path):
        if text := text_of(entry):
            ids.setdefault(text, token_id(entry.get("id") if isinstance(entry, dict) else None, path))
    return ids


def _ids_in_config(files: TokenizerFiles, kinds: Sequence[str]) -> dict[str, int]:
    """What config.json or its text part says; a list (of several tokens that end an answer) counts for nothing."""
    nested = object_in(files.config, "text_config", files.folder / CONFIG)
    ids = {}
    for kind in kinds:
        name = f"{kind}_token_id"
        number = files.config.get(name) if files.config.get(name) is not None else nested.get(name)
        if type(number) is int and number >= 0:  # -1 stands for none in configurations of old
            ids[kind] = token_id(number, files.folder / CONFIG)
    return ids


def _within(ids: Mapping[str, int], vocabulary_size: int | None) -> dict[str, int]:
    return {kind: number for kind, number in ids.items() if vocabulary_size is None or number < vocabulary_size}


def _normalizer_flags(normalizer: JsonObject) -> dict[str, bool]:
    """Whether letters are made small and lose their accents, for the tokenizers of llama.cpp that do so on demand."""
    kind = normalizer.get("type")
    if kind == "Lowercase":
        return {NORMALIZER_KEYS["lowercase"]: True}
    if kind == "StripAccents":
        return {NORMALIZER_KEYS["strip_accents"]: True}
    if kind == "BertNormalizer":
        return {
            key: normalizer[name] for name, key in NORMALIZER_KEYS.items() if isinstance(normalizer.get(name), bool)
        }
    flags: dict[str, bool] = {}
    inner = normalizer.get("normalizers") if kind == "Sequence" else None
    for each in inner if isinstance(inner, list) else ():
        flags |= _normalizer_flags(each) if isinstance(each, dict) else {}
    return flags
