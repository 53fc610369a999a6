"""`llmasos quantize` with a verdict: what is told, what is kept and what is not, types that reach a size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Result
from doubles.blocks import needs_kernels
from doubles.checkpoints import write_checkpoint
from doubles.tiny import TinyModel, write_tiny
from llmasos.formats.gguf import read_header
from llmasos.store.store import ModelStore

Run = Callable[..., Result]
WIDE = TinyModel(embedding_length=256, feed_forward_length=512)
pytestmark = [needs_kernels, pytest.mark.real]  # a minute and a half together


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("wide") / "Wide.gguf", WIDE)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"The {number}. cat sat on mat {number * 7 % 13}, and looked. " for number in range(60)))
    return path


def names() -> list[str]:
    return [str(each.name) for each in ModelStore().models()]


def left_behind() -> list[Path]:
    incoming = ModelStore().home.incoming
    return list(incoming.rglob("*")) if incoming.exists() else []


def test_a_check_tells_what_was_lost(llmasos: Run, wide: Path, text: Path):
    result = llmasos("quantize", wide, "-t", "Q8_0", "--check-text", text, "--as", "made")
    header, row = result.stdout.splitlines()
    assert header.split()[:4] == ["TYPE", "SIZE", "BITS", "PPL"]
    assert re.search(r"^Q8_0 +\S+ MB +8\.\d+ ", row)
    assert names() == ["made"]
    assert "kept as" in result.stderr
    assert not left_behind()


def test_json_has_every_figure(llmasos: Run, wide: Path, text: Path):
    told = json.loads(llmasos("quantize", wide, "-t", "Q4_0", "--check-text", text, "--as", "made", "--json").stdout)
    [figures] = told["verdicts"]
    assert figures["type"] == "Q4_0"
    assert figures["kld99"] >= figures["kld"] > 0
    assert 0 <= figures["top1"] <= 1
    assert told["model"]["name"] == "made"


@pytest.mark.parametrize("gate", [("--max-kld", "1e-9"), ("--max-ppl-increase", "0", "--max-kld", "0")])
def test_what_loses_too_much_is_not_kept(llmasos: Run, wide: Path, text: Path, tmp_path, gate: tuple[str, ...]):
    common = ("quantize", wide, "-t", "Q4_0", "--check-text", text, *gate)
    for target in (("--as", "made"), ("-o", tmp_path / "made.gguf")):
        result = llmasos(*common, *target)
        assert result.exit_code == 6
        assert "kld>" in result.stderr
    assert names() == [] and not left_behind()
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob(".*"))


def test_what_passes_is_written(llmasos: Run, wide: Path, text: Path, tmp_path):
    llmasos("quantize", wide, "-t", "Q8_0", "--check-text", text, "--max-kld", 50, "-o", tmp_path / "made.gguf")
    assert read_header(tmp_path / "made.gguf").tensors
    assert [path.name for path in tmp_path.glob("*made*")] == ["made.gguf"]


def test_a_checkpoint_is_compared_with_itself_in_16_bits(llmasos: Run, text: Path, tmp_path):
    write_checkpoint(tmp_path / "checkpoint", "llama3")
    result = llmasos("quantize", tmp_path / "checkpoint", "-t", "Q8_0", "--check-text", text, "--as", "made")
    assert result.stdout.startswith("TYPE")
    assert names() == ["made"] and not left_behind()


def test_a_sweep_marks_the_front_and_keeps_what_is_picked(llmasos: Run, wide: Path, text: Path, tmp_path):
    sweep = ("quantize", wide, "--sweep", "Q8_0, Q4_0", "--check-text", text)
    lines = llmasos(*sweep, "--plot", tmp_path / "sweep.svg").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["TYPE", "Q8_0", "Q4_0"]
    assert all(line.endswith("*") for line in lines[1:])
    assert (tmp_path / "sweep.svg").read_text().count("<circle") == 2
    assert names() == []
    told = json.loads(llmasos(*sweep, "--pick", "--max-kld", 50, "--as", "picked", "--json").stdout)
    assert told["picked"] == "Q4_0"
    assert names() == ["picked"]
    refused = llmasos(*sweep, "--pick", "--max-kld", "0")
    assert refused.exit_code == 6
    assert "none of the types passes" in refused.stderr
    assert names() == ["picked"] and not left_behind()


def test_a_size_is_reached_by_types_of_its_own(llmasos: Run, wide: Path, text: Path, tmp_path):
    result = llmasos("quantize", wide, "--target-bpw", "6", "--check-text", text, "--json")
    told = json.loads(result.stdout)
    assert 5.5 < told["verdicts"][0]["bits_per_weight"] <= 6
    assert told["model"]["name"] == "wide:6bpw"
    size = 400_000
    llmasos("quantize", wide, "--target-size", f"{size}", "-o", tmp_path / "small.gguf")
    assert 0.8 * size < (tmp_path / "small.gguf").stat().st_size <= size
    assert len({tensor.type_id for tensor in read_header(tmp_path / "small.gguf").tensors}) > 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-t", "Q8_0", "--target-bpw", "4"), "-t and --target-bpw exclude each other"),
        (("--target-bpw", "4", "--target-size", "1G"), "--target-bpw and --target-size exclude each other"),
        (("--check",), "say what to make"),
        (("-t", "Q8_0", "--pick"), "--pick and --plot go with --sweep"),
        (("--sweep", "Q8_0", "--as", "x"), "a sweep alone keeps nothing"),
        (("--sweep", "Q8_0", "--plot", "x.png"), "--plot can't write x.png"),
        (("-t", "Q8_0", "--check", "--dry-run"), "--dry-run and a verdict exclude each other"),
        (("-t", "Q8_0", "--max-kld", "-1"), "max_kld"),
        (("--sweep", "Q8_0,NONE"), "there is no type `NONE`"),
    ],
)
def test_what_makes_no_sense_is_refused(llmasos: Run, wide: Path, options: tuple[str, ...], told: str):
    result = llmasos("quantize", wide, *options)
    assert told in result.stderr
    assert result.exit_code in (2, 5)


def test_a_text_that_is_too_short_or_missing_is_told(llmasos: Run, wide: Path, tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    for name in ("short.txt", "missing.txt"):
        assert llmasos("quantize", wide, "-t", "Q8_0", "--check-text", tmp_path / name).exit_code == 5
    assert names() == [] and not left_behind()
