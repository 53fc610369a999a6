"""`llmasos convert` of a model of three billion weights: how much memory of its own it takes, and how long.

    python benchmarks/bench_convert_memory.py [--layers 30] [--folder PLACE] [--types BF16 Q4_K_M …]

The checkpoint is made up: Llama's shape in bfloat16 over several files, which are holes and so take no disk. Pages of
files that are mapped can be dropped at any time and don't count; what counts is anonymous memory, read from /proc a
hundred times a second, and held under the limit by the system (RLIMIT_DATA). Wants Linux and 6.5 GB of disk.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import anonymous_bytes, describe_machine, keep, print_table

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from doubles.large_checkpoints import LargeLlama, write_large  # noqa: E402

MB = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--types", nargs="+", default=["BF16", "Q8_0", "Q4_K_M"])
    parser.add_argument("--limit-mb", type=int, default=2000)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="llmasos-bench-", dir=options.folder))
    try:
        weights = write_large(place / "large", LargeLlama(layers=options.layers))
        rows = [measure(place, kind, options.limit_mb * MB) for kind in options.types]
    finally:
        shutil.rmtree(place)
    print(describe_machine())
    print(f"{weights / 1e9:.2f} billion weights in bfloat16, at most {options.limit_mb} MB of anonymous memory")
    print_table([{name: str(value) for name, value in row.items()} for row in rows])
    keep("convert-memory", {"weights": weights, "rows": rows})


def measure(place: Path, kind: str, limit_bytes: int) -> dict[str, str | float]:
    """Converts once, and deletes what was written."""
    output = place / "out.gguf"
    command = [sys.executable, "-m", "llmasos_cli", "convert", str(place / "large"), "-t", kind, "-o", str(output)]
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes)),
    ) as process:
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.01)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"the conversion to {kind} failed")
    written = output.stat().st_size
    output.unlink()
    speed = round(written / seconds / MB)
    return {"type": kind, "MB": written // MB, "seconds": round(seconds, 1), "MB/s": speed, "peak MB": peak // MB}


if __name__ == "__main__":
    main()
