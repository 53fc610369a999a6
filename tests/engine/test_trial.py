"""The trial: a file that would end the process ends a child instead, and is tried once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmasos.engine.trial import require_trial
from llmasos.errors import CorruptModelError


def test_a_sound_model_passes_and_is_tried_once(tiny_model: Path, home: Path):
    require_trial([tiny_model], home / "trials")
    started = time.perf_counter()
    require_trial([tiny_model], home / "trials")
    assert time.perf_counter() - started < 0.05
    assert len(list((home / "trials").iterdir())) == 1


def test_a_file_that_does_not_load_is_refused_with_the_engines_reason(tiny_model: Path, tmp_path: Path, home: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_ap.weight"))
    with pytest.raises(CorruptModelError, match="blk.1.ffn_up"):
        require_trial([broken], home / "trials")


def test_a_file_that_crashes_the_engine_is_an_error_here(tiny_model: Path, tmp_path: Path, home: Path):
    crashing = tmp_path / "crashing.gguf"
    crashing.write_bytes(with_number(tiny_model, b"llama.block_count", 1000))
    with pytest.raises(CorruptModelError, match="the engine crashed on it: llama-model.cpp:.*GGML_ASSERT"):
        require_trial([crashing], home / "trials")


def test_a_changed_file_is_tried_again(tiny_model: Path, tmp_path: Path, home: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_model.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_ap.weight"))
    with pytest.raises(CorruptModelError):
        require_trial([path], home / "trials")
    path.unlink()
    path.write_bytes(tiny_model.read_bytes())
    require_trial([path], home / "trials")


def with_number(path: Path, key: bytes, value: int) -> bytes:
    """The file with another unsigned number under a key of its metadata."""
    content = bytearray(path.read_bytes())
    place = content.index(key) + len(key) + 4
    content[place : place + 4] = value.to_bytes(4, "little")
    return bytes(content)
