"""Compiles the kernels into one shared library: `python kernels/build.py` puts it beside the package's modules.

Without options of the machine's own: each instruction set has a file of its own that says what it is compiled for, and
the level is chosen when the library is loaded.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAME = "_kernels.dylib" if sys.platform == "darwin" else "_kernels.so"
IN_THE_TREE = FOLDER.parent / "llmasos" / NAME

# Contracted to fused multiply-adds, quantizers would give other bytes than ggml's.
FLAGS = ["-std=c11", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden", "-g0"]


def compile_library(output: Path) -> str:
    """Compiles `kernels/*.c` to `output`, whole or not at all. What went wrong, in a line; empty if nothing did.

    The compiler is the one that CC names, with its options, or else `cc`.
    """
    sources = sorted(map(str, FOLDER.glob("*.c")))
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    command = [*shlex.split(os.environ.get("CC") or "cc"), *FLAGS, "-o", str(unfinished), *sources, "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0 or not unfinished.exists():
            return f"{command[0]} failed: {done.stderr.strip()[-2000:]}"
        unfinished.replace(output)
    except OSError as error:
        return f"{command[0]} can't be run: {error.strerror}"
    finally:
        unfinished.unlink(missing_ok=True)
    return ""


def main() -> int:
    if problem := compile_library(IN_THE_TREE):
        IN_THE_TREE.unlink(missing_ok=True)  # an older one may not be what the modules expect
        sys.stderr.write(f"the kernels are left out: {problem}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
