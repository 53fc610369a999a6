"""What other tools hold on this disk: found with the names they would get here, whatever else lies about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmasos.errors import BadInputError, UsageError
from llmasos.sources.installed import Found, InstalledSource, Skipped, find_installed
from llmasos.sources.source import Fetched, Listing, RemoteFile
from llmasos.store.references import parse_reference

WEIGHTS = b"GGUF" + bytes(1000)
COMMIT, OLDER_COMMIT = "c" * 40, "0" * 40


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The folder of the person at the keyboard."""
    folder = tmp_path / "user"
    folder.mkdir(exist_ok=True)
    return folder


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_tool_that_is_not_here_has_no_models(user: Path):
    assert [find_installed(tool) for tool in ("ollama", "huggingface", "lmstudio")] == [([], [])] * 3


def test_an_unknown_tool_is_refused():
    with pytest.raises(UsageError, match="ollama, huggingface, lmstudio are"):
        find_installed("jan")


# Ollama


def add_ollama(models: Path, place: str, layers: Mapping[str, bytes]) -> Path:
    """A model at `host/namespace/name/tag`; its manifest comes back."""
    described = []
    for kind, content in layers.items():
        write(models / "blobs" / digest_of(content).replace(":", "-"), content)
        media_type = f"application/vnd.ollama.image.{kind}"
        described.append({"mediaType": media_type, "digest": digest_of(content), "size": len(content)})
    return write(models / "manifests" / place, json.dumps({"schemaVersion": 2, "layers": described}).encode())


def test_a_model_of_ollama(user: Path):
    models = user / ".ollama" / "models"
    manifest = add_ollama(
        models, "registry.ollama.ai/library/llama3.2/1b", {"model": WEIGHTS, "params": b"{}", "config": b"?"}
    )
    (found,), skipped = find_installed("ollama")
    blob = models / "blobs" / digest_of(WEIGHTS).replace(":", "-")
    assert (found.tool, found.name, found.size) == ("ollama", "ollama/llama3.2:1b", len(WEIGHTS) + 2)
    assert found.source == f"ollama:library/llama3.2:1b@{digest_of(manifest.read_bytes())[:19]}"
    assert found.files[0] == RemoteFile("weights", "llama3.2-1b.gguf", str(blob), len(WEIGHTS), digest_of(WEIGHTS))
    assert [file.role for file in found.files] == ["weights", "parameters"]
    assert skipped == []


@pytest.mark.parametrize(
    ("place", "name", "source"),
    [
        ("registry.ollama.ai/library/llama3.2/latest", "ollama/llama3.2", "ollama:library/llama3.2:latest@"),
        ("registry.ollama.ai/Ann/Tiny/q8", "ann/tiny:q8", "ollama:Ann/Tiny:q8@"),
        ("hf.co/org/Tiny-GGUF/Q4_K_M", "org/tiny-gguf:q4_k_m", "hf:org/Tiny-GGUF:Q4_K_M"),
        ("hf.co/org/Tiny-GGUF/latest", "org/tiny-gguf", "hf:org/Tiny-GGUF"),
        ("models.example.com/team/tiny/1", "team/tiny:1", "ollama:models.example.com/team/tiny:1@"),
    ],
)
def test_a_model_of_ollama_is_named_as_if_it_were_pulled_from_there(user: Path, place: str, name: str, source: str):
    add_ollama(user / ".ollama" / "models", place, {"model": WEIGHTS})
    (found,), _ = find_installed("ollama")
    assert found.name == name
    assert found.source.startswith(source)


def test_the_folder_that_ollama_is_told_to_use_comes_first(user: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(user / "elsewhere"))
    add_ollama(user / "elsewhere", "registry.ollama.ai/library/tiny/latest", {"model": WEIGHTS})
    add_ollama(user / ".ollama" / "models", "registry.ollama.ai/library/tiny/latest", {"model": WEIGHTS + b"old"})
    (found,), _ = find_installed("ollama")
    assert found.files[0].location.startswith(str(user / "elsewhere"))


def test_broken_models_of_ollama_are_told_and_the_others_found(user: Path):
    models, library = user / ".ollama" / "models", "registry.ollama.ai/library"
    add_ollama(models, f"{library}/whole/latest", {"model": WEIGHTS})
    unreadable = write(models / "manifests" / library / "torn" / "latest", b'{"layers": [')
    gone = add_ollama(models, f"{library}/gone/latest", {"model": WEIGHTS + b"gone"})
    (models / "blobs" / digest_of(WEIGHTS + b"gone").replace(":", "-")).unlink()
    cut = add_ollama(models, f"{library}/cut/latest", {"model": WEIGHTS + b"cut"})
    (models / "blobs" / digest_of(WEIGHTS + b"cut").replace(":", "-")).write_bytes(WEIGHTS)
    tensors = add_ollama(models, f"{library}/mlx/latest", {"tensor": b"tensor"})
    other = add_ollama(models, f"{library}/other/latest", {"model": b"no GGUF"})
    write(models / "manifests" / library / "whole" / ".DS_Store", b"")
    found, skipped = find_installed("ollama")
    assert [each.name for each in found] == ["ollama/whole"]
    assert {each.path: each.reason.replace(str(models / "blobs"), "") for each in skipped} == {
        unreadable: "the manifest of torn:latest can't be read: Expecting value: line 1 column 13 (char 12)",
        gone: f"No such file or directory: /{digest_of(WEIGHTS + b'gone').replace(':', '-')}",
        cut: f"the blob /{digest_of(WEIGHTS + b'cut').replace(':', '-')} is cut off",
        tensors: "mlx:latest is stored as single tensors (for MLX), not as GGUF",
        other: f"/{digest_of(b'no GGUF').replace(':', '-')} is not a GGUF file",
    }


def test_a_folder_that_can_not_be_read_is_told(user: Path):
    manifests = user / ".ollama" / "models" / "manifests"
    manifests.parent.mkdir(parents=True)
    manifests.symlink_to(manifests)
    assert find_installed("ollama") == ([], [Skipped(manifests, "Too many levels of symbolic links")])


# The Hugging Face cache


def add_snapshot(repository: Path, files: Mapping[str, bytes], *, commit: str = COMMIT, current: bool = True) -> Path:
    """A commit as huggingface_hub leaves it: symlinks to blobs, named by sha256 if large and by git if not."""
    snapshot = repository / "snapshots" / commit
    for name, content in files.items():
        is_large = name.endswith((".gguf", ".safetensors"))
        hashed = hashlib.sha256(content) if is_large else hashlib.sha1(content)
        blob = write(repository / "blobs" / hashed.hexdigest(), content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    if current:
        write(repository / "refs" / "main", commit.encode())
    return snapshot


@pytest.fixture
def repository(user: Path) -> Path:
    """The folder of `org/Tiny-GGUF` in the cache."""
    return user / ".cache" / "huggingface" / "hub" / "models--org--Tiny-GGUF"


def test_a_gguf_file_of_the_cache(repository: Path):
    add_snapshot(repository, {"tiny-Q4_K_M.gguf": WEIGHTS, "README.md": b"---\nlicense: apache-2.0\n---\n# Tiny"})
    found, skipped = find_installed("huggingface")
    blob = repository / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()
    assert found == [
        Found(
            "huggingface",
            "org/tiny-gguf:q4_k_m",
            f"hf:org/Tiny-GGUF:Q4_K_M@{COMMIT}",
            (RemoteFile("weights", "tiny-Q4_K_M.gguf", str(blob), len(WEIGHTS), digest_of(WEIGHTS)),),
            "apache-2.0",
        )
    ]
    assert skipped == []


def test_every_quantization_of_the_cache_is_a_model_of_its_own(repository: Path):
    add_snapshot(repository, {"t-Q4_0.gguf": WEIGHTS, "t-Q8_0.gguf": WEIGHTS + b"8", "mmproj-t-F16.gguf": WEIGHTS})
    assert [found.name for found in find_installed("huggingface")[0]] == ["org/tiny-gguf:q4_0", "org/tiny-gguf:q8_0"]


def test_the_current_commit_comes_before_older_ones(repository: Path):
    add_snapshot(repository, {"t-Q4_0.gguf": b"GGUF old", "t-Q8_0.gguf": WEIGHTS}, commit=OLDER_COMMIT, current=False)
    add_snapshot(repository, {"t-Q4_0.gguf": WEIGHTS})
    assert [found.source for found in find_installed("huggingface")[0]] == [
        f"hf:org/Tiny-GGUF:Q4_0@{COMMIT}",
        f"hf:org/Tiny-GGUF:Q8_0@{OLDER_COMMIT}",
    ]


def test_a_split_model_of_the_cache_is_one(repository: Path):
    parts = {f"Q8_0/t-0000{index}-of-00002.gguf": WEIGHTS + bytes(index) for index in (1, 2)}
    add_snapshot(repository, parts)
    (found,), _ = find_installed("huggingface")
    assert (found.name, [file.file_name for file in found.files]) == ("org/tiny-gguf:q8_0", list(parts))


def test_a_split_model_with_a_part_missing_is_told(repository: Path):
    snapshot = add_snapshot(repository, {"t-Q8_0-00002-of-00002.gguf": WEIGHTS})
    assert find_installed("huggingface") == (
        [],
        [Skipped(snapshot / "t-Q8_0-00002-of-00002.gguf", "the split model t-Q8_0 is not complete: parts [2] of 2")],
    )


def test_a_checkpoint_of_the_cache(repository: Path):
    folder = repository.with_name("models--gpt2")
    add_snapshot(folder, {"config.json": b"{}", "model.safetensors": WEIGHTS, "tf_model.h5": b"h5"})
    (found,), _ = find_installed("huggingface")
    assert (found.name, found.source) == ("gpt2", f"hf:gpt2@{COMMIT}")
    assert [(file.role, file.file_name, file.digest) for file in found.files] == [
        ("checkpoint", "config.json", None),
        ("checkpoint", "model.safetensors", digest_of(WEIGHTS)),
    ]


def test_what_is_no_model_is_passed_over(repository: Path):
    add_snapshot(repository, {"config.json": b"{}", "tokenizer.json": b"{}"})
    add_snapshot(repository.with_name("datasets--org--texts"), {"t-Q4_0.gguf": WEIGHTS})
    assert find_installed("huggingface") == ([], [])


def test_a_symlink_out_of_the_cache_is_refused(repository: Path, tmp_path: Path):
    snapshot = add_snapshot(repository, {"README.md": b"#"})
    (snapshot / "t-Q4_0.gguf").symlink_to(write(tmp_path / "private.gguf", WEIGHTS))
    found, skipped = find_installed("huggingface")
    assert found == []
    assert skipped == [Skipped(snapshot / "t-Q4_0.gguf", f"it is a symlink that leads out of {repository}")]


def test_a_symlink_to_nothing_is_told(repository: Path):
    snapshot = add_snapshot(repository, {"t-Q4_0.gguf": WEIGHTS, "t-Q8_0.gguf": WEIGHTS + b"8"})
    (snapshot / "t-Q8_0.gguf").resolve().unlink()
    found, skipped = find_installed("huggingface")
    assert [each.name for each in found] == ["org/tiny-gguf:q4_0"]
    assert [each.path for each in skipped] == [snapshot / "t-Q8_0.gguf"]
    assert skipped[0].reason.startswith("No such file or directory")


@pytest.mark.parametrize(
    ("variable", "folder", "below"),
    [("HF_HOME", "hf", "hub"), ("HF_HUB_CACHE", "hub", ""), ("XDG_CACHE_HOME", "x", "huggingface/hub")],
)
def test_the_cache_may_stand_elsewhere(
    user: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str, below: str
):
    monkeypatch.setenv(variable, str(user / folder))
    add_snapshot(user / folder / below / "models--org--tiny", {"model.gguf": WEIGHTS})
    assert [found.name for found in find_installed("huggingface")[0]] == ["org/tiny"]


# LM Studio


@pytest.mark.parametrize("place", [".lmstudio", ".cache/lm-studio"])
def test_a_model_of_lm_studio(user: Path, place: str):
    path = write(user / place / "models" / "org" / "Tiny-GGUF" / "tiny-Q4_K_M.gguf", WEIGHTS)
    write(path.with_name("mmproj-tiny-f16.gguf"), WEIGHTS)
    assert find_installed("lmstudio") == (
        [
            Found(
                "lmstudio",
                "org/tiny-gguf:q4_k_m",
                "lmstudio:org/Tiny-GGUF:Q4_K_M",
                (RemoteFile("weights", "tiny-Q4_K_M.gguf", str(path), len(WEIGHTS)),),
            )
        ],
        [],
    )


def test_lm_studio_may_have_moved(user: Path):
    write(user / ".lmstudio-home-pointer", str(user / "studio").encode() + b"\n")
    write(user / "studio" / "settings.json", json.dumps({"downloadsFolder": str(user / "big")}).encode())
    write(user / "studio" / "models" / "org" / "one" / "one-Q4_0.gguf", WEIGHTS)
    write(user / "big" / "org" / "two" / "two-Q4_0.gguf", WEIGHTS)
    assert [found.name for found in find_installed("lmstudio")[0]] == ["org/two:q4_0", "org/one:q4_0"]


def test_a_file_of_lm_studio_that_is_cut_to_nothing_is_told(user: Path):
    path = write(user / ".lmstudio" / "models" / "org" / "tiny" / "tiny-Q4_0.gguf", b"")
    write(user / ".lmstudio" / "settings.json", b"not JSON")
    write(user / ".lmstudio" / "models" / "stray.gguf", WEIGHTS)
    assert find_installed("lmstudio") == ([], [Skipped(path, f"{path} is not a GGUF file")])


# As a source


def test_what_was_found_can_be_brought_in_without_moving(repository: Path, incoming: Path):
    add_snapshot(repository, {"t-Q4_0.gguf": WEIGHTS})
    (found,), _ = find_installed("huggingface")
    source = InstalledSource(found)
    assert source.list_files(parse_reference("org/Tiny-GGUF")) == Listing(found.source, found.files)
    assert source.fetch(found.files[0], incoming, lambda done: None) == Fetched(
        Path(found.files[0].location), digest_of(WEIGHTS), len(WEIGHTS), is_ours=False
    )


def test_a_file_that_is_not_what_its_name_says_is_refused(repository: Path, incoming: Path):
    snapshot = add_snapshot(repository, {"t-Q4_0.gguf": WEIGHTS})
    (snapshot / "t-Q4_0.gguf").resolve().write_bytes(b"GGUF changed")
    (found,), _ = find_installed("huggingface")
    with pytest.raises(BadInputError, match="changed or damaged since huggingface fetched it"):
        InstalledSource(found).fetch(found.files[0], incoming, lambda done: None)
