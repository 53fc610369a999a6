"""This machine: its memory, its processors, and graphics cards, whether or not the engine can use them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Device:
    """Something to compute on. `kind` is `cpu`, `gpu`, `igpu`, `accelerator` or `meta`."""

    name: str
    description: str
    kind: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan may use. `devices` are the engine's; `unused_gpu` names a graphics card that the engine can't use."""

    total_bytes: int
    available_bytes: int
    cores: int
    devices: tuple[Device, ...] = ()
    unused_gpu: str | None = None

    @property
    def cards(self) -> tuple[Device, ...]:
        """The graphics cards that llama.cpp would take, in its order: remote ones, then its own.

        Integrated ones count only where there is no other (llama.cpp, llama_prepare_model_devices).
        """
        remote = tuple(device for device in self.devices if device.kind == "gpu" and device.name.startswith("RPC"))
        own = tuple(device for device in self.devices if device.kind == "gpu" and device not in remote)
        return remote + (own or tuple(device for device in self.devices if device.kind == "igpu"))


def read_machine(devices: Sequence[Device] = ()) -> Machine:
    """This machine as it is now, with the devices that the engine reports."""
    total, available = read_memory()
    machine = Machine(total, available, usable_cores(), tuple(devices))
    return machine if machine.cards else replace(machine, unused_gpu=find_unused_gpu())


def read_memory() -> tuple[int, int]:
    """Bytes of memory in all, and available without swapping; a container's limit counts."""
    if sys.platform == "linux":
        total, available = _linux_memory(Path("/proc/meminfo").read_text())
        return _limited(total, available, _cgroup_folders("memory"))
    import psutil  # 15 ms that Linux saves

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def usable_cores() -> int:
    """Physical cores that this process may use: affinity, a container's quota and hyper-threading taken off."""
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = max(1, logical // _threads_per_core())
    quota = _cpu_quota(_cgroup_folders("cpu"))
    return cores if quota is None else max(1, min(cores, round(quota)))


def find_unused_gpu() -> str | None:
    """The maker of a graphics card that could compute, or None. Looks at files only."""
    if sys.platform == "darwin":
        return "Apple" if os.uname().machine == "arm64" else None
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        return "NVIDIA"
    if Path("/dev/kfd").exists():
        return "AMD"
    return None


def _linux_memory(meminfo: str) -> tuple[int, int]:
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if len(line.split()) > 1}
    total = kilobytes["MemTotal"] * 1024
    return total, kilobytes.get("MemAvailable", kilobytes["MemFree"]) * 1024


def _limited(total: int, available: int, folders: Sequence[Path]) -> tuple[int, int]:
    """The same under the limits of the control groups; clean file pages can be given back, so they count as free."""
    for folder in folders:
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is not None:
            used = (_number(folder, "memory.current", "memory.usage_in_bytes") or 0) - _clean_file_bytes(folder)
            total, available = min(total, limit), max(0, min(available, limit - max(0, used)))
    return total, available


def _cgroup_folders(controller: str) -> list[Path]:
    try:
        return _find_cgroup_folders(Path("/proc/self/cgroup").read_text(), controller, CGROUP_ROOT)
    except OSError:
        return []


def _find_cgroup_folders(listing: str, controller: str, root: Path) -> list[Path]:
    """The control groups that hold this process, the innermost first, of version 2 (`0::/path`) and of version 1.

    A version 1 line is `4:memory:/path`. A container may see its own group as the root and yet be told the path outside
    it; then only the root exists, and the others are folders without files.
    """
    folders = []
    for line in listing.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        inner = top / path.lstrip("/")
        folders += [each for each in (inner, *inner.parents) if each == top or top in each.parents]
    return folders


def _clean_file_bytes(folder: Path) -> int:
    """Pages of files that need not be written first; those of a model that ran before are among the active ones."""
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        pages = {name: int(count) for name, count in stat.items()}
        if "total_active_file" in pages:  # version 1, where names without `total_` leave out the groups inside
            names = ("total_active_file", "total_inactive_file", "total_dirty", "total_writeback")
        else:
            names = ("active_file", "inactive_file", "file_dirty", "file_writeback")
        active, inactive, dirty, in_writing = (pages.get(name, 0) for name in names)
        return max(0, active + inactive - dirty - in_writing)
    return 0


def _number(folder: Path, *names: str) -> int | None:
    """The number in the first of these files that holds one."""
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
    return None


def _cpu_quota(folders: Sequence[Path]) -> float | None:
    """Cores' worth of time that the control groups allow, or None without a limit."""
    return min((quota for folder in folders if (quota := _quota_of(folder)) is not None), default=None)


def _quota_of(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    allowed, each = _number(folder, "cpu.cfs_quota_us"), _number(folder, "cpu.cfs_period_us")
    return allowed / each if allowed and each and allowed > 0 else None  # -1 is no limit


def _threads_per_core() -> int:
    """2 with hyper-threading, else 1."""
    with contextlib.suppress(OSError):
        return 2 if Path("/sys/devices/system/cpu/smt/active").read_text().strip() == "1" else 1
    return 1
