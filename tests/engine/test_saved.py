"""What the cache holds, saved to a file and taken in again: it spares reading, changes no answer, and harms nobody."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from llmasos.engine.context import Context, ContextOptions
from llmasos.engine.engine import Engine
from llmasos.engine.model import Model
from llmasos.engine.options import AnswerOptions, SamplingOptions
from llmasos.engine.saved import read_tokens
from llmasos.engine.sequence import Answer
from llmasos.errors import LlmasosError

TOKENS = [*range(10, 90), *range(20, 60)]
IDENTITY = "this model"


def start(model: Model, *, kv_type: str = "f32", length: int = 256, parallel: int = 1, cells: int = 0) -> Engine:
    options = ContextOptions(
        length, threads=1, batch_size=64, kv_type=kv_type, flash_attention=False, parallel=parallel, cells=cells
    )
    return Engine(model, Context(model, options))


def answer(engine: Engine, tokens: list[int] = TOKENS, count: int = 20) -> Answer:
    sequence = engine.submit(tokens, SamplingOptions(temperature=0), AnswerOptions(max_tokens=count, ignore_eos=True))
    list(sequence)
    assert sequence.answer is not None
    return sequence.answer


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    path = tmp_path / "saved.kv"
    with start(model) as engine:
        answer(engine)
        assert engine.save(TOKENS, path, IDENTITY) == len(TOKENS)
    return path


def test_a_new_engine_goes_on_from_the_file(model: Model, saved: Path):
    with start(model) as engine:
        expected = answer(engine)
    with start(model, parallel=3, cells=400) as engine:
        assert engine.restore(saved, IDENTITY) == len(TOKENS)
        given = answer(engine)
    assert (expected.cached_tokens, given.cached_tokens) == (0, len(TOKENS) - 1)
    assert given.tokens == expected.tokens


def test_only_what_is_asked_for_is_written(model: Model, tmp_path: Path):
    with start(model) as engine:
        answer(engine)
        assert engine.save([*TOKENS[:50], 5, 6], tmp_path / "part.kv", IDENTITY) == 50
        assert engine.save([1, 2, 3], tmp_path / "none.kv", IDENTITY) == 0
    assert read_tokens(tmp_path / "part.kv", IDENTITY) == TOKENS[:50]
    assert [each.name for each in tmp_path.iterdir()] == ["part.kv"]


def test_the_file_is_its_owners_alone(saved: Path):
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_saving_beside_others_harms_nobody(model: Model, tmp_path: Path):
    with start(model) as engine:
        expected = answer(engine, TOKENS[:30], 60)
    with start(model, parallel=2, cells=600) as engine:
        answer(engine)
        limits = AnswerOptions(max_tokens=60, ignore_eos=True)
        going = engine.submit(TOKENS[:30], SamplingOptions(temperature=0), limits)
        next(iter(going))
        assert engine.save(TOKENS, tmp_path / "saved.kv", IDENTITY) == len(TOKENS)
        assert engine.restore(tmp_path / "saved.kv", IDENTITY) == len(TOKENS)
        list(going)
        assert going.answer is not None
        assert going.answer.tokens == expected.tokens


@pytest.mark.parametrize(
    ("identity", "options"),
    [("another model", {}), (IDENTITY, {"kv_type": "f16"}), (IDENTITY, {"length": 64})],
    ids=["another model", "another type of cache", "a shorter context"],
)
def test_what_is_of_no_use_is_read_again(model: Model, saved: Path, identity: str, options: dict):
    with start(model, **options) as engine:
        assert engine.restore(saved, identity) == 0
        assert engine._worker.scheduler.cells.used == 0
        assert answer(engine, TOKENS[:40], 5).cached_tokens == 0


def test_a_damaged_file_is_read_again(model: Model, saved: Path, tmp_path: Path):
    content, chance, broken = saved.read_bytes(), random.Random(3), tmp_path / "broken.kv"
    header = 12 + 4 * (len(TOKENS) + 8) + 1000  # what says where the rest belongs: llama.cpp would crash
    with start(model) as engine:
        expected = answer(engine, TOKENS[:40]).tokens
        for number in range(300):
            changed = bytearray(content)
            if number % 3 == 0:
                del changed[chance.randrange(len(content)) :]
            for _ in range(chance.randint(1, 3)):
                if changed:
                    changed[chance.randrange(min(header, len(changed)))] = chance.randrange(256)
            broken.write_bytes(changed)
            assert engine.restore(broken, IDENTITY) == (len(TOKENS) if changed == content else 0)
        cells = engine._worker.scheduler.cells
        assert cells.make_room(cells.capacity)
        assert answer(engine, TOKENS[:40]).tokens == expected


def test_what_is_not_there_is_none(model: Model, tmp_path: Path):
    (tmp_path / "empty.kv").touch()
    with start(model) as engine:
        assert engine.restore(tmp_path / "missing.kv", IDENTITY) == 0
        assert engine.restore(tmp_path / "empty.kv", IDENTITY) == 0
        assert engine.restore(tmp_path, IDENTITY) == 0


def test_what_can_not_be_written_is_told(model: Model, tmp_path: Path):
    with start(model) as engine:
        answer(engine)
        with pytest.raises(OSError, match="directory"):
            engine.save(TOKENS, tmp_path, IDENTITY)
        assert answer(engine).cached_tokens == len(TOKENS) - 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LlmasosError, match="closed"):
        engine.save(TOKENS, tmp_path / "late.kv", IDENTITY)
