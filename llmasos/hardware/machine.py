"""This machine: its memory, its processors, and graphics cards, whether or not the engine can use them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ENGINE = "0.3.36"  # the version of llama-cpp-python that pyproject.toml pins
BUILD_FLAGS = {"NVIDIA": "-DGGML_CUDA=on", "AMD": "-DGGML_HIP=on", "Apple": "-DGGML_METAL=on"}


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
        """The graphics cards that llama.cpp would take: integrated ones only where there is no other."""
        discrete = tuple(device for device in self.devices if device.kind == "gpu")
        return discrete or tuple(device for device in self.devices if device.kind == "igpu")


def read_machine(devices: Sequence[Device] = ()) -> Machine:
    """This machine as it is now, with the devices that the engine reports."""
    total, available = read_memory()
    machine = Machine(total, available, usable_cores(), tuple(devices))
    return machine if machine.cards else replace(machine, unused_gpu=find_unused_gpu())


def read_memory() -> tuple[int, int]:
    """Bytes of memory in all, and available without swapping; a container's limit counts."""
    if sys.platform == "linux":
        total, available = _linux_memory(Path("/proc/meminfo").read_text())
        return _limited(total, available, _cgroup_folders())
    import psutil  # 15 ms that Linux saves

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def usable_cores() -> int:
    """Physical cores that this process may use: affinity, a container's quota and hyper-threading taken off."""
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = max(1, logical // _threads_per_core())
    quota = _cpu_quota(_cgroup_folders())
    return cores if quota is None else max(1, min(cores, round(quota)))


def mend_command(maker: str) -> str:
    """What to type so that the engine is built for this maker's graphics cards."""
    return f'CMAKE_ARGS="{BUILD_FLAGS[maker]}" pip install --no-cache-dir --force-reinstall llama-cpp-python=={ENGINE}'


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
        limit = _number(folder / "memory.max")
        if limit is not None:
            used = (_number(folder / "memory.current") or 0) - _clean_file_bytes(folder)
            total, available = min(total, limit), max(0, min(available, limit - max(0, used)))
    return total, available


def _cgroup_folders() -> list[Path]:
    """The control groups (version 2) that hold this process, the innermost first."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    inner = next((line[3:] for line in lines if line.startswith("0::")), None)
    if inner is None:
        return []
    root = Path("/sys/fs/cgroup")
    folder = root / inner.lstrip("/")
    return [each for each in (folder, *folder.parents) if each == root or root in each.parents]


def _clean_file_bytes(folder: Path) -> int:
    """Pages of files that need not be written first; those of a model that ran before are among the active ones."""
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        pages = {name: int(count) for name, count in stat.items()}
        cached = pages.get("active_file", 0) + pages.get("inactive_file", 0)
        return max(0, cached - pages.get("file_dirty", 0) - pages.get("file_writeback", 0))
    return 0


def _number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _cpu_quota(folders: Sequence[Path]) -> float | None:
    """Cores' worth of time that the control groups allow, or None without a limit."""
    quotas = []
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _threads_per_core() -> int:
    """2 with hyper-threading, else 1."""
    with contextlib.suppress(OSError):
        return 2 if Path("/sys/devices/system/cpu/smt/active").read_text().strip() == "1" else 1
    return 1
