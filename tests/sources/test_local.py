"""Models on this disk: what a path means, and what it does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from llmasos.errors import BadInputError, LlmasosError, ModelNotFoundError
from llmasos.sources.local import LocalSource, find_gguf_files
from llmasos.sources.source import Fetched, Listing, RemoteFile
from llmasos.store.references import parse_reference

SOURCE = LocalSource()
SHARDS = [f"big-0000{index}-of-00003.gguf" for index in (1, 2, 3)]


def put(folder: Path, *names: str, content: bytes = b"GGUF...") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)
    return [folder / name for name in names]


def listing(path: Path) -> Listing:
    return SOURCE.list_files(parse_reference(f"{path}"))


def test_a_file_is_a_model(tmp_path: Path):
    [path] = put(tmp_path, "x.gguf")
    assert listing(path) == Listing(f"file:{path}", (RemoteFile("weights", "x.gguf", str(path), size=7),))


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path):
    [path] = put(tmp_path, "weights.bin")
    assert find_gguf_files(path) == [path]
    [impostor] = put(tmp_path, "x.gguf", content=b"#!/bin/sh")
    with pytest.raises(BadInputError, match=r"x\.gguf is not a GGUF file"):
        find_gguf_files(impostor)


def test_a_folder_with_one_model_is_that_model(tmp_path: Path):
    [path] = put(tmp_path, "x.gguf")
    put(tmp_path, "mmproj-x.gguf", "README.md")
    assert find_gguf_files(tmp_path) == [path]
    assert listing(tmp_path).source == f"file:{tmp_path}"


def test_a_folder_with_several_models_needs_a_choice(tmp_path: Path):
    put(tmp_path, "a.gguf", "b.gguf")
    with pytest.raises(BadInputError, match="holds several models") as error:
        find_gguf_files(tmp_path)
    assert error.value.hint == "name one of them: a.gguf, b.gguf"


@pytest.mark.parametrize("asked", ["", SHARDS[0], SHARDS[2]])
def test_any_part_of_a_split_model_or_its_folder_means_all_of_it_in_order(tmp_path: Path, asked: str):
    paths = put(tmp_path, *reversed(SHARDS))
    assert find_gguf_files(tmp_path / asked) == paths[::-1]
    assert [file.file_name for file in listing(tmp_path / asked).files] == SHARDS


def test_models_that_are_split_beside_each_other_are_told_apart(tmp_path: Path):
    paths = put(tmp_path, *SHARDS)
    put(tmp_path, "big-0-00001-of-00003.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "big-.gguf")
    assert find_gguf_files(paths[0]) == paths


def test_a_split_model_must_be_complete(tmp_path: Path):
    put(tmp_path, SHARDS[0], SHARDS[2])
    for path in (tmp_path, tmp_path / SHARDS[0]):
        with pytest.raises(BadInputError, match=r"the split model big is not complete: parts \[1, 3\] of 3"):
            find_gguf_files(path)


def test_a_folder_with_a_checkpoint_is_all_of_its_files_but_no_others(tmp_path: Path):
    put(
        tmp_path,
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "merges.txt",
        "pytorch_model.bin",
        ".gitattributes",
    )
    put(tmp_path / "onnx", "model.json")
    files = listing(tmp_path).files
    assert {file.role for file in files} == {"checkpoint"}
    assert [file.file_name for file in files] == ["config.json", "merges.txt", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("names", [[], ["config.json"], ["model.safetensors"], ["notes.txt"]])
def test_a_folder_with_neither_is_no_model(tmp_path: Path, names: list[str]):
    put(tmp_path, *names)
    with pytest.raises(BadInputError, match="has neither GGUF files nor a checkpoint"):
        listing(tmp_path)


def test_a_path_to_nothing_is_not_found(tmp_path: Path):
    with pytest.raises(ModelNotFoundError, match=r"there is no file .*missing\.gguf") as error:
        listing(tmp_path / "missing.gguf")
    assert error.value.exit_code == 3


def test_a_file_is_fetched_by_reading_it_where_it_lies(tmp_path: Path, incoming: Path):
    [path] = put(tmp_path, "x.gguf")
    reports: list[int] = []
    [file] = listing(path).files
    digest = f"sha256:{hashlib.sha256(b'GGUF...').hexdigest()}"
    assert SOURCE.fetch(file, incoming, reports.append) == Fetched(path, digest, 7, is_ours=False)
    assert (reports, incoming.exists()) == ([7], False)


def test_a_file_that_went_meanwhile_is_bad_input(tmp_path: Path, incoming: Path):
    [path] = put(tmp_path, "x.gguf")
    [file] = listing(path).files
    path.unlink()
    with pytest.raises(BadInputError, match=r"can't read .*x\.gguf: No such file"):
        SOURCE.fetch(file, incoming, lambda done: None)


def test_links_and_strange_names_are_followed(tmp_path: Path):
    [path] = put(tmp_path, "größe 中文 (1).gguf")
    (tmp_path / "link.gguf").symlink_to(path)
    assert listing(tmp_path / "link.gguf").source == f"file:{path}"
    assert listing(path).files[0].file_name == "größe 中文 (1).gguf"
    (tmp_path / "dangling.gguf").symlink_to(tmp_path / "gone")
    with pytest.raises(LlmasosError):
        listing(tmp_path / "dangling.gguf")


def test_what_lies_here_has_no_secrets_to_send(tmp_path: Path):
    [path] = put(tmp_path, "x.gguf")
    assert json.dumps([dict(file.headers) for file in listing(path).files]) == "[{}]"
