"""`llmasos convert` beside llama.cpp's converter and quantizer, in turn in one run: seconds and peak memory.

    python benchmarks/bench_convert.py --converter PATH/convert_hf_to_gguf.py [--checkpoint FOLDER] [--rounds 5]

The converter's script comes in the source distribution of llama-cpp-python (`pip download --no-deps --no-binary :all:
llama-cpp-python==0.3.36`, below vendor/llama.cpp); it needs torch and transformers. Its quantizer is called through
the bindings, with as many threads as there are cores, as `llama-quantize` does. Without --checkpoint `smollm2` is
exported and converted back. Peak memory is the largest resident set, mapped files included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine, keep, median, print_table

LLMASOS = [sys.executable, "-m", "llmasos_cli"]
QUANTIZER = """
import ctypes, sys
import llama_cpp
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.nthread, parameters.ftype = int(sys.argv[3]), llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters)))
"""


@dataclass(frozen=True)
class Run:
    """One run of one or several commands after another: seconds in all, and the largest of their peaks in bytes."""

    seconds: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--converter", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.converter is None:
        print("bench_convert: left out, for want of --converter; its --help says where to get it")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = options.checkpoint or exported(folder / "smollm2")
        rows = [
            compare(
                "BF16",
                our_command(checkpoint, "BF16", folder),
                their_commands(options, checkpoint, folder, 1),
                5,
                options.rounds,
            ),
            compare(
                "Q4_K_M",
                our_command(checkpoint, "Q4_K_M", folder),
                their_commands(options, checkpoint, folder, 2),
                6,
                options.rounds,
            ),
        ]
    print(describe_machine())
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("convert", {row["type"]: row for row in rows})


def exported(folder: Path) -> Path:
    subprocess.run([*LLMASOS, "export", "smollm2", str(folder)], check=True)
    return folder


def our_command(checkpoint: Path, type_name: str, folder: Path) -> list[list[str]]:
    return [[*LLMASOS, "convert", str(checkpoint), "-t", type_name, "-o", str(folder / "ours.gguf")]]


def their_commands(options: argparse.Namespace, checkpoint: Path, folder: Path, steps: int) -> list[list[str]]:
    """The converter, and the quantizer after it if two steps are wanted."""
    half, whole = str(folder / "theirs-bf16.gguf"), str(folder / "theirs.gguf")
    convert = [sys.executable, str(options.converter), str(checkpoint), "--outtype", "bf16", "--outfile", half]
    quantize = [sys.executable, "-c", QUANTIZER, half, whole, str(os.cpu_count())]
    return [convert, quantize][:steps]


def compare(
    name: str, ours: list[list[str]], theirs: list[list[str]], wanted_ratio: float, rounds: int
) -> dict[str, Any]:
    run(ours), run(theirs)  # files in the page cache for both
    pairs = [(run(ours), run(theirs)) for _ in range(rounds)]
    our_seconds, their_seconds = (median([pair[side].seconds for pair in pairs]) for side in (0, 1))
    our_peak, their_peak = (max(pair[side].peak_bytes for pair in pairs) for side in (0, 1))
    ratio = median([theirs.seconds / ours.seconds for ours, theirs in pairs])
    return {
        "type": name,
        "llmasos, s": round(our_seconds, 2),
        "llama.cpp, s": round(their_seconds, 2),
        "times faster": round(ratio, 1),
        "wanted": wanted_ratio,
        "llmasos, MB": our_peak // 10**6,
        "llama.cpp, MB": their_peak // 10**6,
        "share of memory": round(our_peak / their_peak, 2),
    }


def run(commands: list[list[str]]) -> Run:
    started, peak = time.perf_counter(), 0
    for command in commands:
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                told.seek(0)
                sys.exit(told.read().decode("utf-8", "replace")[-2000:])
        peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return Run(time.perf_counter() - started, peak)


if __name__ == "__main__":
    main()
