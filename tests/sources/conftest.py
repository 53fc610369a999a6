"""What the tests of the sources share: a stand-in hub, and a disk on which no other tool keeps models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from doubles.hub import StandInHub
from llmasos.sources import download, other_tools


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf-token"))  # read while it was imported
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(other_tools, "SHARED_OLLAMA", tmp_path / "shared-ollama")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """Hugging Face hub, Ollama registry and web server in one; empty."""
    with StandInHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("LLMASOS_OLLAMA_REGISTRY", hub.url)
        yield hub


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return tmp_path / "incoming"
