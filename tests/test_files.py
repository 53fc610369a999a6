"""Small files that are replaced whole, and full disks told as what they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from llmasos.errors import DiskFullError
from llmasos.files import disk_full_is_an_error, write_whole


def refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))


def test_a_small_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "a" / "b.json"
    write_whole(path, "old")
    write_whole(path, "new 中文")
    assert path.read_text(encoding="utf-8") == "new 中文"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("when", ["fsync", "replace"])
def test_a_small_file_that_can_not_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
):
    path = tmp_path / "x.json"
    write_whole(path, "old")
    with monkeypatch.context() as full_disk:
        full_disk.setattr(os if when == "fsync" else Path, when, lambda *arguments: refuse(errno.ENOSPC))
        with pytest.raises(DiskFullError, match="takes no more"):
            write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.glob("*x.json*")) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_a_quota_and_a_file_too_large_are_one_error(tmp_path: Path, number: int):
    with pytest.raises(DiskFullError) as error, disk_full_is_an_error(tmp_path / "x"):
        refuse(number)
    assert (error.value.message, error.value.exit_code) == (f"the disk is full: {tmp_path} takes no more", 1)
    assert "llmasos prune" in str(error.value.hint)


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path):
    with pytest.raises(PermissionError), disk_full_is_an_error(tmp_path / "x"):
        refuse(errno.EACCES)
