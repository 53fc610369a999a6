"""This machine: memory and cores under the limits of control groups, from texts and folders as Linux writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmasos.hardware.machine import (
    Device,
    Machine,
    _clean_file_bytes,
    _cpu_quota,
    _find_cgroup_folders,
    _limited,
    _linux_memory,
    read_machine,
    read_memory,
    usable_cores,
)

GIB = 1024**3
MEMINFO = """MemTotal:       16384000 kB
MemFree:         1024000 kB
MemAvailable:    8192000 kB
HugePages_Total:       0
"""


def control_group(folder: Path, **files: object) -> Path:
    """A folder with files such as `memory.max`, whose names have an underscore for the dot here."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{content}\n")
    return folder


def test_memory_is_what_the_kernel_says_is_available():
    assert _linux_memory(MEMINFO) == (16384000 * 1024, 8192000 * 1024)


def test_old_kernels_only_say_what_is_free():
    assert _linux_memory(MEMINFO.replace("MemAvailable", "Cached")) == (16384000 * 1024, 1024000 * 1024)


def test_a_container_has_what_its_limit_leaves(tmp_path: Path):
    group = control_group(tmp_path, memory_max=4 * GIB, memory_current=1 * GIB)
    assert _limited(16 * GIB, 8 * GIB, [group]) == (4 * GIB, 3 * GIB)


def test_a_limit_above_what_is_available_changes_nothing(tmp_path: Path):
    group = control_group(tmp_path, memory_max=32 * GIB, memory_current=1 * GIB)
    assert _limited(16 * GIB, 8 * GIB, [group]) == (16 * GIB, 8 * GIB)
    assert _limited(16 * GIB, 8 * GIB, [control_group(tmp_path / "free", memory_max="max")]) == (16 * GIB, 8 * GIB)
    assert _limited(16 * GIB, 8 * GIB, [tmp_path / "nothing here"]) == (16 * GIB, 8 * GIB)


def test_a_full_group_around_an_empty_one_counts(tmp_path: Path):
    outer = control_group(tmp_path, memory_max=8 * GIB, memory_current=7 * GIB)
    inner = control_group(tmp_path / "inner", memory_max=4 * GIB, memory_current=1 * GIB)
    assert _limited(16 * GIB, 16 * GIB, [inner, outer]) == (4 * GIB, 1 * GIB)


def test_more_used_than_the_limit_leaves_nothing(tmp_path: Path):
    group = control_group(tmp_path, memory_max=4 * GIB, memory_current=5 * GIB)
    assert _limited(16 * GIB, 8 * GIB, [group]) == (4 * GIB, 0)


def test_a_model_that_ran_before_is_in_the_page_cache_and_takes_no_memory(tmp_path: Path):
    stat = f"anon {GIB}\nactive_file {2 * GIB}\ninactive_file {GIB}\nfile_dirty 5\nfile_writeback 7"
    group = control_group(tmp_path, memory_max=5 * GIB, memory_current=4 * GIB, memory_stat=stat)
    assert _clean_file_bytes(group) == 3 * GIB - 12
    assert _limited(16 * GIB, 16 * GIB, [group]) == (5 * GIB, 4 * GIB - 12)


@pytest.mark.parametrize("stat", ["", "nonsense", "active_file many"])
def test_a_group_without_usable_statistics_has_no_clean_pages(tmp_path: Path, stat: str):
    assert _clean_file_bytes(control_group(tmp_path, memory_stat=stat)) == 0


@pytest.mark.parametrize(
    ("inner", "outer", "quota"),
    [("max 100000", "max 100000", None), ("150000 100000", "max 100000", 1.5), ("400000 100000", "200000 100000", 2.0)],
)
def test_the_smallest_quota_of_time_holds(tmp_path: Path, inner: str, outer: str, quota: float | None):
    groups = [control_group(tmp_path / "inner", cpu_max=inner), control_group(tmp_path, cpu_max=outer)]
    assert _cpu_quota([*groups, tmp_path / "nothing here"]) == quota


# Control groups of version 1, in containers on older systems.


def test_an_older_container_has_what_its_limit_leaves(tmp_path: Path):
    stat = "active_file 1\ntotal_active_file 300\ntotal_inactive_file 200\ntotal_dirty 30\ntotal_writeback 4"
    group = control_group(
        tmp_path, memory_limit_in_bytes=4 * GIB, memory_usage_in_bytes=1 * GIB + 466, memory_stat=stat
    )
    assert _clean_file_bytes(group) == 466
    assert _limited(16 * GIB, 8 * GIB, [group]) == (4 * GIB, 3 * GIB)


def test_an_older_group_without_a_limit_states_a_huge_one(tmp_path: Path):
    group = control_group(tmp_path, memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=GIB)
    assert _limited(16 * GIB, 8 * GIB, [group]) == (16 * GIB, 8 * GIB)


@pytest.mark.parametrize(("allowed", "quota"), [(-1, None), (0, None), (150_000, 1.5)])
def test_an_older_groups_quota_of_time_holds(tmp_path: Path, allowed: int, quota: float | None):
    assert _cpu_quota([control_group(tmp_path, cpu_cfs_quota_us=allowed, cpu_cfs_period_us=100_000)]) == quota
    assert _cpu_quota([control_group(tmp_path / "half", cpu_cfs_quota_us=allowed)]) is None


@pytest.mark.parametrize(
    ("listing", "folders"),
    [
        ("0::/a/b", ["a/b", "a", ""]),
        ("0::/", [""]),
        ("9:cpu,cpuacct:/c\n4:memory:/a/b\n1:name=systemd:/x", ["memory/a/b", "memory/a", "memory"]),
        ("4:memory:/a\n0::/", ["memory/a", "memory", ""]),
        ("4:memory:/a:b", ["memory/a:b", "memory"]),
        ("", []),
    ],
)
def test_the_groups_around_a_process_are_found_from_the_innermost(tmp_path: Path, listing: str, folders: list[str]):
    assert _find_cgroup_folders(listing, "memory", tmp_path) == [tmp_path / folder for folder in folders]


def test_this_machine_has_memory_and_cores():
    total, available = read_memory()
    assert 0 < available <= total
    assert usable_cores() >= 1


def card(kind: str) -> Device:
    return Device("CUDA0", "A card", kind, 8 * GIB, 8 * GIB)


def test_an_integrated_card_counts_only_where_there_is_no_other():
    processor, discrete, integrated = card("cpu"), card("gpu"), card("igpu")
    assert Machine(1, 1, 1, (processor, integrated, discrete)).cards == (discrete,)
    assert Machine(1, 1, 1, (processor, integrated)).cards == (integrated,)
    assert Machine(1, 1, 1, (processor,)).cards == ()


def test_remote_cards_come_first_and_do_not_hide_an_integrated_one():
    remote, discrete, integrated = replace(card("gpu"), name="RPC0"), card("gpu"), card("igpu")
    assert Machine(1, 1, 1, (discrete, integrated, remote)).cards == (remote, discrete)
    assert Machine(1, 1, 1, (integrated, remote)).cards == (remote, integrated)


def test_a_card_that_the_engine_uses_is_not_told_as_unused():
    machine = read_machine([card("gpu")])
    assert (machine.cards, machine.unused_gpu) == ((card("gpu"),), None)


def test_a_card_that_the_engine_can_not_use_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "nvidia-smi").write_text("")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert read_machine().unused_gpu == "NVIDIA"
