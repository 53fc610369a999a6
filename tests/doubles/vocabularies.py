"""Small vocabularies of their families' real kinds: the same files, normalizers, regexes, special tokens; fewer words.

`tests/data/vocabularies/byte-level/` holds one list of merges, cut from SmolLM2's, and a frame for each family: what
its `tokenizer.json` says around the vocabulary. The other folders there hold their files as they are written.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "vocabularies"
BYTE_LEVEL = FOLDER / "byte-level"
BYTE_LEVEL_KINDS = tuple(sorted(path.stem for path in BYTE_LEVEL.glob("*.json")))
WHOLE_KINDS = tuple(sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path != BYTE_LEVEL))
KINDS = (*BYTE_LEVEL_KINDS, *WHOLE_KINDS)

MIXED_TEXT = (
    "The quick brown fox didn't jump; we've seen it 3 times, 33, 333 and 3333.\n\n"
    "def add(a: int, b: int) -> int:\n\treturn a + b  # 12345\n"
    "    café déjà-vu naïve Ångström ÀÉ é, 模型在本地运行。 привет мир 🦙🚀👩‍👩‍👧  \n \n\t x=\r\n"
)


@dataclass(frozen=True)
class Frame:
    """What a family's `tokenizer.json` says around its byte-level vocabulary."""

    pre: str  # the name that llama.cpp knows the family's pre-tokenizer by
    first: tuple[dict[str, Any], ...]  # special tokens before the bytes,
    last: tuple[dict[str, Any], ...]  # and those behind the merges
    merges_as_pairs: bool  # newer files write ["a", "b"] for "a b"
    missing_letters: str  # of bytes that the family's vocabulary has no token for
    vocab_files: bool  # writes vocab.json and merges.txt too
    tokenizer: dict[str, Any]
    tokenizer_config: dict[str, Any]


@cache
def frame(kind: str) -> Frame:
    """The frame of a byte-level kind."""
    data = json.loads((BYTE_LEVEL / f"{kind}.json").read_text("utf-8"))
    return Frame(
        pre=data["pre"],
        first=tuple(_added(token) for token in data["first"]),
        last=tuple(_added(token) for token in data["last"]),
        merges_as_pairs=data["merges_as_pairs"],
        missing_letters=data.get("missing_letters", ""),
        vocab_files=data.get("vocab_files", False),
        tokenizer=data["tokenizer"],
        tokenizer_config=data["tokenizer_config"],
    )


def pre_name(kind: str) -> str:
    """The name of the kind's pre-tokenizer in llama.cpp; `default` for those that are not byte-level."""
    return frame(kind).pre if kind in BYTE_LEVEL_KINDS else "default"


@cache
def token_ids(kind: str) -> dict[str, int]:
    """Every token's text, as `tokenizer.json` or `vocab.txt` writes it, and its id."""
    if kind not in BYTE_LEVEL_KINDS:
        return _ids_of_file(FOLDER / kind / "tokenizer.json")
    return _ids(kind, words(kind))


def vocabulary_size(kind: str) -> int:
    """Tokens in the vocabulary, added ones among them; a model's matrices may have more rows."""
    return max(token_ids(kind).values()) + 1


@cache
def merges(kind: str) -> tuple[tuple[str, str], ...]:
    """The merges of a byte-level kind, best first."""
    lines = (BYTE_LEVEL / "merges.txt").read_text("utf-8").splitlines()[1:]
    pairs = [(left, right) for left, right in (line.split(" ") for line in lines)]
    missing = set(frame(kind).missing_letters)
    return tuple(pair for pair in pairs if not missing & set("".join(pair)))


def words(kind: str) -> list[str]:
    """The tokens of a byte-level kind that are no special tokens, in the order of their ids."""
    letters = [letter for letter in byte_letters() if letter not in frame(kind).missing_letters]
    return letters + [left + right for left, right in merges(kind)]


def byte_letters() -> list[str]:
    """The 256 letters of byte-level BPE in the order of vocabularies: printable bytes first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*(chr(byte) for byte in printable), *(chr(256 + index) for index in range(256 - len(printable)))]


def tokenizer_json(kind: str) -> dict[str, Any]:
    """The family's `tokenizer.json` around the small vocabulary."""
    if kind not in BYTE_LEVEL_KINDS:
        return _read(FOLDER / kind / "tokenizer.json")
    return framed(kind, words(kind), merges(kind))


def framed(kind: str, words: Sequence[str], merges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The family's `tokenizer.json` around any byte-level vocabulary."""
    shape, ids = frame(kind), _ids(kind, words)
    whole = copy.deepcopy(shape.tokenizer)
    added = [{**token, "id": ids[token["content"]]} for token in (*shape.first, *shape.last)]
    order = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
    _fill_ids(whole["post_processor"], ids)
    # specials that stand first are words of the model too; those behind were added to it
    behind = {token["content"] for token in shape.last}
    vocabulary = {text: number for text, number in ids.items() if text not in behind}
    written = [list(pair) if shape.merges_as_pairs else " ".join(pair) for pair in merges]
    whole["model"] |= {"vocab": vocabulary, "merges": written}
    head = {"version": "1.0", "truncation": None, "padding": None}
    return head | {"added_tokens": [{key: token[key] for key in order} for token in added]} | whole


def tokenizer_config(kind: str) -> dict[str, Any]:
    """The family's `tokenizer_config.json`; of byte-level kinds with the decoder's list of added tokens, gpt2 aside."""
    if kind not in BYTE_LEVEL_KINDS:
        return _read(FOLDER / kind / "tokenizer_config.json")
    shape, ids = frame(kind), token_ids(kind)
    if kind == "gpt2":  # that repository is older than such lists
        return shape.tokenizer_config
    return {"added_tokens_decoder": {str(ids[t["content"]]): t for t in (*shape.first, *shape.last)}} | (
        shape.tokenizer_config
    )


def write_vocabulary(folder: Path, kind: str) -> Path:
    """Writes the files that a repository of the family has for its vocabulary; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind not in BYTE_LEVEL_KINDS:
        shutil.copytree(FOLDER / kind, folder, dirs_exist_ok=True)
        return folder
    _write(folder / "tokenizer.json", tokenizer_json(kind))
    _write(folder / "tokenizer_config.json", tokenizer_config(kind))
    if frame(kind).vocab_files:
        _write(folder / "vocab.json", tokenizer_json(kind)["model"]["vocab"])
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges(kind))]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def _added(token: str | dict[str, Any]) -> dict[str, Any]:
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    given = {"content": token} if isinstance(token, str) else token
    return {"content": given["content"], **plain, **given}


def _ids(kind: str, words: Sequence[str]) -> dict[str, int]:
    shape = frame(kind)
    first, last = ([token["content"] for token in tokens] for tokens in (shape.first, shape.last))
    return {text: number for number, text in enumerate([*first, *words, *last])}


def _fill_ids(processor: Any, ids: dict[str, int]) -> None:
    """Puts the ids of this vocabulary where a template names tokens."""
    for part in processor.get("processors", [processor]) if processor else ():
        for name, token in part.get("special_tokens", {}).items():
            token["ids"] = [ids[name]]


def _ids_of_file(path: Path) -> dict[str, int]:
    whole = _read(path)
    vocab = whole["model"]["vocab"]
    words = vocab if isinstance(vocab, dict) else {text: number for number, (text, _score) in enumerate(vocab)}
    return {**words, **{token["content"]: token["id"] for token in whole["added_tokens"]}}


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return data


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", "utf-8")
