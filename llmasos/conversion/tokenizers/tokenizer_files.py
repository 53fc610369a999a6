"""The files of a tokenizer, read once and checked for form; what they mean is said elsewhere.

`tokenizer.json` has everything but the names of the special tokens, which stand in `tokenizer_config.json`. Older
repositories have `vocab.json` with `merges.txt`, or `tokenizer.model`, and their added tokens in `added_tokens.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmasos.conversion.config import Config, read_json_object
from llmasos.errors import BadInputError

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
CONFIG = "config.json"
LARGEST_VOCABULARY = 1 << 24  # tokens; the largest known have 2**18

SPECIAL_NAMES = tuple(f"{kind}_token" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
MORE_SPECIAL_NAMES = ("additional_special_tokens", "extra_special_tokens")  # lists, or objects of named ones

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in a text before anything else is done to the text.

    `special` ones are marks, never text. Before one that is `normalized` is looked for, it and the text go through the
    tokenizer's normalizer.
    """

    id: int
    text: str
    special: bool = False
    normalized: bool = True


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder's files say, as parsed; an empty object stands for a file that isn't there."""

    folder: Path
    tokenizer: JsonObject = field(default_factory=dict)  # tokenizer.json
    tokenizer_config: JsonObject = field(default_factory=dict)
    special_tokens_map: JsonObject = field(default_factory=dict)
    added_tokens_map: JsonObject = field(default_factory=dict)  # added_tokens.json: text -> id
    config: JsonObject = field(default_factory=dict)  # config.json as it stands

    @property
    def model(self) -> JsonObject:
        """`model` of tokenizer.json: its algorithm and its words; empty without that file."""
        return object_in(self.tokenizer, "model", self.folder / TOKENIZER) if self.tokenizer else {}

    @property
    def algorithm(self) -> str:
        """`BPE`, `Unigram`, `WordPiece`, `WordLevel`, or empty if there is no tokenizer.json."""
        stated = self.model.get("type")
        if isinstance(stated, str):
            return stated
        return "BPE" if "merges" in self.model else ""  # files of 2019 don't name it

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def added_tokens(self) -> tuple[AddedToken, ...]:
        """Every added token once, by id.

        They stand in tokenizer.json; tokenizer_config.json may name more of them and change what they are.
        added_tokens.json is older than both and only fills up.
        """
        found = {token.text: token for token in self._added_in_tokenizer()}
        for token in self._added_in_config():
            known = found.get(token.text, token)
            found[token.text] = replace(token, id=known.id)
        for token in self._added_in_map():
            found.setdefault(token.text, token)
        return tuple(sorted(found.values(), key=lambda token: token.id))

    def special_texts(self) -> tuple[str, ...]:
        """The texts of the tokens that the files call by a special name (`eos_token`, ...), each once.

        special_tokens_map.json is older than the list of added tokens in tokenizer_config.json, and counts without it.
        """
        old = {} if "added_tokens_decoder" in self.tokenizer_config else self.special_tokens_map
        named = [old.get(name, self.tokenizer_config.get(name)) for name in SPECIAL_NAMES]
        for values in (old, self.tokenizer_config):
            for name in MORE_SPECIAL_NAMES:
                listed = values.get(name)
                named += listed if isinstance(listed, list) else listed.values() if isinstance(listed, dict) else ()
        return tuple(dict.fromkeys(text for value in named if (text := text_of(value))))

    def _added_in_tokenizer(self) -> Iterator[AddedToken]:
        path = self.folder / TOKENIZER
        for entry in list_in(self.tokenizer, "added_tokens", path):
            if not isinstance(entry, dict):
                raise BadInputError(f"{path} has an added token that is no object")
            yield _added_token(entry.get("id"), entry, path)

    def _added_in_config(self) -> Iterator[AddedToken]:
        path = self.folder / TOKENIZER_CONFIG
        for number, entry in object_in(self.tokenizer_config, "added_tokens_decoder", path).items():
            if not isinstance(entry, dict) or not re.fullmatch("[0-9]{1,8}", number):
                raise BadInputError(f"{path} has an added token {number!r} that is no token")
            yield _added_token(int(number), entry, path)

    def _added_in_map(self) -> Iterator[AddedToken]:
        path, special = self.folder / ADDED_TOKENS, set(self.special_texts())
        for text, number in self.added_tokens_map.items():
            yield AddedToken(token_id(number, path), text, text in special, text not in special)


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Raises BadInputError, naming the file, for one that can't be read or holds no JSON object."""
    return TokenizerFiles(
        folder,
        **{
            name: read_json_object(folder / file) if (folder / file).is_file() else {}
            for name, file in {
                "tokenizer": TOKENIZER,
                "tokenizer_config": TOKENIZER_CONFIG,
                "special_tokens_map": SPECIAL_TOKENS_MAP,
                "added_tokens_map": ADDED_TOKENS,
                "config": CONFIG,
            }.items()
        },
    )


def object_in(parent: JsonObject, name: str, path: Path) -> JsonObject:
    """The object under a name; empty if there is none. Raises BadInputError, naming the file, for another value."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInputError(f"{path} has `{name}` that is no object")
    return value


def list_in(parent: JsonObject, name: str, path: Path) -> list[Any]:
    """The list under a name; empty if there is none. Raises BadInputError, naming the file, for another value."""
    value = parent.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInputError(f"{path} has `{name}` that is no list")
    return value


def token_id(value: Any, path: Path) -> int:
    """A token's number. Raises BadInputError, naming the file, for anything that can't be one."""
    if type(value) is not int or not 0 <= value < LARGEST_VOCABULARY:
        raise BadInputError(f"{path} has {value!r} where a token's number should stand")
    return value


def words_by_text(vocabulary: Any, path: Path) -> dict[str, int]:
    """A vocabulary written as an object, text -> id. Raises BadInputError for one that is none or has an id twice."""
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise BadInputError(f"{path} has no vocabulary")
    if set(map(type, vocabulary.values())) != {int}:  # not isinstance: True is no id
        wrong = next(value for value in vocabulary.values() if type(value) is not int)
        token_id(wrong, path)
    token_id(min(vocabulary.values()), path)
    token_id(max(vocabulary.values()), path)
    if len(set(vocabulary.values())) < len(vocabulary):
        raise BadInputError(f"{path} gives the same number to two tokens")
    return vocabulary


def vocabulary_size(files: TokenizerFiles, config: Config, words: Iterable[int], added: Iterable[AddedToken]) -> int:
    """How many tokens the model's matrices have rows for: what config.json says, or as many as the ids need.

    Added tokens may lie beyond the rows (fine-tunes add a `[PAD]` that the model never sees) and are to be left out.
    Raises BadInputError if one of `words`, the ids of what texts are made of, does, or if no vocabulary is so large.
    """
    needed = max(words, default=-1) + 1
    if config.get("vocab_size") is None:
        return max([needed, *(token.id + 1 for token in added)])
    stated = config.integer("vocab_size")
    if stated > LARGEST_VOCABULARY:
        raise BadInputError(f"config.json has `vocab_size` = {stated}, and no vocabulary is so large")
    if needed > stated:
        raise BadInputError(
            f"{files.folder} has tokens up to number {needed - 1}, and config.json says that there are {stated} tokens",
            hint="the tokenizer's files should be those that the model was trained with",
        )
    return stated


def ids_of_words(words: Mapping[str, int], added: Iterable[AddedToken]) -> list[int]:
    """The ids of a vocabulary's words, without those that are listed as added tokens too."""
    listed = {token.text for token in added}
    return [number for text, number in words.items() if text not in listed]


def text_of(value: Any) -> str:
    """The text of a token that a file writes as a text or as an object; empty for anything else."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def check_encodable(texts: Iterable[Any], folder: Path) -> None:
    """Raises BadInputError if a text holds half of a character: JSON can write one, a GGUF can't."""
    try:
        "".join(text for text in texts if isinstance(text, str)).encode()
    except UnicodeEncodeError as error:
        broken = error.object[error.start : error.end]
        raise BadInputError(f"{folder} has a token or a template with {broken!r}, which is no character") from error


def _added_token(number: Any, entry: JsonObject, path: Path) -> AddedToken:
    text = entry.get("content")
    if not isinstance(text, str):
        raise BadInputError(f"{path} has an added token without a text")
    normalized = entry.get("normalized", not entry.get("special"))
    return AddedToken(token_id(number, path), text, entry.get("special") is True, normalized is True)
