"""Q4_K_M of a model of a billion weights, beside llama.cpp's converter and quantizer, in turn in one run.

    python benchmarks/bench_quantize.py [--converter PATH/convert_hf_to_gguf.py] [--layers 16] [--rounds 3]

Two ways: from a checkpoint in bfloat16 (`llmasos convert`, against the converter and then the quantizer), and from its
GGUF (`llmasos quantize`, against the quantizer alone). The checkpoint is made up: the shape of Llama 3.2 1B, seeded
random weights, the tokenizer of `smollm2`. Files are put out of the page cache before every run. Told are medians of
seconds, the most anonymous memory, read from /proc a hundred times a second, and how fast the source was read, beside
how fast the disk gives it. `bench_convert.py --help` says where the converter is to be had; without it only the second
way is measured. Wants Linux and 9 GB of disk.
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

from bench_convert import LLMASOS, QUANTIZER, exported, our_command, their_commands
from machine import anonymous_bytes, describe_machine, keep, median, print_table

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.large_checkpoints import LargeLlama, write_large  # noqa: E402

MB = 1_000_000
READ_AT_ONCE = 8 * 1024**2


@dataclass(frozen=True)
class Run:
    """Seconds of one or several commands one after another, and the most anonymous memory of any, in bytes."""

    seconds: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--converter", type=Path)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmasos-bench-", dir=options.folder) as temporary:
        folder = Path(temporary)
        shape = LargeLlama(options.hidden, 4 * options.hidden, options.layers, options.hidden // 64, 8)
        weights = write_large(folder / "large", shape, random=True, like=exported(folder / "smollm2"))
        plain = folder / "plain.gguf"
        subprocess.run([*LLMASOS, "convert", str(folder / "large"), "-t", "BF16", "-o", str(plain)], check=True)
        os.sync()
        rows = []
        if options.converter:
            ours, theirs = (
                our_command(folder / "large", "Q4_K_M", folder),
                their_commands(options, folder / "large", folder, 2),
            )
            sources = sorted((folder / "large").glob("*.safetensors"))
            rows.append(compare("checkpoint", ours, theirs, sources, options.rounds))
        ours = [[*LLMASOS, "quantize", str(plain), "-t", "Q4_K_M", "-o", str(folder / "ours.gguf")]]
        theirs = [[sys.executable, "-c", QUANTIZER, str(plain), str(folder / "theirs.gguf"), str(os.cpu_count())]]
        rows.append(compare("gguf", ours, theirs, [plain], options.rounds))
    print(describe_machine())
    print(f"{weights / 1e9:.2f} billion weights")
    print_table([{key: str(value) for key, value in row.items()} for row in rows])
    keep("quantize", {"weights": weights, **{row["from"]: row for row in rows}})


def compare(
    name: str, ours: list[list[str]], theirs: list[list[str]], sources: list[Path], rounds: int
) -> dict[str, Any]:
    size, pairs, disk = sum(path.stat().st_size for path in sources), [], []
    for _ in range(rounds):
        disk.append(size / reading_seconds(sources))
        pairs.append((run(ours, sources), run(theirs, sources)))
    our_seconds, their_seconds = (median([pair[side].seconds for pair in pairs]) for side in (0, 1))
    our_peak, their_peak = (max(pair[side].peak_bytes for pair in pairs) for side in (0, 1))
    return {
        "from": name,
        "llmasos, s": round(our_seconds, 2),
        "llama.cpp, s": round(their_seconds, 2),
        "times faster": round(median([theirs.seconds / ours.seconds for ours, theirs in pairs]), 1),
        "llmasos, MB": our_peak // MB,
        "llama.cpp, MB": their_peak // MB,
        "read, MB/s": round(size / our_seconds / MB),
        "disk, MB/s": round(median(disk) / MB),
        "share of disk": round(size / our_seconds / median(disk), 2),
    }


def run(commands: list[list[str]], sources: list[Path]) -> Run:
    forget(sources)
    started, peak = time.perf_counter(), 0
    for command in commands:
        with tempfile.TemporaryFile() as told:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told) as process:
                while process.poll() is None:
                    peak = max(peak, anonymous_bytes(process.pid))
                    time.sleep(0.01)
            if process.returncode:
                told.seek(0)
                sys.exit(told.read().decode("utf-8", "replace")[-2000:])
    return Run(time.perf_counter() - started, peak)


def forget(paths: list[Path]) -> None:
    """Puts files out of the page cache, if they are on the disk already."""
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reading_seconds(paths: list[Path]) -> float:
    """How long it takes to read files from the disk and do nothing else."""
    forget(paths)
    buffer, started = bytearray(READ_AT_ONCE), time.perf_counter()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
