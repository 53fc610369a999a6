"""`kill -9` at random moments of a pull: nothing broken is ever listed, every restart goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from conftest import PROJECT, command
from doubles.hub import Fault, StandInHub
from doubles.tiny import TinyModel, write_tiny
from llmasos.store.references import parse_name
from llmasos.store.store import ModelStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

REPOSITORY, FILE = "maker/tiny-GGUF", "tiny-F32.gguf"
KILLS = 50
BYTES_A_SECOND = 2_500_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that its transfer takes a second or two at the throttled speed."""
    size = TinyModel(layer_count=8, embedding_length=128, feed_forward_length=512, head_count=8)
    return write_tiny(tmp_path_factory.mktemp("models") / FILE, size)


@pytest.fixture
def hub(model: Path, monkeypatch: pytest.MonkeyPatch):
    with StandInHub() as hub:
        hub.add_huggingface(REPOSITORY, {FILE: model})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_fifty_kills_break_nothing(hub: StandInHub, model: Path):
    hub.fault("/cdn/", Fault(throttle=BYTES_A_SECOND), times=None)
    generator, store = random.Random(20), ModelStore()
    digest = f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"
    whole_seconds = seconds_of_a_pull()
    resumed = 0
    for _ in range(KILLS):
        store.remove(parse_name("maker/tiny-gguf")) if store.models() else None
        before = partial_bytes(store)
        hub.reset_requests()
        kill_after(generator.uniform(0.1, 0.9) * whole_seconds)
        if before and (ranges := [request.range for request in hub.requests if "/cdn/" in request.path]):
            assert ranges[0] == f"bytes={before}-"
            resumed += 1
        assert all(store.verify(manifest) == [] for manifest in store.models())
        assert store.broken() == []
    assert resumed >= KILLS // 5
    done = subprocess.run(
        command("pull", REPOSITORY, "--json"), cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["digest"] == digest
    assert store.verify(store.get("maker/tiny-gguf")) == []
    assert list(store.home.incoming.glob("*.partial")) == []


def test_two_pulls_of_one_model_at_once_download_it_once(hub: StandInHub, model: Path):
    hub.fault("/cdn/", Fault(throttle=BYTES_A_SECOND), times=None)
    pulls = [
        subprocess.Popen(command("pull", REPOSITORY), cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    complaints = [pull.communicate(timeout=60)[1] for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0]
    assert hub.sent_bytes(hashlib.sha256(model.read_bytes()).hexdigest()) == model.stat().st_size
    assert sum("another llmasos is pulling" in text for text in complaints) == 1


def test_a_pull_through_a_broken_line_ends_well(hub: StandInHub, model: Path):
    hub.fault("/cdn/", Fault(drop_after=300_000), times=3)
    hub.fault("/cdn/", Fault(status=503, retry_after=0), times=1)
    done = subprocess.run(command("pull", REPOSITORY), cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hub.sent_bytes(hashlib.sha256(model.read_bytes()).hexdigest()) == model.stat().st_size


def seconds_of_a_pull() -> float:
    """How long an unbroken pull takes now; it is removed again."""
    started = time.monotonic()
    subprocess.run(command("pull", REPOSITORY), cwd=PROJECT, capture_output=True, check=True)
    seconds = time.monotonic() - started
    ModelStore().remove(parse_name("maker/tiny-gguf"))
    return seconds


def kill_after(seconds: float) -> None:
    process = subprocess.Popen(
        command("pull", REPOSITORY), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(seconds)
    process.kill()
    process.wait()


def partial_bytes(store: ModelStore) -> int:
    return sum(path.stat().st_size for path in store.home.incoming.glob("*.partial"))
