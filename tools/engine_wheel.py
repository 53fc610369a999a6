"""Builds the wheel of llama-cpp-python once for this machine and prints its path.

It comes from the package index as source; compiling takes some minutes. The wheel is kept in a folder of its own under
a key made from the build flags, the CPU's features and the compiler: pip's own cache looks at none of them, and would
hand out a wheel without RPC, or one that another CPU dies of.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BUILD = Path(__file__).with_name("engine-build.env")
STEP = re.compile(r"\[(\d+)/(\d+)\]")
SECONDS_BETWEEN_LINES = 15


def main() -> int:
    build = read_build(BUILD.read_text(encoding="utf-8"))
    folder = wheel_folder(build)
    if not find_wheel(folder):
        if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
            sys.stderr.write(
                "error: a C++ compiler is needed to build the engine\n"
                "hint: Debian: apt-get install g++; macOS: xcode-select --install\n"
            )
            return 1
        if (code := build_wheel(build, folder)) != 0:
            return code
    sys.stdout.write(f"{find_wheel(folder)}\n")
    return 0


def read_build(text: str) -> dict[str, str]:
    """Lines of KEY=VALUE."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return dict(pairs)


def wheel_folder(build: dict[str, str]) -> Path:
    """Where the wheel of this build for this CPU is kept."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = "\n".join(
        [build["VERSION"], build["CMAKE_ARGS"], platform.machine(), sys.platform, cpu_features(), compiler_version()]
    )
    return root / "llmasos" / "wheels" / hashlib.sha256(key.encode()).hexdigest()[:16]


def find_wheel(folder: Path) -> Path | None:
    return next(folder.glob("llama_cpp_python-*.whl"), None)


def build_wheel(build: dict[str, str], folder: Path) -> int:
    """Compiles, telling how far it is; the wheel appears in `folder` only when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as temporary:
        log = Path(temporary) / "build.log"
        command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-cache-dir", "--no-binary",
                   "llama-cpp-python", "--wheel-dir", temporary, f"llama-cpp-python=={build['VERSION']}"]  # fmt: skip
        environment = os.environ | {"CMAKE_ARGS": build["CMAKE_ARGS"]}
        sys.stderr.write("building the engine (llama.cpp) for this machine: some minutes, once\n")
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            assert process.stdout is not None
            tell_steps(line for line in process.stdout if out.write(line) is not None)
        if process.wait() != 0:
            sys.stderr.write("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-30:]))
            return 1
        wheel = find_wheel(Path(temporary))
        assert wheel is not None, "pip reported success"
        folder.mkdir(exist_ok=True)
        wheel.replace(folder / wheel.name)
    return 0


def tell_steps(lines: Iterator[str]) -> None:
    """One line now and then: how many of the compiler's steps are done."""
    started = told = time.monotonic()
    for line in lines:
        match = STEP.search(line)
        if match and time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            sys.stderr.write(f"  step {match[1]} of {match[2]}, {told - started:.0f} s\n")
            sys.stderr.flush()


def cpu_features() -> str:
    """What the compiler's `-march=native` depends on."""
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        ).stdout
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    wanted = ("flags", "Features", "model name", "cpu family", "model\t")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def compiler_version() -> str:
    compiler = os.environ.get("CXX") or "c++"
    if not shutil.which(compiler):
        return ""
    return subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
