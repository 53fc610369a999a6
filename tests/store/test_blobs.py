"""Blobs: files by their digest, brought in whole by the cheapest way there is."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.errors import BadInputError, DiskFullError
from llmasos.store.blobs import CHUNK_BYTES, Blobs, bytes_held, digest_of

CONTENT = b"weights " * 100
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "user's.gguf"
    path.write_bytes(CONTENT)
    return path


def refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on another file system: a real one where there is one, else links and clones fail as there."""
    shared_memory = Path("/dev/shm")
    if shared_memory.is_dir() and shared_memory.stat().st_dev != tmp_path.stat().st_dev:
        with tempfile.TemporaryDirectory(dir=shared_memory) as folder:
            yield Path(folder)
    else:
        forbid_links(monkeypatch)
        yield tmp_path


def forbid_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda source, target: refuse(errno.EXDEV))
    monkeypatch.setattr("llmasos.store.blobs.FICLONE", 0)  # a request that no file system knows
    monkeypatch.setattr("llmasos.store.blobs._clone_on_macos", lambda source, target: refuse(errno.EXDEV))


# Digests and paths.


def test_a_blob_is_named_by_its_digest(blobs: Blobs):
    assert blobs.path(DIGEST) == blobs.folder / DIGEST.replace(":", "-")


@pytest.mark.parametrize("digest", ["", "../x", "sha256:", f"sha256:{'A' * 64}", f"{DIGEST}\n", f"md5:{'a' * 32}"])
def test_what_is_no_digest_is_no_path(blobs: Blobs, digest: str):
    with pytest.raises(BadInputError, match="is not a sha256 digest"):
        blobs.path(digest)


@settings(deadline=None, max_examples=20)
@given(content=st.binary(), repeats=st.sampled_from([1, 1, 40_000]))
def test_a_digest_is_that_of_the_whole_content_and_tells_how_far_it_is(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, repeats: int
):
    path, reports = tmp_path_factory.mktemp("digest") / "file", []
    path.write_bytes(content * repeats)
    assert digest_of(path, reports.append) == f"sha256:{hashlib.sha256(content * repeats).hexdigest()}"
    assert reports == sorted(reports)
    assert len(reports) == -(-len(content) * repeats // CHUNK_BYTES) and reports[-1:] in ([], [len(content) * repeats])


# Moving in.


def test_a_finished_file_is_moved_in(blobs: Blobs, file: Path):
    blobs.adopt(file, DIGEST)
    assert not file.exists()
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    assert list(blobs.all()) == [DIGEST]


def test_a_file_that_is_here_twice_is_kept_once(blobs: Blobs, file: Path):
    file.with_name("other").write_bytes(CONTENT)
    blobs.adopt(file.with_name("other"), DIGEST)
    blobs.adopt(file, DIGEST)
    assert not file.exists()
    assert [path.name for path in blobs.folder.iterdir()] == [DIGEST.replace(":", "-")]


def test_a_file_that_a_model_names_twice_is_moved_in_once(blobs: Blobs, file: Path):
    blobs.adopt(file, DIGEST)
    blobs.adopt(file, DIGEST)
    assert blobs.has(DIGEST, len(CONTENT))


@pytest.mark.parametrize("damaged", [CONTENT[:-1], b"x" * len(CONTENT)])
def test_a_damaged_blob_is_healed_by_a_sound_file(blobs: Blobs, file: Path, damaged: bytes):
    blobs.folder.mkdir()
    blobs.path(DIGEST).write_bytes(damaged)
    blobs.adopt(file, DIGEST)
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_a_blob_is_there_in_full_or_not_at_all(blobs: Blobs, file: Path):
    assert not blobs.has(DIGEST)
    blobs.adopt(file, DIGEST)
    assert blobs.has(DIGEST) and blobs.has(DIGEST, len(CONTENT))
    assert not blobs.has(DIGEST, len(CONTENT) + 1)


# Linking.


def test_a_file_of_the_same_file_system_is_linked(blobs: Blobs, file: Path):
    assert blobs.link(file, DIGEST) == "hard link"
    assert blobs.path(DIGEST).samefile(file)
    file.unlink()
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_a_file_of_another_file_system_is_linked_by_name(blobs: Blobs, elsewhere: Path):
    (elsewhere / "x.gguf").write_bytes(CONTENT)
    assert blobs.link(elsewhere / "x.gguf", DIGEST) == "symlink"
    assert blobs.has(DIGEST, len(CONTENT))
    (elsewhere / "x.gguf").unlink()
    assert not blobs.has(DIGEST)


def test_where_no_link_is_possible_the_file_is_copied(blobs: Blobs, file: Path, monkeypatch: pytest.MonkeyPatch):
    forbid_links(monkeypatch)
    monkeypatch.setattr(Path, "symlink_to", lambda self, target: refuse(errno.EPERM))
    assert blobs.link(file, DIGEST) == "copy"
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    assert not blobs.path(DIGEST).samefile(file)
    assert [path.name for path in blobs.folder.iterdir()] == [DIGEST.replace(":", "-")]


def test_a_copy_onto_a_full_disk_leaves_nothing(blobs: Blobs, file: Path, monkeypatch: pytest.MonkeyPatch):
    forbid_links(monkeypatch)
    monkeypatch.setattr(Path, "symlink_to", lambda self, target: refuse(errno.EPERM))
    monkeypatch.setattr("shutil.copyfile", lambda source, target: (target.touch(), refuse(errno.ENOSPC)))
    with pytest.raises(DiskFullError, match="the disk is full"):
        blobs.link(file, DIGEST)
    assert list(blobs.folder.iterdir()) == []


def test_the_file_behind_a_symlink_is_linked(blobs: Blobs, file: Path, tmp_path: Path):
    (tmp_path / "link.gguf").symlink_to(file)
    assert blobs.link(tmp_path / "link.gguf", DIGEST) == "hard link"
    assert not blobs.path(DIGEST).is_symlink()


def test_a_file_that_is_linked_already_stays_so(blobs: Blobs, file: Path):
    blobs.link(file, DIGEST)
    assert blobs.link(file, DIGEST) == "present"


def test_a_blob_that_is_cut_off_or_whose_file_has_gone_is_linked_anew(blobs: Blobs, file: Path, tmp_path: Path):
    blobs.folder.mkdir()
    blobs.path(DIGEST).symlink_to(tmp_path / "gone")
    assert blobs.link(file, DIGEST) == "hard link"
    blobs.remove(DIGEST)
    blobs.path(DIGEST).write_bytes(CONTENT[:10])
    assert blobs.link(file, DIGEST) == "hard link"
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_a_file_that_has_gone_can_not_be_linked_not_even_by_name(blobs: Blobs, tmp_path: Path):
    with pytest.raises(BadInputError, match=r"gone\.gguf has gone"):
        blobs.link(tmp_path / "gone.gguf", DIGEST)
    assert list(blobs.folder.iterdir()) == []


# Removing.


def test_removing_tells_what_it_frees(blobs: Blobs, file: Path):
    assert blobs.remove(DIGEST) == 0
    blobs.link(file, DIGEST)
    assert blobs.remove(DIGEST) == 0  # the user's file holds the room still
    assert file.exists()
    blobs.adopt(file, DIGEST)
    assert (blobs.remove(DIGEST), list(blobs.all())) == (len(CONTENT), [])


def test_a_name_for_a_file_elsewhere_holds_no_room(tmp_path: Path, file: Path):
    (tmp_path / "link").symlink_to(file)
    assert (bytes_held(tmp_path / "link"), bytes_held(file), bytes_held(tmp_path / "gone")) == (0, len(CONTENT), 0)


def test_only_blobs_are_listed(blobs: Blobs):
    assert list(blobs.all()) == []
    blobs.folder.mkdir()
    for name in (DIGEST.replace(":", "-"), f".{DIGEST.replace(':', '-')}.copy", "notes.txt", "sha256-short"):
        (blobs.folder / name).touch()
    assert list(blobs.all()) == [DIGEST]
