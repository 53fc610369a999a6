"""A real model quantized beside llama.cpp's quantizer: the same files; and killed while it is, it leaves nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.importance import GOLDENS, TEXT, totals_of
from doubles.quantizer import llama_quantize
from llmasos.importance import Calibration, collect
from llmasos.paths import find_home
from llmasos.progress import Progress
from llmasos.quantization.choices import Choices
from llmasos.quantization.importance import Importance
from llmasos.quantization.requantize import prepare_quantization
from llmasos.quantization.writer import write_gguf
from llmasos.store.store import ModelStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

FIRST_THREE_LAYERS = tuple(range(3, 30))
KILLS = 8


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's file, fetched once: Q4_1, 30 layers, rows of 576 and 1536 weights."""
    home = {**os.environ, "LLMASOS_HOME": str(tmp_path_factory.mktemp("real"))}
    subprocess.run(command("pull", "smollm2"), env=home, cwd=PROJECT, check=True, capture_output=True, timeout=300)
    shown = subprocess.run(command("show", "smollm2", "--json"), env=home, cwd=PROJECT, check=True, capture_output=True)
    return Path(json.loads(shown.stdout)["path"])


@pytest.fixture(scope="module")
def short(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its vocabulary and its first layers, in BF16."""
    path = tmp_path_factory.mktemp("short") / "short.gguf"
    choices = Choices("BF16", allow_requantize=True, pruned_layers=FIRST_THREE_LAYERS)
    assert llama_quantize(smollm2, path.with_name("theirs.gguf"), choices)
    prepare_quantization([smollm2], choices).write(path)
    assert path.read_bytes() == path.with_name("theirs.gguf").read_bytes()
    return path


def test_importance_is_that_of_llama_imatrix_and_its_file_that_of_llama_quantize(
    smollm2: Path, short: Path, tmp_path: Path
):
    found = collect([smollm2], Calibration(TEXT.removesuffix("\n"), "text.txt"), find_home(), Progress())
    theirs = json.loads((GOLDENS / "smollm2.json").read_text(encoding="utf-8"))
    ours = totals_of(found)
    assert ours.keys() == theirs.keys()
    for name, total in theirs.items():
        assert ours[name] == pytest.approx(total, rel=1e-4), name
    own = {name: entry for name, entry in found.entries.items() if name.startswith(("blk.0.", "blk.1.", "blk.2."))}
    importance = Importance(own, "file", found.datasets, found.chunk_count, found.chunk_size)
    for mix in ("Q4_K_M", "IQ4_XS", "IQ2_XXS"):
        assert llama_quantize(short, tmp_path / "theirs.gguf", Choices(mix), importance)
        prepare_quantization([short], Choices(mix), importance).write(tmp_path / "ours.gguf")
        assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes(), mix


@pytest.mark.parametrize(
    "choices",
    [
        Choices("Q4_K_M"),
        Choices("Q5_K_S"),
        Choices("Q8_0"),
        Choices("Q4_K_M", pure=True),
        Choices("Q4_K_M", output_type="Q5_1", embedding_type="Q5_0"),
        Choices("Q4_K_M", (("attn_v", "Q8_0"), (r"blk\.1\.", "Q4_1"))),
        Choices("Q4_K_M", pruned_layers=(1,)),
    ],
    ids=str,
)
def test_the_file_is_that_of_llama_quantize(short: Path, tmp_path: Path, choices: Choices):
    assert llama_quantize(short, tmp_path / "theirs.gguf", choices)
    prepare_quantization([short], choices).write(tmp_path / "ours.gguf")
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_the_parts_are_those_of_llama_quantize(short: Path, tmp_path: Path):
    plain = prepare_quantization([short], Choices("BF16"))
    parts = write_gguf(
        tmp_path / "parts.gguf", plain.metadata, plain.jobs, progress=Progress(), split_max_bytes=30_000_000
    )
    assert len(parts) >= 2
    (tmp_path / "theirs").mkdir()
    assert llama_quantize(parts[0], tmp_path / "theirs" / "new", Choices("Q4_K_M"), keep_split=True)
    paths = prepare_quantization(parts, Choices("Q4_K_M"), keep_split=True).write(tmp_path / "new.gguf")
    assert len(paths) == len(parts)
    for path in paths:
        assert path.read_bytes() == (tmp_path / "theirs" / path.name).read_bytes()


def test_from_q4_1_to_q4_0(smollm2: Path, tmp_path: Path):
    choices = Choices("Q4_0", allow_requantize=True)
    assert llama_quantize(smollm2, tmp_path / "theirs.gguf", choices)
    prepare_quantization([smollm2], choices).write(tmp_path / "ours.gguf")
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_run_that_is_stopped_leaves_no_model(smollm2: Path, tmp_path: Path, number: signal.Signals):
    store, stopped = ModelStore(), 0
    call = command("quantize", smollm2, "-t", "Q4_K_M", "--allow-requantize", "--as", "small")
    started = time.monotonic()
    subprocess.run(call, cwd=PROJECT, capture_output=True, check=True)
    whole = time.monotonic() - started
    store.remove(store.get("small").name)
    for _ in range(KILLS):
        process = subprocess.Popen(call, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.2, whole))
        process.send_signal(number)
        if process.wait(timeout=60) == 0:
            store.remove(store.get("small").name)
            continue
        stopped += 1
        models = store.models()
        assert all(store.verify(model) == [] for model in models)
        if number == signal.SIGINT:
            assert [path for path in store.home.incoming.rglob("*") if path.is_file()] == []
        for model in models:
            store.remove(model.name)
    assert stopped > 0
    subprocess.run(call, cwd=PROJECT, capture_output=True, check=True)
    store.prune()
    assert [path for path in store.home.incoming.rglob("*") if path.is_file()] == []
