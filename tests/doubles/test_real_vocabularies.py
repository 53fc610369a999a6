"""Folders that outlive the tests: whole, whoever else makes them at the same time or was killed at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.real_vocabularies import made_once


def write(text: str, folder: Path) -> None:
    (folder / "file").write_text(text)


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    for text in ("first", "second"):
        made_once(tmp_path / "cache" / "kind", lambda folder, text=text: write(text, folder))  # type: ignore[misc]
    assert (tmp_path / "cache" / "kind" / "file").read_text() == "first"
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["kind"]


def test_of_two_that_make_it_at_once_the_first_one_s_counts(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        made_once(tmp_path / "kind", lambda other: write("first", other))
        write("second", folder)

    assert (made_once(tmp_path / "kind", make) / "file").read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["kind"]


def test_what_fails_leaves_nothing_that_could_be_taken_for_whole(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write("half", folder)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        made_once(tmp_path / "kind", fail)
    assert list(tmp_path.iterdir()) == []
