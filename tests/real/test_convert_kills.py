"""Kills and Ctrl-C at random moments of converting and quantizing: what is listed, or lies at the output, is whole."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.hub import Fault, StandInHub
from doubles.large_checkpoints import LargeLlama, write_large
from llmasos.store.references import parse_name
from llmasos.store.store import ModelStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

REPOSITORY, NAME = "maker/large", "maker/large:q4_k_m"
KILLS = 24
BYTES_A_SECOND = 40_000_000
MODEL = LargeLlama(hidden=512, feed_forward=2048, layers=8, heads=8, kv_heads=4)  # 66 MB, a second or two of work


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "large"
    write_large(folder, MODEL, random=True)
    return folder


@pytest.fixture
def hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with StandInHub() as hub:
        hub.add_huggingface(REPOSITORY, checkpoint)
        hub.fault("/cdn/", Fault(throttle=BYTES_A_SECOND), times=None)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def seconds_of(arguments: Sequence[str | Path]) -> float:
    """How long an unbroken run takes now."""
    started = time.monotonic()
    subprocess.run(command(*arguments), cwd=PROJECT, capture_output=True, check=True)
    return time.monotonic() - started


def stop_after(seconds: float, arguments: Sequence[str | Path], number: signal.Signals) -> tuple[int, str]:
    """Exit code and complaints of a run that gets a signal, unless it is done before."""
    process = start(*arguments)
    time.sleep(seconds)
    process.send_signal(number)
    complaint = process.communicate(timeout=60)[1]
    return process.returncode, complaint


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sound_models(store: ModelStore) -> int:
    """How many models are listed; fails if one is not whole."""
    models = store.models()
    assert all(store.verify(model) == [] for model in models)
    assert store.broken() == []
    return len(models)


def left_in_incoming(store: ModelStore) -> list[Path]:
    return list(store.home.incoming.rglob("*")) if store.home.incoming.exists() else []


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Path:
    """The checkpoint as a GGUF."""
    seconds_of(("convert", checkpoint, "-t", "BF16", "-o", checkpoint.with_name("plain.gguf")))
    return checkpoint.with_name("plain.gguf")


@pytest.fixture(params=["convert", "quantize"])
def deed(request: pytest.FixtureRequest, checkpoint: Path, plain: Path) -> tuple[str | Path, ...]:
    """The command up to where its result goes."""
    return (request.param, checkpoint if request.param == "convert" else plain, "-t", "Q4_K_M")


def test_a_killed_run_with_a_file_leaves_the_old_file_or_the_new_one(deed: tuple[str | Path, ...], tmp_path: Path):
    output, generator = tmp_path / "out.gguf", random.Random(1)
    arguments = (*deed, "-o", output)
    whole_seconds = seconds_of(arguments)
    whole, unfinished = digest(output), 0
    output.write_bytes(b"old")
    for _ in range(KILLS):
        stop_after(generator.uniform(0.1, 1.0) * whole_seconds, arguments, signal.SIGKILL)
        unfinished += len(list(tmp_path.glob(".*")))
        assert output.read_bytes() == b"old" or digest(output) == whole
    assert unfinished >= KILLS // 5  # kills did hit the writing
    seconds_of(arguments)
    assert digest(output) == whole
    assert list(tmp_path.glob(".*")) == []


def test_a_killed_run_with_the_store_lists_nothing_broken(deed: tuple[str | Path, ...], store: ModelStore):
    generator, arguments = random.Random(2), (*deed, "--as", NAME)
    whole_seconds, unfinished = seconds_of(arguments), 0
    whole = store.get(NAME).digest
    for _ in range(KILLS):
        if store.models():
            store.remove(parse_name(NAME))
        stop_after(generator.uniform(0.1, 1.0) * whole_seconds, arguments, signal.SIGKILL)
        sound_models(store)
        unfinished += bool([path for path in left_in_incoming(store) if path.is_file()])
    assert unfinished >= KILLS // 5
    seconds_of(arguments)
    assert (sound_models(store), store.get(NAME).digest) == (1, whole)
    assert left_in_incoming(store) == []


def test_a_killed_pull_of_a_checkpoint_goes_on_where_it_stopped(hub: StandInHub, store: ModelStore):
    generator, arguments = random.Random(3), ("pull", f"hf:{REPOSITORY}:Q4_K_M")
    whole_seconds = seconds_of(arguments)
    whole, everything = store.get(NAME).digest, hub.sent_bytes("")
    store.remove(parse_name(NAME))
    hub.reset_requests()
    for _ in range(KILLS):
        if store.models():
            store.remove(parse_name(NAME))
            hub.reset_requests()
        stop_after(generator.uniform(0.2, 0.7) * whole_seconds, arguments, signal.SIGKILL)
        sound_models(store)
    seconds_of(arguments)
    assert (sound_models(store), store.get(NAME).digest) == (1, whole)
    assert left_in_incoming(store) == []
    assert hub.sent_bytes("/cdn/") < 2 * everything  # what was there was not fetched again


def test_two_conversions_to_one_file_do_not_mix(checkpoint: Path, tmp_path: Path):
    output = tmp_path / "out.gguf"
    kinds = ("Q4_K_M", "Q8_0")
    expected = set()
    for kind in kinds:
        seconds_of(("convert", checkpoint, "-t", kind, "-o", output))
        expected.add(digest(output))
    both = [start("convert", checkpoint, "-t", kind, "-o", output) for kind in kinds]
    complaints = [process.communicate(timeout=100)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 75], [0, 0]), complaints
    assert codes == [0, 0] or any("another process is writing" in text for text in complaints)
    assert digest(output) in expected
    assert list(tmp_path.glob(".*")) == []


def test_two_conversions_to_one_name_take_turns(checkpoint: Path, store: ModelStore):
    both = [start("convert", checkpoint, "-t", "Q8_0", "--as", "mine") for _ in range(2)]
    complaints = [process.communicate(timeout=100)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], complaints
    assert sum("another llmasos is making mine" in text for text in complaints) == 1
    assert sound_models(store) == 1
    assert len(list(store.blobs.all())) == 1
    assert left_in_incoming(store) == []


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_ctrl_c_leaves_nothing(checkpoint: Path, tmp_path: Path, store: ModelStore, share: float):
    output = tmp_path / "out.gguf"
    to_file, to_store = ("convert", checkpoint, "-t", "Q4_K_M", "-o", output), ("convert", checkpoint, "-t", "Q4_K_M")
    seconds = seconds_of(to_file)
    whole = digest(output)
    output.unlink()
    for arguments in (to_file, to_store):
        code, complaint = stop_after(share * seconds, arguments, signal.SIGINT)
        assert code in (0, 130, -signal.SIGINT), complaint
        assert "Traceback" not in complaint
        made = sound_models(store) + output.exists()
        assert made == 1 if code == 0 else made <= 1  # what comes when all is done finds it done
        assert not output.exists() or (arguments is to_file and digest(output) == whole)
        assert list(tmp_path.glob(".*")) == []
        assert left_in_incoming(store) == []
        output.unlink(missing_ok=True)
