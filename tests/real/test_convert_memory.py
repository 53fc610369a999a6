"""A conversion takes memory for a few pieces of a tensor, however large the checkpoint is."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.large_checkpoints import LargeLlama, write_large

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

MB = 1_000_000
MODEL = LargeLlama(hidden=2048, feed_forward=8192, layers=4, heads=16, kv_heads=4)  # 500 MB
MOST = 100 * MB  # the interpreter with its libraries takes 30, one tensor made float32 would take 67 more
LIMIT = 600 * MB  # of the address space that no file backs, stacks of threads included: beyond it allocations fail


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "large"
    assert 2 * write_large(folder, MODEL) > 3 * MOST
    return folder


@pytest.mark.parametrize("type_name", ["F32", "BF16", "Q8_0", "Q4_K_M"])
def test_memory_is_bounded_whatever_the_type(checkpoint: Path, tmp_path: Path, type_name: str):
    peak = 0
    with subprocess.Popen(
        command("convert", checkpoint, "-t", type_name, "-o", tmp_path / "out.gguf"),
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
    ) as process:
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.005)
        assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    assert 20 * MB < peak < MOST


def anonymous_bytes(process_id: int) -> int:
    """Memory of a process that no file backs; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text("utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
