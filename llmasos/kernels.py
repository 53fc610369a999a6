"""The compiled library of `kernels/`: which of its kernels are used, and how it is called. Needs no NumPy.

The library is made when the package is built, and may be missing. It holds its kernels for several instruction sets;
the best that this machine has is used, or what the environment variable LLMASOS_KERNELS names: none, sse41, avx2,
avx512 or neon. Calls free the interpreter and keep no state: any thread may make them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import UsageError

LIBRARY = Path(__file__).with_name("_kernels.dylib" if sys.platform == "darwin" else "_kernels.so")
VARIABLE = "LLMASOS_KERNELS"
LEVELS = ("none", "sse41", "avx2", "avx512", "neon")  # by the library's numbers
PLAIN_LEVEL = LEVELS.index("none")
ARM_LEVEL = LEVELS.index("neon")
TOP_MOST = 1024  # of a row's logits that the library finds


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library, and the level that is used of it."""

    library: ctypes.CDLL
    level: int


def level() -> int:
    """Which kernels are used, an index of LEVELS; 0: none. Raises UsageError for a wrong LLMASOS_KERNELS."""
    kernels = find_kernels()
    return kernels.level if kernels else 0


def available_levels() -> list[int]:
    """The levels of kernels that this machine can run, the best one last; empty without the library."""
    library = _library()
    best = library.llmasos_best_level() if library else 0
    return [ARM_LEVEL] if best == ARM_LEVEL else list(range(1, best + 1))


def find_kernels() -> Kernels | None:
    """What is used on this machine; None: nothing. Raises UsageError for a wrong LLMASOS_KERNELS."""
    return _choose(os.environ.get(VARIABLE, ""))


@functools.cache
def _choose(wanted: str) -> Kernels | None:
    available = available_levels()
    chosen = wanted or LEVELS[available[-1] if available else 0]
    if chosen == LEVELS[0]:
        return None
    if chosen not in LEVELS or LEVELS.index(chosen) not in available:
        names = ", ".join(LEVELS[each] for each in (0, *available))
        raise UsageError(f"{VARIABLE}={chosen} is none of this machine's kernels", hint=f"choose one of: {names}")
    library = _library()
    assert library is not None
    return Kernels(library, LEVELS.index(chosen))


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The kernels' library with its functions declared; None if it is missing, another machine's or an older one."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        _declare(library)
    except (OSError, AttributeError):
        return None
    return library


def _declare(library: ctypes.CDLL) -> None:
    pointer, number, integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    rows = [integer, pointer, number, number, number]
    declarations = {
        "llmasos_best_level": ([], integer),
        "llmasos_quantize": ([integer, integer, integer, pointer, pointer, number, number, pointer], number),
        "llmasos_rows_log_sum_exp": ([*rows, pointer], number),
        "llmasos_rows_top": ([*rows, ctypes.c_int32, pointer, pointer, pointer], number),
        "llmasos_row_candidates": ([integer, pointer, number, ctypes.c_int32, pointer], number),
        "llmasos_beginnings": ([pointer, pointer, pointer, ctypes.c_int32, pointer, pointer], ctypes.c_int32),
        "llmasos_rows_entropy": ([*rows, pointer], number),
        "llmasos_rows_divergence": ([integer, pointer, pointer, number, number, number, number, pointer], number),
    }
    for name, (arguments, result) in declarations.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
