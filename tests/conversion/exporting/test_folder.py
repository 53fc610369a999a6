"""A folder that is filled all at once, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmasos.conversion.exporting.folder import filled_whole, require_empty
from llmasos.errors import BadInputError, BusyError


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path) -> None:
    with filled_whole(folder, last="config.json") as place:
        (place / "config.json").write_text("{}")
        (place / "more").mkdir()
        (place / "more" / "weights").write_text("1 2 3")


@pytest.mark.parametrize("exists", [True, False])
def test_all_files_are_there_at_the_end_and_nothing_else(tmp_path, exists):
    if exists:
        (tmp_path / "out").mkdir()
    fill(tmp_path / "out")
    assert contents(tmp_path / "out") == {"config.json": "{}", "more/weights": "1 2 3"}
    assert not (tmp_path / "out" / ".unfinished").exists()


def test_nothing_is_seen_before_the_end(tmp_path):
    with filled_whole(tmp_path / "out", last="config.json") as place:
        (place / "config.json").write_text("{}")
        assert [each.name for each in (tmp_path / "out").iterdir()] == [".unfinished"]


def test_the_last_file_comes_last(tmp_path, monkeypatch):
    moved = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, target: (moved.append(self.name), rename(self, target))[1])
    fill(tmp_path / "out")
    assert moved == ["more", "config.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path, exists, error):
    if exists:
        (tmp_path / "out").mkdir()
    with pytest.raises(error), filled_whole(tmp_path / "out", last="config.json") as place:
        (place / "weights").write_text("1 2")
        raise error
    assert (tmp_path / "out").exists() == exists
    assert not exists or not list((tmp_path / "out").iterdir())


def test_a_failure_while_files_move_takes_them_back(tmp_path, monkeypatch):
    rename = Path.rename

    def fail_at_last(self: Path, target: Path) -> Path:
        if self.name == "config.json":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_last)
    with pytest.raises(OSError, match="no"):
        fill(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_kill_left_is_replaced(tmp_path):
    (tmp_path / "out" / ".unfinished").mkdir(parents=True)
    (tmp_path / "out" / ".unfinished" / "old").write_text("half")
    fill(tmp_path / "out")
    assert contents(tmp_path / "out") == {"config.json": "{}", "more/weights": "1 2 3"}


def killed_among_the_renames(folder: Path) -> None:
    """Exports in a process that dies before the last file has its place."""
    script = f"""
import os
from pathlib import Path
from llmasos.conversion.exporting.folder import filled_whole
rename = Path.rename
Path.rename = lambda self, target: os._exit(9) if self.name == "config.json" else rename(self, target)
with filled_whole(Path({str(folder)!r}), last="config.json") as place:
    (place / "config.json").write_text("{{}}")
    (place / "old").write_text("1")
    (place / "folder").mkdir()
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 9


def test_what_a_kill_left_among_the_renames_is_replaced(tmp_path):
    killed_among_the_renames(tmp_path / "out")
    assert (tmp_path / "out" / "old").exists() and (tmp_path / "out" / "folder").exists()
    fill(tmp_path / "out")
    assert contents(tmp_path / "out") == {"config.json": "{}", "more/weights": "1 2 3"}
    assert not (tmp_path / "out" / "folder").exists()


def test_what_somebody_puts_beside_it_is_kept(tmp_path):
    killed_among_the_renames(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match="is not empty"):
        fill(tmp_path / "out")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["../mine", "/etc/hostname", "..", ""])
def test_a_list_of_files_elsewhere_deletes_none_of_them(tmp_path, name):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out" / ".unfinished").mkdir(parents=True)
    (tmp_path / "out" / ".unfinished" / "moving").write_text(name)
    fill(tmp_path / "out")
    assert (tmp_path / "mine").read_text() == "mine"


def test_two_do_not_fill_it_at_once(tmp_path):
    with filled_whole(tmp_path / "out", last="config.json") as place:
        (place / "config.json").write_text("mine")
        with pytest.raises(BusyError, match="another process is filling"):
            fill(tmp_path / "out")
    assert contents(tmp_path / "out") == {"config.json": "mine"}


@pytest.mark.parametrize(
    ("place", "reason"), [("file", "is a file"), ("full", "is not empty"), ("no/folder", "there is no folder")]
)
def test_other_places_are_refused(tmp_path, place, reason):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match=reason):
        require_empty(tmp_path / place)
    with pytest.raises(BadInputError, match=reason):
        fill(tmp_path / place)
    assert contents(tmp_path) == {"file": "mine", "full/notes.txt": "mine"}
